"""DASR's degradation: images per second of ours against a plain transcription with large dense convolutions.

    python benchmarks/degradation.py [--rounds 3] [--batch 6] [--size 400]

Both do USM sharpening, 21x21 blur, resize, noise, JPEG, second blur, resize, noise, JPEG, sinc filter, resize
on a batch in one process with all cores; they take turns, medians are compared. One JSON line per case;
`ratio_vs_dense` above 1 means that ours makes more images per second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import paddle
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.degradations import jpeg as jpeg_module
from ppsr.degradations.blur import usm_kernel, usm_sharpen
from ppsr.degradations.dasr import LEVELS, build_operations, draw_choices
from ppsr.degradations.operations import Blur, Jpeg, Noise, Resize, apply_operations, quantise


def dense_filter(x, kernel):
    """Depthwise convolution of the whole batch with a dense kernel, reflection at the border."""
    channels, side = x.shape[1], kernel.shape[0]
    weight = paddle.to_tensor(np.tile(kernel.astype(np.float32)[None, None], (channels, 1, 1, 1)))
    padded = F.pad(x, [side // 2] * 4, mode="reflect")
    return F.conv2d(padded, weight, groups=channels)


def dense_usm(x):
    """Unsharp mask by two 51x51 convolutions."""
    line = usm_kernel()
    kernel = np.outer(line, line)
    residual = x - dense_filter(x, kernel)
    soft = dense_filter((residual.abs() * 255 > 10).astype("float32"), kernel)
    return soft * paddle.clip(x + 0.5 * residual, 0, 1) + (1 - soft) * x


def dense_jpeg(x, quality):
    """Block DCT as the published code writes it: a tensor product with all 64 basis pictures."""
    basis = np.einsum("ux,vy->xyuv", jpeg_module._DCT, jpeg_module._DCT)
    basis = paddle.to_tensor(basis.reshape(64, 64))
    n, c, h, w = x.shape
    x = F.pad(x, [0, -w % 8, 0, -h % 8])
    h2, w2 = x.shape[2:]
    blocks = (x * 255 - 128).reshape([n, c, h2 // 8, 8, w2 // 8, 8]).transpose([0, 1, 2, 4, 3, 5])
    table = paddle.to_tensor(jpeg_module.LUMA * jpeg_module.quality_factor(quality)).reshape([64])
    coefficients = paddle.matmul(blocks.reshape([-1, 64]), basis) / table
    restored = paddle.matmul(paddle.round(coefficients) * table, basis.T)
    restored = restored.reshape([n, c, h2 // 8, w2 // 8, 8, 8]).transpose([0, 1, 2, 4, 3, 5])
    return paddle.clip((restored.reshape([n, c, h2, w2]) + 128) / 255, 0, 1)[:, :, :h, :w]


def dense_pipeline(batch, operations, rng):
    """The same operations on tensors."""
    x = dense_usm(batch)
    for operation in operations:
        if isinstance(operation, Blur):
            x = dense_filter(x, operation.kernel)
        elif isinstance(operation, Resize):
            size = operation.size or [int(side * operation.scale) for side in x.shape[2:]]
            mode = {"area": "area", "bilinear": "bilinear", "bicubic": "bicubic"}[operation.mode]
            x = F.interpolate(x, size=list(size), mode=mode)
        elif isinstance(operation, Noise):
            drawn = paddle.to_tensor(rng.standard_normal(x.shape, dtype=np.float32))
            x = paddle.clip(x + drawn * operation.level / 255, 0, 1)
        elif isinstance(operation, Jpeg):
            x = dense_jpeg(paddle.clip(x, 0, 1), operation.quality)
    return paddle.round(x * 255) / 255


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--size", type=int, default=400)
    options = parser.parse_args()
    accelerate.enable()
    rng = np.random.default_rng(0)
    pictures = rng.random((options.batch, options.size, options.size, 3), dtype=np.float32)
    for name, level in LEVELS.items():
        choices = draw_choices(np.random.default_rng(1), level)
        operations = build_operations(choices, pictures.shape[1:3], 4)
        times = {"ours": [], "dense": []}
        for _ in range(options.rounds):
            started = time.perf_counter()
            for picture in pictures:
                quantise(apply_operations(usm_sharpen(picture), operations, rng))
            times["ours"].append(time.perf_counter() - started)
            batch = paddle.to_tensor(pictures.transpose(0, 3, 1, 2))
            started = time.perf_counter()
            dense_pipeline(batch, operations, rng).numpy()
            times["dense"].append(time.perf_counter() - started)
        ours, dense = (options.batch / statistics.median(times[key]) for key in ("ours", "dense"))
        line = {"name": "dasr", "case": name, "value": round(ours, 2), "unit": "images/s"}
        print(json.dumps({**line, "dense": round(dense, 2), "ratio_vs_dense": round(ours / dense, 2)}))


if __name__ == "__main__":
    main()
