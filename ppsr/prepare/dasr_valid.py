"""Degraded validation sets of DASR: type 1 weak, 2 standard, 3 severe.

The published sets were made without a seed and can only be downloaded; ours are drawn from (seed, name), so
that every
machine makes the same ones.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ppsr.datasets.files import gather_pictures
from ppsr.degradations.dasr import LEVELS, build_operations, describe, draw_choices
from ppsr.degradations.operations import apply_operations, quantise
from ppsr.errors import ConfigError
from ppsr.files import atomic_write
from ppsr.imaging.io import read_image, write_image

__all__ = ["TYPES", "make_dasr_validation"]

TYPES = {1: "weak", 2: "standard", 3: "severe"}


def make_dasr_validation(
    source: str | Path,
    target: str | Path,
    *,
    kind: int,
    scale: int = 4,
    seed: int = 0,
    force: bool = False,
) -> dict[str, int]:
    """Degrade every picture of a folder; sharpening and cropping are for training only.

    Args:
        source: HR pictures; sides are cut to multiples of `scale`.
        target: folder of the LR pictures and `params.json`, the 33 degradation parameters of each.
        kind: 1, 2 or 3.
        scale: HR size / LR size.
        seed: of all draws, together with the picture's name.
        force: write again what is already there.

    Returns:
        Number of pictures written and skipped.
    """
    if kind not in TYPES:
        raise ConfigError(f"the types of degradation are 1 (weak), 2 (standard), 3 (severe); got {kind}")
    level, target = LEVELS[TYPES[kind]], Path(target)
    described, counts = {}, {"written": 0, "skipped": 0}
    for path in tqdm(gather_pictures(source), desc=f"type {kind}", unit="picture"):
        rng = np.random.default_rng([seed, kind, zlib.crc32(path.stem.encode())])
        image = read_image(path)
        height, width = (side // scale * scale for side in image.shape[:2])
        image = np.ascontiguousarray(image[:height, :width])
        choices = draw_choices(rng, level)
        described[path.stem] = describe(choices, level).tolist()
        output = target / f"{path.stem}.png"
        if output.exists() and not force:
            counts["skipped"] += 1
            continue
        operations = build_operations(choices, (height, width), scale)
        write_image(output, quantise(apply_operations(image, operations, rng)))
        counts["written"] += 1
    atomic_write(
        target / "params.json", json.dumps({"type": kind, "seed": seed, "params": described}, indent=1)
    )
    return counts
