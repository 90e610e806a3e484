"""Recognising transformers and state-space networks for SR from the keys and shapes of their weights."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ppsr.errors import WeightError

__all__ = [
    "Found",
    "State",
    "count",
    "detect_drct",
    "detect_hat",
    "detect_mambadrct",
    "detect_mambair",
    "detect_swinir",
    "root",
    "steps",
]

State = Mapping[str, np.ndarray]
Found = tuple[str, dict[str, Any]]


def count(state: State, pattern: str) -> int:
    """How many different numbers stand at the group of a pattern, as in ``layers\\.(\\d+)\\.``."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def root(value: float) -> int:
    """The whole square root.

    Raises:
        WeightError: there is none.
    """
    whole = math.isqrt(round(value))
    if whole < 1 or whole * whole != value:
        raise WeightError(f"{value:g} is no square")
    return whole


def steps(state: State, prefix: str) -> int:
    """The scale of a chain of convolutions with pixel shuffle at `<prefix>0.`, `<prefix>2.`, ..."""
    scale = 1
    for step in range(0, 8, 2):
        if f"{prefix}{step}.weight" in state:
            rows, columns = state[f"{prefix}{step}.weight"].shape[:2]
            scale *= root(rows / columns)
    return scale


def _attention(state: State, block: str, shifted: str) -> dict[str, Any]:
    """What SwinIR, HAT and DRCT share.

    Args:
        state: the weights.
        block: prefix of the first attention block.
        shifted: prefix of a shifted block, whose stored mask tells the training size.
    """
    width, channels = state["conv_first.weight"].shape[:2]
    window = (root(state[f"{block}attn.relative_position_bias_table"].shape[0]) + 1) // 2
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
        facts["img_size"] = root(state[f"{shifted}attn_mask"].shape[0]) * window
    elif "absolute_pos_embed" in state:
        facts["img_size"] = root(state["absolute_pos_embed"].shape[1])
    elif f"{block}attn.relative_position_index" in state:  # masks would be stored if windows were shifted
        facts["img_size"] = window
    return facts


def _heads(state: State, pattern: str, groups: int) -> list[int]:
    return [state[pattern.format(i)].shape[1] for i in range(groups)]


def _connection(state: State) -> str:
    if "conv_after_body.0.weight" in state:
        return "3conv"
    return "1conv" if "conv_after_body.weight" in state else "identity"


def _upsampling(state: State, channels: int) -> dict[str, Any]:
    """How networks built like SwinIR enlarge."""
    if "conv_up1.weight" in state:
        return {"upsampler": "nearest+conv", "upscale": 4}
    if "conv_before_upsample.0.weight" in state:
        return {"upsampler": "pixelshuffle", "upscale": steps(state, "upsample.")}
    if "upsample.0.weight" in state:
        scale = root(state["upsample.0.weight"].shape[0] / channels)
        return {"upsampler": "pixelshuffledirect", "upscale": scale}
    return {"upsampler": "", "upscale": 1}


def _depths(state: State) -> list[int]:
    groups = count(state, r"layers\.(\d+)\.")
    return [count(state, rf"layers\.{i}\.residual_group\.blocks\.(\d+)\.") for i in range(groups)]


def detect_swinir(state: State) -> Found:
    block = "layers.0.residual_group.blocks.0."
    facts = _attention(state, block, "layers.0.residual_group.blocks.1.")
    depths = _depths(state)
    return "SwinIR", {
        **facts,
        **_upsampling(state, facts["in_chans"]),
        "depths": depths,
        "num_heads": _heads(
            state, "layers.{}.residual_group.blocks.0.attn.relative_position_bias_table", len(depths)
        ),
        "resi_connection": _connection(state),
    }


def detect_hat(state: State) -> Found:
    group = "layers.0.residual_group."
    block = f"{group}blocks.0."
    depths = _depths(state)
    facts = _attention(state, block, block)
    window, width = facts["window_size"], facts["embed_dim"]
    overlap = root(state[f"{group}overlap_attn.relative_position_bias_table"].shape[0]) + 1 - window
    cab = f"{block}conv_block.cab."
    return "HAT", {
        **facts,
        "depths": depths,
        "num_heads": _heads(
            state, "layers.{}.residual_group.blocks.0.attn.relative_position_bias_table", len(depths)
        ),
        "overlap_ratio": (overlap - window) / window,
        "compress_ratio": width // state[f"{cab}0.weight"].shape[0],
        "squeeze_factor": width // state[f"{cab}3.attention.1.weight"].shape[0],
        "upscale": steps(state, "upsample."),
        "upsampler": "pixelshuffle",
        "resi_connection": _connection(state),
    }


def detect_drct(state: State) -> Found:
    groups = count(state, r"layers\.(\d+)\.")
    if sum(".attn.proj.weight" in key for key in state) != 5 * groups:
        raise WeightError("every group of DRCT has five attention blocks, this file has others")
    return "DRCT", {
        **_attention(state, "layers.0.swin1.", "layers.0.swin2."),
        "depths": [6] * groups,
        "num_heads": _heads(state, "layers.{}.swin1.attn.relative_position_bias_table", groups),
        "gc": state["layers.0.adjust1.weight"].shape[0],
        "upscale": steps(state, "upsample."),
        "upsampler": "pixelshuffle",
        "resi_connection": _connection(state),
    }


def _ratio(pairs: Collection[tuple[int, int]]) -> float:
    """The shortest decimal r with int(r * width) = inner width for all pairs (inner width, width).

    Raises:
        WeightError: there is none.
    """
    least = max(inner / width for inner, width in pairs)
    for digits in range(7):
        ratio = math.ceil(round(least * 10**digits, 6)) / 10**digits
        if all(int(ratio * width) == inner for inner, width in pairs):
            return ratio
    raise WeightError(f"no ratio makes the widths {sorted(set(pairs))} of the state-space layers")


def detect_mambair(state: State) -> Found:
    """MambaIR: what SwinIR has, with state-space layers for attention."""
    width, channels = state["conv_first.weight"].shape[:2]
    scan = "layers.0.residual_group.blocks.0.self_attention."
    return "MambaIR", {
        "in_chans": channels,
        "embed_dim": width,
        "depths": _depths(state),
        "d_state": state[f"{scan}A_logs"].shape[1],
        "mlp_ratio": _ratio([(state[f"{scan}x_proj_weight"].shape[2], width)]),
        "patch_norm": "patch_embed.norm.weight" in state,
        **_upsampling(state, channels),
        "resi_connection": _connection(state),
    }


def detect_mambadrct(state: State) -> Found:
    """MambaDRCT: heads, window and MLP are told by the Swin blocks that it keeps, if any."""
    width, channels = state["conv_first.weight"].shape[:2]
    grow = state["layers.0.adjust1.weight"].shape[0]
    groups = count(state, r"layers\.(\d+)\.")
    flags = [int(any(key.startswith(f"layers.0.mamba{k}.") for key in state)) for k in range(1, 6)]
    kind = "ssmlp" if any(".ss2d." in key for key in state) else "vss"
    part = "ss2d" if kind == "ssmlp" else "self_attention"
    scans = [f"layers.0.mamba{k}.{part}." for k, flag in enumerate(flags, 1) if flag]
    widths = [width + k * grow for k, flag in enumerate(flags) if flag]
    inner = [state[f"{scan}x_proj_weight"].shape[2] for scan in scans]
    facts: dict[str, Any] = {
        "in_chans": channels,
        "embed_dim": width,
        "depths": [6] * groups,
        "num_heads": [6] * groups,
        "ape": "absolute_pos_embed" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
        **_upsampling(state, channels),
        "resi_connection": _connection(state),
        "gc": grow,
        "mamba_blocks": flags,
        "mamba_type": kind,
        "d_state": state[f"{scans[0]}A_logs"].shape[1],
        "expand": _ratio(list(zip(inner, widths, strict=True))),
        "is_light_cab": kind == "ssmlp" or any(".cab.5." in key for key in state),
    }
    for k, block in ((k, f"layers.0.{'mamba' if flag else 'swin'}{k}.") for k, flag in enumerate(flags, 1)):
        if k <= 3 and f"{block}mlp.fc1.bias" in state:
            facts["mlp_ratio"] = state[f"{block}mlp.fc1.bias"].shape[0] / (width + (k - 1) * grow)
            break
    kept = [k for k, flag in enumerate(flags, 1) if not flag]
    if kept:
        first = f"layers.0.swin{kept[0]}.attn."
        facts["window_size"] = (root(state[f"{first}relative_position_bias_table"].shape[0]) + 1) // 2
        facts["qkv_bias"] = f"{first}qkv.bias" in state
        table = f"layers.{{}}.swin{kept[0]}.attn.relative_position_bias_table"
        facts["num_heads"] = [
            _heads_before(heads, width + (kept[0] - 1) * grow, kept[0])
            for heads in _heads(state, table, groups)
        ]
    return "MambaDRCT", facts


def _heads_before(heads: int, width: int, k: int) -> int:
    """The group's number of heads that gives block k of a width its heads.

    Raises:
        WeightError: there is none.
    """
    if k == 1:
        return heads
    for number in range(heads, width + 1):
        if number - width % number == heads:
            return number
    raise WeightError(f"no number of heads gives {heads} for a width of {width}")
