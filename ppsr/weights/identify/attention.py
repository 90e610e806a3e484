"""Detectors of window-attention networks, SwinIR, HAT and DRCT, and what their kin share with them.

The rules follow what spandrel (chaiNNer) derives from the same keys.
"""

from __future__ import annotations

import math
from typing import Any

from ppsr.errors import WeightError
from ppsr.weights.identify.shapes import Found, State, connection, count, ratio, root, steps

__all__ = ["attention", "depths", "drct", "hat", "head_count", "swinir", "tokens", "upsampling"]


def tokens(state: State) -> dict[str, Any]:
    """How the image becomes tokens."""
    width, channels = state["conv_first.weight"].shape[:2]
    facts: dict[str, Any] = {
        "in_chans": channels,
        "embed_dim": width,
        "ape": "absolute_pos_embed" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
    }
    if facts["ape"]:
        facts["img_size"] = root(state["absolute_pos_embed"].shape[1])
    return facts


def attention(state: State, block: str, shifts: bool) -> dict[str, Any]:
    """What SwinIR, HAT and DRCT share.

    Args:
        state: the weights.
        block: prefix of the first attention block.
        shifts: whether there are blocks that shift, and store a mask that tells the training size, unless
            that is no larger than a window.
    """
    window = (root(state[f"{block}attn.relative_position_bias_table"].shape[0]) + 1) // 2
    facts = tokens(state)
    windows = {value.shape[0] for key, value in state.items() if key.endswith(".attn_mask")}
    if windows:
        per_side = math.isqrt(min(windows))
        if per_side**2 in windows:  # else the image was oblong, and only known to be larger
            facts["img_size"] = per_side * window
    elif shifts and not facts["ape"] and f"{block}attn.relative_position_index" in state:
        facts["img_size"] = window  # masks would be stored if windows were shifted
    return {
        **facts,
        "window_size": window,
        "mlp_ratio": ratio([(facts["embed_dim"], state[f"{block}mlp.fc1.bias"].shape[0])]),
        "qkv_bias": f"{block}attn.qkv.bias" in state,
    }


def head_count(state: State, block: str) -> int:
    return int(state[f"{block}attn.relative_position_bias_table"].shape[1])


def depths(state: State) -> list[int]:
    """Blocks of each group."""
    groups = count(state, r"layers\.(\d+)\.")
    return [count(state, rf"layers\.{i}\.residual_group\.blocks\.(\d+)\.") for i in range(groups)]


def upsampling(state: State) -> tuple[str, int]:
    """Upsampler and scale of SwinIR and its kin."""
    if "conv_up1.weight" in state:
        return "nearest+conv", 4 if "conv_up2.weight" in state else 2
    if "conv_before_upsample.0.weight" in state:
        return "pixelshuffle", steps(state, "upsample.")
    if "upsample.0.weight" in state:
        rows, channels = state["upsample.0.weight"].shape[0], state["conv_first.weight"].shape[1]
        return "pixelshuffledirect", root(rows / channels)
    return "", 1


def swinir(state: State) -> Found:
    groups = depths(state)
    facts = attention(state, "layers.0.residual_group.blocks.0.", max(groups) > 1)
    upsampler, scale = upsampling(state)
    return "SwinIR", {
        **facts,
        "depths": groups,
        "num_heads": [head_count(state, f"layers.{i}.residual_group.blocks.0.") for i in range(len(groups))],
        "upscale": scale,
        "upsampler": upsampler,
        "resi_connection": connection(state),
    }


def hat(state: State) -> Found:
    group = "layers.0.residual_group."
    block = f"{group}blocks.0."
    groups = depths(state)
    facts = attention(state, block, False)
    window, width = facts["window_size"], facts["embed_dim"]
    overlap = root(state[f"{group}overlap_attn.relative_position_bias_table"].shape[0]) + 1 - window
    cab = f"{block}conv_block.cab."
    return "HAT", {
        **facts,
        "depths": groups,
        "num_heads": [head_count(state, f"layers.{i}.residual_group.blocks.0.") for i in range(len(groups))],
        "overlap_ratio": ratio([(window, overlap - window)]),
        "compress_ratio": width // state[f"{cab}0.weight"].shape[0],
        "squeeze_factor": width // state[f"{cab}3.attention.1.weight"].shape[0],
        "upscale": steps(state, "upsample."),
        "upsampler": "pixelshuffle",
        "resi_connection": connection(state),
    }


def drct(state: State) -> Found:
    groups = count(state, r"layers\.(\d+)\.")
    if sum(".attn.proj.weight" in key for key in state) != 5 * groups:
        raise WeightError("every group of DRCT has five attention blocks, this file has others")
    return "DRCT", {
        **attention(state, "layers.0.swin1.", True),
        "depths": [6] * groups,
        "num_heads": [head_count(state, f"layers.{i}.swin1.") for i in range(groups)],
        "gc": state["layers.0.adjust1.weight"].shape[0],
        "upscale": steps(state, "upsample."),
        "upsampler": "pixelshuffle",
        "resi_connection": connection(state),
    }
