"""Recognising a network and its constructor arguments from the keys and shapes of its weights alone.

One small detector per network, in a module per family. Sizes come from convolutions, biases and norms, never
from the orientation of Linear weights, so both layouts give the same answer. What leaves no trace in the
weights (dropout, `global_residual`, HAT's `conv_scale`, `relu` or `leakyrelu`) keeps the constructor's
default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ppsr.errors import WeightError
from ppsr.weights.esrgan_keys import DENSE_KEY
from ppsr.weights.identify import attention, convolutional, state_space
from ppsr.weights.identify.shapes import Found, State, part

__all__ = ["Found", "identify", "open_choices"]


def _blind_sr(state: State) -> Found:
    parts = {name: identify(part(state, f"{name}.")) for name in ("generator", "predictor")}
    return "BlindSR", {name: {"name": found[0], **found[1]} for name, found in parts.items()}


# name -> (a key that only this network has, detector); the first whose key is there is asked
_DETECTORS: dict[str, tuple[str, Callable[[State], Found]]] = {
    "BlindSR": (r"predictor\.ConvNet\.0\.weight", _blind_sr),
    "DegradationPredictor": (r"ConvNet\.0\.weight", convolutional.predictor),
    "MambaDRCT": (r"layers\.0\.mamba\d\.(ln_1|norm1)\.weight", state_space.mambadrct),
    "MambaIR": (r"layers\.0\.residual_group\.blocks\.0\.self_attention\.A_logs", state_space.mambair),
    "DRCT": (r"layers\.0\.swin1\.norm1\.weight", attention.drct),
    "HAT": (r"layers\.0\.residual_group\.overlap_attn\.norm1\.weight", attention.hat),
    "SwinIR": (r"layers\.0\.residual_group\.blocks\.0\.attn\.proj\.weight", attention.swinir),
    "DRNGenerator": (r"up_blocks\.0\.0\.body\.0\.weight", convolutional.drn),
    "DRNDual": (r"dual_module\.0\.0\.weight", convolutional.drn_dual),
    "RCAN": (r"body\.0\.body\.0\.body\.3\.conv_du\.0\.weight", convolutional.rcan),
    "RRDBNet": (DENSE_KEY, convolutional.rrdbnet),
    "IMDN": (r"IMDB1\.c1\.weight", convolutional.imdn),
    "IMDN of KAIR": (r"model\.1\.sub\.0\.conv1x1\.weight", convolutional.imdn_kair),
    "FSRCNN": (r"mid_part\.0\.weight", convolutional.fsrcnn),
    "ESPCN": (r"first_part\.2\.weight", convolutional.espcn),
    "SRVGGNetCompact": (r"body\.0\.weight", convolutional.srvgg),
    "CDDNet or MSRResNet": (r"(body\.0|body1\.0|recon_trunk\.0)\.conv1\.weight", convolutional.residual),
}


def identify(state: State) -> Found:
    """Name and constructor arguments of the network that a state belongs to.

    Args:
        state: key -> array, in either layout.

    Returns:
        The registered name of a generator, and arguments for `build_generator`.

    Raises:
        WeightError: no detector knows these keys, or the shapes contradict the network's rules.
    """
    state = {key: value for key, value in state.items() if value.size}  # so that shapes cost what they say
    for name, (pattern, detector) in _DETECTORS.items():
        if not any(re.fullmatch(pattern, key) for key in state):
            continue
        try:
            found, arguments = detector(state)
        except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
            raise WeightError(
                f"the weights look like {name}, but their shapes do not agree with it: {error}"
            ) from None
        return found, _plain(arguments)
    shown = ", ".join(sorted(state)[:6])
    raise WeightError(
        f"no known network has these {len(state)} keys ({shown}, ...); tried {', '.join(_DETECTORS)}. "
        "Name the network in a config"
    )


def open_choices(found: Found) -> list[str]:
    """What the keys and shapes leave open, where published files differ in it: a sentence per choice."""
    name, arguments = found
    if name == "SRVGGNetCompact" and arguments.get("act_type") == "relu":
        return ["its keys fit act_type relu and leakyrelu; relu is taken (-o act_type=leakyrelu)"]
    channels = arguments.get("num_in_ch"), arguments.get("num_out_ch"), arguments.get("unshuffle")
    if name == "RRDBNet" and channels == (1, 1, 2):
        return [
            "four input channels are taken as a folded gray image (-o num_in_ch=4 -o unshuffle=1 -o scale=4)"
        ]
    return []


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Numbers of numpy as Python's, so that they can be written to a config."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in arguments.items()}
