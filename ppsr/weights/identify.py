"""Recognising a network and its constructor arguments from the keys and shapes of its weights alone.

One small detector per family. Sizes come from convolutions, biases and norms, never from the orientation of
Linear weights, so both layouts give the same answer. What leaves no trace in the weights (dropout,
`global_residual`, HAT's `conv_scale`, `relu` or `leakyrelu`) keeps the constructor's default. The rules for
attention networks follow what spandrel (chaiNNer) derives from the same keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ppsr.errors import WeightError

__all__ = ["identify"]

State = Mapping[str, np.ndarray]
Found = tuple[str, dict[str, Any]]


def _count(state: State, pattern: str) -> int:
    """How many different numbers stand at the group of a pattern, as in ``layers\\.(\\d+)\\.``."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def _part(state: State, prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _root(value: float) -> int:
    """The whole square root.

    Raises:
        WeightError: there is none.
    """
    root = math.isqrt(round(value))
    if root < 1 or root * root != value:
        raise WeightError(f"{value:g} is no square")
    return root


def _steps(state: State, prefix: str) -> int:
    """The scale of a chain of convolutions with pixel shuffle at `<prefix>0.`, `<prefix>2.`, ..."""
    scale = 1
    for step in range(0, 8, 2):
        if f"{prefix}{step}.weight" in state:
            rows, columns = state[f"{prefix}{step}.weight"].shape[:2]
            scale *= _root(rows / columns)
    return scale


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
        "num_block": _count(state, r"body\.?(\d+)\."),
        "upscale": 4 if "upconv2.weight" in state else _root(up1[0] / up1[1]),
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
        "num_block": _count(state, r"body\.(\d+)\."),
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
        "upscale": _root(state[f"body.{last}.weight"].shape[0] / channels),
        "act_type": "prelu" if "body.1.weight" in state else "relu",
    }


def _cddnet(state: State) -> Found:
    models, width, channels = state["conv_first.weight"].shape[:3]
    scale = 1
    for name in ("upconv1.weight", "upconv2.weight"):
        if name in state:
            scale *= _root(state[name].shape[1] / state[name].shape[2])
    attention = any(key.startswith("RC.") for key in state)
    facts = {
        "num_in_ch": channels,
        "num_out_ch": state["conv_last.weight"].shape[1],
        "num_feat": width,
        "num_block": _count(state, r"body\.(\d+)\."),
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


def _blind_sr(state: State) -> Found:
    parts = {name: identify(_part(state, f"{name}.")) for name in ("generator", "predictor")}
    return "BlindSR", {name: {"name": found[0], **found[1]} for name, found in parts.items()}


def _drn(state: State) -> Found:
    width, colors, kernel = state["head.weight"].shape[:3]
    return "DRNGenerator", {
        "scale": tuple(2 ** (i + 1) for i in range(_count(state, r"down\.(\d+)\."))),
        "n_blocks": _count(state, r"up_blocks\.0\.(\d+)\.body\."),
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
        "scale": _steps(state, "tail.0."),
        "n_resgroups": _count(state, r"body\.(\d+)\.body\."),
        "n_resblocks": _count(state, r"body\.0\.body\.(\d+)\.body\."),
        "n_feats": width,
        "n_colors": colors,
        "rgb_range": _rgb_range(state),
        "kernel_size": kernel,
        "reduction": width // narrow,
    }


def _attention(state: State, block: str, shifted: str) -> dict[str, Any]:
    """What SwinIR, HAT and DRCT share.

    Args:
        state: the weights.
        block: prefix of the first attention block.
        shifted: prefix of a shifted block, whose stored mask tells the training size.
    """
    width, channels = state["conv_first.weight"].shape[:2]
    window = (_root(state[f"{block}attn.relative_position_bias_table"].shape[0]) + 1) // 2
    facts: dict[str, Any] = {
        "in_chans": channels,
        "embed_dim": width,
        "window_size": window,
        "mlp_ratio": state[f"{block}mlp.fc1.bias"].shape[0] / width,
        "qkv_bias": f"{block}attn.qkv.bias" in state,
        "ape": "absolute_pos_embed" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
    }
    if f"{shifted}attn_mask" in state:
        facts["img_size"] = _root(state[f"{shifted}attn_mask"].shape[0]) * window
    elif "absolute_pos_embed" in state:
        facts["img_size"] = _root(state["absolute_pos_embed"].shape[1])
    elif f"{block}attn.relative_position_index" in state:  # masks would be stored if windows were shifted
        facts["img_size"] = window
    return facts


def _heads(state: State, pattern: str, groups: int) -> list[int]:
    return [state[pattern.format(i)].shape[1] for i in range(groups)]


def _connection(state: State) -> str:
    if "conv_after_body.0.weight" in state:
        return "3conv"
    return "1conv" if "conv_after_body.weight" in state else "identity"


def _swinir(state: State) -> Found:
    block = "layers.0.residual_group.blocks.0."
    groups = _count(state, r"layers\.(\d+)\.")
    facts = _attention(state, block, "layers.0.residual_group.blocks.1.")
    channels = facts["in_chans"]
    if "conv_up1.weight" in state:
        upsampler, scale = "nearest+conv", 4
    elif "conv_before_upsample.0.weight" in state:
        upsampler, scale = "pixelshuffle", _steps(state, "upsample.")
    elif "upsample.0.weight" in state:
        upsampler, scale = "pixelshuffledirect", _root(state["upsample.0.weight"].shape[0] / channels)
    else:
        upsampler, scale = "", 1
    return "SwinIR", {
        **facts,
        "depths": [_count(state, rf"layers\.{i}\.residual_group\.blocks\.(\d+)\.") for i in range(groups)],
        "num_heads": _heads(
            state, "layers.{}.residual_group.blocks.0.attn.relative_position_bias_table", groups
        ),
        "upscale": scale,
        "upsampler": upsampler,
        "resi_connection": _connection(state),
    }


def _hat(state: State) -> Found:
    group = "layers.0.residual_group."
    block = f"{group}blocks.0."
    groups = _count(state, r"layers\.(\d+)\.")
    facts = _attention(state, block, block)
    window, width = facts["window_size"], facts["embed_dim"]
    overlap = _root(state[f"{group}overlap_attn.relative_position_bias_table"].shape[0]) + 1 - window
    cab = f"{block}conv_block.cab."
    return "HAT", {
        **facts,
        "depths": [_count(state, rf"layers\.{i}\.residual_group\.blocks\.(\d+)\.") for i in range(groups)],
        "num_heads": _heads(
            state, "layers.{}.residual_group.blocks.0.attn.relative_position_bias_table", groups
        ),
        "overlap_ratio": (overlap - window) / window,
        "compress_ratio": width // state[f"{cab}0.weight"].shape[0],
        "squeeze_factor": width // state[f"{cab}3.attention.1.weight"].shape[0],
        "upscale": _steps(state, "upsample."),
        "upsampler": "pixelshuffle",
        "resi_connection": _connection(state),
    }


def _drct(state: State) -> Found:
    groups = _count(state, r"layers\.(\d+)\.")
    if sum(".attn.proj.weight" in key for key in state) != 5 * groups:
        raise WeightError("every group of DRCT has five attention blocks, this file has others")
    return "DRCT", {
        **_attention(state, "layers.0.swin1.", "layers.0.swin2."),
        "depths": [6] * groups,
        "num_heads": _heads(state, "layers.{}.swin1.attn.relative_position_bias_table", groups),
        "gc": state["layers.0.adjust1.weight"].shape[0],
        "upscale": _steps(state, "upsample."),
        "upsampler": "pixelshuffle",
        "resi_connection": _connection(state),
    }


def _residual(state: State) -> Found:
    """Expert convolutions have one axis more than plain ones."""
    return _cddnet(state) if state["conv_first.weight"].ndim == 5 else _msrresnet(state)


# name -> (a key that only this network has, detector); the first whose key is there is asked
_DETECTORS: dict[str, tuple[str, Callable[[State], Found]]] = {
    "BlindSR": (r"predictor\.ConvNet\.0\.weight", _blind_sr),
    "DegradationPredictor": (r"ConvNet\.0\.weight", _predictor),
    "DRCT": (r"layers\.0\.swin1\.norm1\.weight", _drct),
    "HAT": (r"layers\.0\.residual_group\.overlap_attn\.norm1\.weight", _hat),
    "SwinIR": (r"layers\.0\.residual_group\.blocks\.0\.attn\.proj\.weight", _swinir),
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
