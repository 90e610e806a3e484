"""Recognising a network and its constructor arguments from the keys and shapes of its weights alone.

One small detector per family. Sizes come from convolutions, biases and norms, never from the orientation of
Linear weights, so both layouts give the same answer. What leaves no trace in the weights (dropout,
`global_residual`, HAT's `conv_scale`, `relu` or `leakyrelu`) keeps the constructor's default. The rules for
attention networks follow what spandrel (chaiNNer) derives from the same keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ppsr.errors import WeightError
from ppsr.weights.identify_transformers import (
    Found,
    State,
    count,
    detect_drct,
    detect_hat,
    detect_mambadrct,
    detect_mambair,
    detect_swinir,
    root,
    steps,
)

__all__ = ["Found", "State", "identify"]


def _rgb_range(state: State) -> float:
    """Largest value of a picture, from the mean that is subtracted first (about 0.45 of it)."""
    return 255.0 if float(np.abs(state["sub_mean.bias"]).max()) > 2 else 1.0


def _msrresnet(state: State) -> Found:
    first, last = state["conv_first.weight"].shape, state["conv_last.weight"].shape
    up1 = state["upconv1.weight"].shape
    return "MSRResNet", {
        "num_in_ch": first[1],
        "num_out_ch": last[0],
        "num_feat": first[0],
        "num_block": count(state, r"body\.?(\d+)\."),
        "upscale": 4 if "upconv2.weight" in state else root(up1[0] / up1[1]),
    }


def _rrdbnet(state: State) -> Found:
    width, folded = state["conv_first.weight"].shape[:2]
    out = state["conv_last.weight"].shape[0]
    fold = {1: 1, 4: 2, 16: 4}.get(folded // out if folded % out == 0 else 1, 1)
    return "RRDBNet", {
        "num_in_ch": folded // fold**2,
        "num_out_ch": out,
        "scale": 4 // fold,
        "num_feat": width,
        "num_block": count(state, r"body\.(\d+)\."),
        "num_grow_ch": state["body.0.rdb1.conv1.weight"].shape[0],
    }


def _srvgg(state: State) -> Found:
    width, channels = state["body.0.weight"].shape[:2]
    last = max(int(key.split(".")[1]) for key in state)
    return "SRVGGNetCompact", {
        "num_in_ch": channels,
        "num_out_ch": channels,
        "num_feat": width,
        "num_conv": (last - 2) // 2,
        "upscale": root(state[f"body.{last}.weight"].shape[0] / channels),
        "act_type": "prelu" if "body.1.weight" in state else "relu",
    }


def _cddnet(state: State) -> Found:
    models, width, channels = state["conv_first.weight"].shape[:3]
    scale = 1
    for name in ("upconv1.weight", "upconv2.weight"):
        if name in state:
            scale *= root(state[name].shape[1] / state[name].shape[2])
    attention = any(key.startswith("RC.") for key in state)
    facts = {
        "num_in_ch": channels,
        "num_out_ch": state["conv_last.weight"].shape[1],
        "num_feat": width,
        "num_block": count(state, r"body\.(\d+)\."),
        "num_models": models,
        "upscale": scale,
        "use_rc": attention,
    }
    return "CDDNet", facts if attention else {**facts, "column_dropout": 0.0, "row_dropout": 0.0}


def _predictor(state: State) -> Found:
    first = state["ConvNet.0.weight"].shape
    return "DegradationPredictor", {
        "in_nc": first[1],
        "nf": first[0],
        "num_params": state["ConvNet.10.weight"].shape[0],
        "num_networks": state["MappingNet.1.bias"].shape[0],
        "use_bias": "ConvNet.2.bias" in state,
    }


def _part(state: State, prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _blind_sr(state: State) -> Found:
    parts = {name: identify(_part(state, f"{name}.")) for name in ("generator", "predictor")}
    return "BlindSR", {name: {"name": found[0], **found[1]} for name, found in parts.items()}


def _drn(state: State) -> Found:
    width, colors, kernel = state["head.weight"].shape[:3]
    return "DRNGenerator", {
        "scale": tuple(2 ** (i + 1) for i in range(count(state, r"down\.(\d+)\."))),
        "n_blocks": count(state, r"up_blocks\.0\.(\d+)\.body\."),
        "n_feats": width,
        "n_colors": colors,
        "rgb_range": _rgb_range(state),
        "kernel_size": kernel,
    }


def _drn_dual(state: State) -> Found:
    width, channels = state["dual_module.0.0.weight"].shape[:2]
    out = state["dual_module.1.weight"].shape[0]
    return "DRNDual", {"in_channels": channels, "n_feats": width, "out_channels": out}


def _rcan(state: State) -> Found:
    width, colors, kernel = state["head.0.weight"].shape[:3]
    narrow = state["body.0.body.0.body.3.conv_du.0.weight"].shape[0]
    return "RCAN", {
        "scale": steps(state, "tail.0."),
        "n_resgroups": count(state, r"body\.(\d+)\.body\."),
        "n_resblocks": count(state, r"body\.0\.body\.(\d+)\.body\."),
        "n_feats": width,
        "n_colors": colors,
        "rgb_range": _rgb_range(state),
        "kernel_size": kernel,
        "reduction": width // narrow,
    }


def _residual(state: State) -> Found:
    """Expert convolutions have one axis more than plain ones."""
    return _cddnet(state) if state["conv_first.weight"].ndim == 5 else _msrresnet(state)


# name -> (a key that only this network has, detector); the first whose key is there is asked
_DETECTORS: dict[str, tuple[str, Callable[[State], Found]]] = {
    "BlindSR": (r"predictor\.ConvNet\.0\.weight", _blind_sr),
    "DegradationPredictor": (r"ConvNet\.0\.weight", _predictor),
    "MambaDRCT": (r"layers\.0\.mamba\d\.(self_attention|ss2d)\.A_logs", detect_mambadrct),
    "MambaIR": (r"layers\.0\.residual_group\.blocks\.0\.self_attention\.A_logs", detect_mambair),
    "DRCT": (r"layers\.0\.swin1\.norm1\.weight", detect_drct),
    "HAT": (r"layers\.0\.residual_group\.overlap_attn\.norm1\.weight", detect_hat),
    "SwinIR": (r"layers\.0\.residual_group\.blocks\.0\.attn\.proj\.weight", detect_swinir),
    "DRNGenerator": (r"up_blocks\.0\.0\.body\.0\.weight", _drn),
    "DRNDual": (r"dual_module\.0\.0\.weight", _drn_dual),
    "RCAN": (r"body\.0\.body\.0\.body\.3\.conv_du\.0\.weight", _rcan),
    "RRDBNet": (r"body\.0\.rdb1\.conv1\.weight", _rrdbnet),
    "SRVGGNetCompact": (r"body\.0\.weight", _srvgg),
    "CDDNet or MSRResNet": (r"body(\.0|1\.0)\.conv1\.weight", _residual),
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


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Numbers of numpy as Python's, so that they can be written to a config."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in arguments.items()}
