"""Constructor arguments from the keys and shapes of weights, as the networks' `detect` functions need them.

Sizes come from convolutions, biases and norms, never from the orientation of Linear weights, so both layouts
give the same answer. What leaves no trace in the weights (dropout, HAT's `conv_scale`) keeps the default. The
rules for window attention follow what spandrel (chaiNNer) derives from the same keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from ppsr.weights.identify import StateDict

__all__ = [
    "count",
    "group_depths",
    "group_heads",
    "head_count",
    "ratio",
    "rgb_range",
    "shuffle_scale",
    "square_root",
    "swin_arguments",
    "swin_tail",
    "window_arguments",
]


def count(state: StateDict, pattern: str) -> int:
    """How many different numbers the group of a pattern matches, as in ``layers\\.(\\d+)\\.``."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def square_root(value: float) -> int:
    """The whole square root."""
    found = math.isqrt(round(value))
    if found < 1 or found * found != value:
        raise ValueError(f"{value:g} is not a square")
    return found


def ratio(widths: Iterable[tuple[int, int]]) -> float:
    """The number of fewest decimals with `int(ratio * width) == inner` for every pair (width, inner)."""
    pairs = list(widths)
    lowest = max(inner / width for width, inner in pairs)
    for digits in range(17):
        found = math.ceil(lowest * 10**digits) / 10**digits
        if all(int(found * width) == inner for width, inner in pairs):
            return found
    raise ValueError(f"no ratio gives the inner widths {[inner for _, inner in pairs]}")


def shuffle_scale(state: StateDict, prefix: str) -> int:
    """The scale of a chain of convolutions with pixel shuffle at `<prefix>0.`, `<prefix>2.`, ..."""
    scale = 1
    for step in range(0, 8, 2):
        if f"{prefix}{step}.weight" in state:
            rows, columns = state[f"{prefix}{step}.weight"].shape[:2]
            scale *= square_root(rows / columns)
    return scale


def rgb_range(state: StateDict) -> float:
    """Largest value of an image, from the mean that is subtracted first (about 0.45 of it)."""
    return 255.0 if float(np.abs(state["sub_mean.bias"]).max()) > 2 else 1.0


def swin_arguments(state: StateDict) -> dict[str, Any]:
    """How an image becomes tokens, and the last convolution of the body."""
    width, channels = state["conv_first.weight"].shape[:2]
    arguments: dict[str, Any] = {
        "in_chans": channels,
        "embed_dim": width,
        "ape": "absolute_pos_embed" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
        "resi_connection": "1conv" if "conv_after_body.weight" in state else "identity",
    }
    if "conv_after_body.0.weight" in state:
        arguments["resi_connection"] = "3conv"
    if arguments["ape"]:
        arguments["img_size"] = square_root(state["absolute_pos_embed"].shape[1])
    return arguments


def window_arguments(state: StateDict, block: str, *, shifts: bool) -> dict[str, Any]:
    """Arguments that SwinIR, HAT and DRCT share.

    Args:
        block: prefix of the first attention block.
        shifts: whether there are shifted blocks. Their stored masks show the training size, unless that is no
            larger than a window.
    """
    window = (square_root(state[f"{block}attn.relative_position_bias_table"].shape[0]) + 1) // 2
    arguments = swin_arguments(state)
    windows = {value.shape[0] for key, value in state.items() if key.endswith(".attn_mask")}
    if windows:
        per_side = math.isqrt(min(windows))
        if per_side**2 in windows:  # else the image was oblong, and only known to be larger
            arguments["img_size"] = per_side * window
    elif shifts and not arguments["ape"] and f"{block}attn.relative_position_index" in state:
        arguments["img_size"] = window  # masks would be stored if windows were shifted
    return {
        **arguments,
        "window_size": window,
        "mlp_ratio": ratio([(arguments["embed_dim"], state[f"{block}mlp.fc1.bias"].shape[0])]),
        "qkv_bias": f"{block}attn.qkv.bias" in state,
    }


def head_count(state: StateDict, block: str) -> int:
    return int(state[f"{block}attn.relative_position_bias_table"].shape[1])


def group_depths(state: StateDict) -> list[int]:
    """Blocks of each residual group."""
    groups = count(state, r"layers\.(\d+)\.")
    return [count(state, rf"layers\.{i}\.residual_group\.blocks\.(\d+)\.") for i in range(groups)]


def group_heads(state: StateDict) -> list[int]:
    """Attention heads of each residual group."""
    groups = count(state, r"layers\.(\d+)\.")
    return [head_count(state, f"layers.{i}.residual_group.blocks.0.") for i in range(groups)]


def swin_tail(state: StateDict) -> dict[str, Any]:
    """Upsampler and scale of SwinIR and the networks built on it."""
    if "conv_up1.weight" in state:
        return {"upsampler": "nearest+conv", "upscale": 4 if "conv_up2.weight" in state else 2}
    if "conv_before_upsample.0.weight" in state:
        return {"upsampler": "pixelshuffle", "upscale": shuffle_scale(state, "upsample.")}
    if "upsample.0.weight" in state:
        rows, channels = state["upsample.0.weight"].shape[0], state["conv_first.weight"].shape[1]
        return {"upsampler": "pixelshuffledirect", "upscale": square_root(rows / channels)}
    return {"upsampler": "", "upscale": 1}
