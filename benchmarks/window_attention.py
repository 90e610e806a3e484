"""Window attention as the networks have it on a GPU against Paddle's fused operator, both measured in turns.

`F.scaled_dot_product_attention` takes the relative position bias and the mask of shifted windows as one
additive mask, which has to be written out for every window. One JSON line per case: medians in ms, and the
median of the ratios of neighbouring measurements.

    OMP_NUM_THREADS=1 python benchmarks/window_attention.py [--device gpu]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.generators.blocks.window_attention import WindowAttention, attend, shift_mask

CASES = [
    (180, 6, 16, 64),
    (180, 6, 8, 64),
    (60, 6, 8, 64),
]  # width, heads, window, side of the map: HAT, SwinIR
REPEATS = 7


def explicit(layer: WindowAttention, x: Tensor, mask: Tensor | None) -> Tensor:
    """The layer on cut-out windows, as the networks have it on a GPU."""
    return layer.proj(attend(layer.qkv(x), None, layer.bias(), mask, layer.num_heads, layer.factor))


def fused(layer: WindowAttention, x: Tensor, mask: Tensor | None) -> Tensor:
    """The same layer by the fused operator, which takes (windows, tokens, heads, channels)."""
    count, tokens, _ = x.shape
    q, k, v = layer.qkv(x).reshape([count, tokens, 3, layer.num_heads, -1]).unbind(2)
    bias = layer.bias().unsqueeze(0)
    bias = bias.expand([count, -1, -1, -1]) if mask is None else bias + mask.unsqueeze(1)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return layer.proj(y.reshape([count, tokens, layer.dim]))


def timed(function: Callable[[], Tensor], backward: bool) -> float:
    start = time.perf_counter()
    with paddle.set_grad_enabled(backward):
        y = function()
        if backward:
            y.sum().backward()
    y.sum().item()  # the host waits for the device
    return 1000 * (time.perf_counter() - start)


def measure(dim: int, heads: int, window: int, side: int, masked: bool, backward: bool) -> dict[str, object]:
    layer = WindowAttention(dim, window, heads)
    count = (side // window) ** 2
    x = paddle.randn([count, window**2, dim])
    mask = shift_mask(paddle.zeros([1, side, side, 1]), window, window // 2) if masked else None
    forms = {"explicit": lambda: explicit(layer, x, mask), "fused": lambda: fused(layer, x, mask)}
    with paddle.no_grad():
        outputs = [form() for form in forms.values()]
    times: dict[str, list[float]] = {name: [] for name in forms}
    for round_ in range(REPEATS + 1):
        for name, form in forms.items():
            elapsed = timed(form, backward)
            if round_:
                times[name].append(elapsed)
    ratios = [b / a for a, b in zip(times["explicit"], times["fused"], strict=True)]
    return {
        "case": f"width {dim}, {heads} heads, window {window}, map {side}",
        "mask": masked,
        "backward": backward,
        **{f"{name}_ms": round(median(values), 1) for name, values in times.items()},
        "fused/explicit": round(median(ratios), 2),
        "error": float((outputs[0] - outputs[1]).abs().max()),
        "size": float(outputs[0].abs().max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    paddle.set_device(parser.parse_args().device)
    accelerate.enable()
    for case in CASES:
        for masked in (False, True):
            for backward in (False, True):
                print(json.dumps(measure(*case, masked, backward)), flush=True)


if __name__ == "__main__":
    main()
