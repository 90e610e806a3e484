"""What cutting into tiles changes, and how well memory is predicted.

    python benchmarks/tiling.py --what equality     # tiles against the whole image, per kind of network
    python benchmarks/tiling.py --what memory       # predicted against measured peak of the process

The networks have their published depth and windows and fewer channels, so that a processor can compute whole
images. Nothing is trained: convolutions as initialised, linear layers so that attention is not flat. With
--load FILE, a trained network takes part as well. One JSON line per case:

    {"name": "tiling", "case": <network>, "value": <largest difference>, "unit": "of 1", "mean": ...,
     "psnr": <of tiles against whole, dB>, "cut_at_the_edge": <largest difference without overlap>,
     "overlap": ..., "tile": ..., "radius": ..., "deviation": <of the whole result>}
    {"name": "memory", "case": <network and size>, "value": <predicted peak>, "unit": "MB",
     "ratio_vs_measured": ..., "measured": ..., "limit": ..., "plan": ...}
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

NARROW = {
    "SRVGGNetCompact": {"num_feat": 32, "num_conv": 16, "upscale": 4},
    "MSRResNet": {"num_feat": 32, "num_block": 16, "upscale": 4},
    "RRDBNet": {"num_feat": 16, "num_grow_ch": 8, "num_block": 23, "scale": 4},
    "RCAN": {"n_feats": 16, "n_resgroups": 10, "n_resblocks": 20, "scale": 4},
    "DRNGenerator": {"n_feats": 16, "n_blocks": 10, "scale": (2, 4)},
    "SwinIR": {
        "embed_dim": 60,
        "depths": [6] * 4,
        "num_heads": [6] * 4,
        "window_size": 8,
        "mlp_ratio": 2.0,
        "upscale": 4,
        "upsampler": "pixelshuffledirect",
    },
    "HAT": {
        "embed_dim": 60,
        "depths": [6] * 3,
        "num_heads": [6] * 3,
        "window_size": 16,
        "compress_ratio": 3,
        "squeeze_factor": 30,
        "conv_scale": 0.01,
        "overlap_ratio": 0.5,
        "mlp_ratio": 2,
        "upscale": 4,
        "upsampler": "pixelshuffle",
    },
    "DRCT": {
        "embed_dim": 60,
        "depths": [6] * 6,
        "num_heads": [6] * 6,
        "window_size": 16,
        "gc": 16,
        "mlp_ratio": 2,
        "upscale": 4,
        "upsampler": "pixelshuffle",
    },
    "BlindSR": {
        "generator": {"name": "CDDNet", "num_feat": 32, "num_block": 16, "num_models": 5, "upscale": 4},
        "predictor": {"name": "DegradationPredictor", "nf": 32, "num_params": 33, "num_networks": 5},
    },
    "MambaIR": {
        "embed_dim": 30,
        "depths": [2] * 4,
        "d_state": 4,
        "mlp_ratio": 1.2,
        "upscale": 4,
        "upsampler": "pixelshuffledirect",
    },
    "FSRCNN": {"scale": 4},
    "ESPCN": {"scale": 4},
    "IMDN": {"upscale": 4},
    "MambaDRCT": {
        "embed_dim": 60,
        "depths": [6] * 2,
        "num_heads": [6] * 2,
        "window_size": 16,
        "gc": 16,
        "mlp_ratio": 2,
        "upscale": 4,
        "upsampler": "pixelshuffle",
        "mamba_blocks": [0, 1, 0, 1, 0],
        "d_state": 4,
        "expand": 1.2,
    },
}
MEMORY = (
    ("SRVGGNetCompact", 600, 400, 700),
    ("SRVGGNetCompact", 1200, 2000, 700, True),
    ("SRVGGNetCompact", 1500, 1000, 700),
    ("SRVGGNetCompact", 1500, 1000, 1000),
    ("MSRResNet", 300, 200, 700),
    ("MSRResNet", 300, 200, 900),
    ("RRDBNet", 200, 300, 1000),
    ("DRNGenerator", 200, 150, 900),
    ("RCAN", 150, 200, 900),
    ("SwinIR", 128, 160, 700),
    ("HAT", 96, 144, 1000),
    ("HAT", 64, 80, 1500),
    ("DRCT", 96, 144, 1500),
    ("BlindSR", 160, 200, 900),
    ("MambaIR", 96, 128, 700),
    ("SRVGGNetCompact", 160, 120, 700),
    ("RCAN", 200, 240, 700),
    ("SwinIR", 64, 48, 700),
    ("FSRCNN", 500, 400, 700),
    ("ESPCN", 600, 400, 700),
    ("IMDN", 240, 200, 800),
    ("MambaDRCT", 96, 128, 900),
    ("SwinIR", 128, 160, 2500),  # ample: freed memory is kept
    ("RRDBNet", 200, 300, 2500),
    ("HAT", 96, 144, 4000),
)


def photograph(height: int, width: int) -> np.ndarray:
    """A photograph, repeated as mirror images where it is too small."""
    from skimage import data

    image = data.astronaut()
    return np.pad(
        image,
        ((0, max(0, height - len(image))), (0, max(0, width - image.shape[1])), (0, 0)),
        mode="symmetric",
    )[:height, :width]


def build(name: str):
    """A network whose linear layers are wide enough for attention to depend on the image."""
    import paddle
    from paddle import nn

    from ppsr import accelerate
    from ppsr.registry import build_generator

    accelerate.enable()
    paddle.seed(0)
    rng = np.random.default_rng(0)
    net = build_generator(name, **NARROW[name])
    for layer in net.sublayers():
        if isinstance(layer, nn.Linear):
            shape = list(layer.weight.shape)
            layer.weight.set_value(rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32))
    net.eval()
    return net


def equality(case: str, net, size: int, tile: int) -> dict:
    """Tiles with the default overlap, and without any, against the whole image."""
    from ppsr.inference.upscaler import Upscaler

    image = photograph(size, size).astype(np.float32) / 255
    upscaler = Upscaler(net, tile=0)
    whole = upscaler(image)
    results = {}
    for overlap in (None, 0):
        tiled = Upscaler(upscaler.backend, tile=tile, overlap=overlap)
        results[overlap] = np.abs(tiled(image) - whole)
        if overlap is None:
            tiles = tiled.plan(size, size).tiles
    error = results[None]
    mse = float(np.square(error, dtype=np.float64).mean())
    return {
        "name": "tiling",
        "case": case,
        "value": float(error.max()),
        "unit": "of 1",
        "mean": float(error.mean()),
        "psnr": round(-10 * math.log10(mse), 1) if mse else None,
        "cut_at_the_edge": float(results[0].max()),
        "overlap": tiles.overlap,
        "tile": tiles.size,
        "radius": upscaler.backend.info.receptive_radius,
        "size": size,
        "deviation": round(float(whole.std()), 3),
    }


def memory(name: str, width: int, height: int, limit: int, clear: bool = False) -> dict:
    """Peak of this process, which should be a fresh one."""
    from ppsr.errors import DataError
    from ppsr.inference.upscaler import Upscaler
    from ppsr.memory import release_memory, resident_memory

    net = build(name)
    pixels = photograph(height, width)
    if clear:  # alpha that is seen through at half of the places
        alpha = np.where(pixels[..., :1] > 127, pixels[..., :1], 0)
        pixels = np.concatenate([pixels, alpha], axis=2)
    upscaler = Upscaler(net, max_memory=limit * 10**6)
    try:
        plan = upscaler.plan(*pixels.shape)
    except DataError as error:
        return {"name": "memory", "case": f"{name} {width}x{height}", "limit": limit, "refused": str(error)}
    release_memory()
    predicted = ((resident_memory() or 0) + (plan.memory or 0)) / 1e6
    for _ in upscaler.bands(pixels, plan=plan):
        pass
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {
        "name": "memory",
        "case": f"{name} {width}x{height}{' RGBA' if clear else ''}",
        "value": round(predicted),
        "unit": "MB",
        "ratio_vs_measured": round(predicted / measured, 3),
        "measured": round(measured),
        "limit": limit,
        "plan": str(plan),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--what", choices=["equality", "memory"], default="equality")
    parser.add_argument("--only", help="networks whose name has this text")
    parser.add_argument("--size", type=int, default=160, help="side of the image, for equality")
    parser.add_argument("--tile", type=int, default=64, help="side of the tiles, for equality")
    parser.add_argument("--load", type=Path, action="append", default=[], help="trained weights")
    options = parser.parse_args()
    wanted = options.only or ""
    if options.what == "memory":
        for case in MEMORY:
            if wanted in case[0]:
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
                    print(json.dumps(fresh.submit(memory, *case).result()), flush=True)
        return
    for name in NARROW:
        if wanted in name:
            print(json.dumps(equality(name, build(name), options.size, options.tile)), flush=True)
    for path in options.load:
        from ppsr.inference.network import load_network

        net = load_network(None, path)
        print(json.dumps(equality(path.stem, net, options.size, options.tile)), flush=True)


if __name__ == "__main__":
    main()
