"""Degradation: images per second of ours against a plain transcription with large dense convolutions.

    python benchmarks/degradation.py [--rounds 3] [--batch 6] [--size 400] [--device cpu]

DASR's three levels and the second-order list, each preceded by USM sharpening: 21x21 blur, resize, noise,
JPEG, once or twice, at last a sinc filter. "host" is NumPy and OpenCV, one image after the other;
"device" is the same operations on a batch of tensors on --device; the transcription runs on --device too.
All see one batch in one process with all cores and take turns; medians are compared. One JSON line per
case; `ratio_vs_dense` above 1 means that ours makes more images per second.
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
from ppsr.compat.paddle import seeded
from ppsr.degradations import device
from ppsr.degradations import jpeg as jpeg_module
from ppsr.degradations.batches import apply_to_batch
from ppsr.degradations.blur import usm_kernel, usm_sharpen
from ppsr.degradations.dasr import LEVELS, build_operations, draw_params
from ppsr.degradations.operations import Blur, Jpeg, Noise, Resize, apply_operations, quantise
from ppsr.degradations.second_order import SECOND_ORDER, build_steps, draw_operations


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
    """Block DCT as the published code writes it: a tensor product with all 64 basis images."""
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


def _cases(size):
    """Names of the degradations and the operations that one draw of each gives."""
    rng = np.random.default_rng
    cases = {
        name: build_operations(draw_params(rng(1), level), (size, size), 4) for name, level in LEVELS.items()
    }
    steps = build_steps(SECOND_ORDER)
    return {**cases, "second_order": draw_operations(steps, rng(1), size=(size, size), scale=4)}


def _runs(images, operations):
    """The three ways of degrading the same images."""
    rng = np.random.default_rng(0)
    batch = paddle.to_tensor(images.transpose(0, 3, 1, 2))

    def host():
        for image in images:
            quantise(apply_operations(usm_sharpen(image), operations, rng))

    def on_device():
        with seeded(0):
            sharp = device.usm_sharpen(batch)
            device.quantise(apply_to_batch(sharp, [operations] * len(images))).numpy()

    def dense():
        dense_pipeline(batch, operations, rng).numpy()

    return {"host": host, "device": on_device, "dense": dense}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    accelerate.enable()
    paddle.set_device(options.device)
    images = np.random.default_rng(0).random((options.batch, options.size, options.size, 3), dtype=np.float32)
    for case, operations in _cases(options.size).items():
        runs = _runs(images, operations)
        times = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - started)
        speed = {name: options.batch / statistics.median(seconds) for name, seconds in times.items()}
        for name in ("host", "device"):
            line = {"name": "degradation", "case": f"{case} {name}", "value": round(speed[name], 2)}
            line |= {"unit": "images/s", "dense": round(speed["dense"], 2)}
            print(json.dumps({**line, "ratio_vs_dense": round(speed[name] / speed["dense"], 2)}))


if __name__ == "__main__":
    main()
