"""Degraded validation sets of DASR: type 1 weak, 2 standard, 3 severe.

The published sets were made without a seed and can only be downloaded; ours are drawn from (seed, name), so
that every machine makes the same ones.
"""

from __future__ import annotations

import json
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.degradations.dasr import LEVELS, build_operations, describe, draw_choices
from ppsr.degradations.operations import apply_operations, quantise
from ppsr.errors import ConfigError
from ppsr.files import atomic_write
from ppsr.imaging.arrays import mod_crop
from ppsr.imaging.io import read_image
from ppsr.prepare.jobs import Outcome, Summary, gather_unique, run_jobs, write_missing
from ppsr.prepare.records import claim

__all__ = ["TYPES", "make_dasr_validation"]

TYPES = {1: "weak", 2: "standard", 3: "severe"}


def make_dasr_validation(
    source: str | Path,
    target: str | Path,
    *,
    kind: int,
    scale: int = 4,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Degrade every image of a folder; sharpening and cropping are for training only.

    Args:
        source: HR images; sub-folders are not searched; sides are cut to multiples of `scale`.
        target: folder of the LR images and `params.json`, the 33 degradation parameters of each.
        kind: 1, 2 or 3.
        scale: HR size / LR size.
        seed: of all draws, together with the image's name.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: unknown type, or the target was made with other options or of another source,
            or is the source.
        DataError: no images.
    """
    if kind not in TYPES:
        raise ConfigError(f"the types of degradation are 1 (weak), 2 (standard), 3 (severe); got {kind}")
    target, images = Path(target), gather_unique(source)
    options = {"type": kind, "scale": scale, "seed": seed}
    claim(target, "dasr-valid", options, source=source, outputs=[target])
    job = partial(_degrade, target=target, kind=kind, scale=scale, seed=seed, force=force)
    summary = run_jobs(job, images, title=f"type {kind}", root=source, workers=workers)
    made = [path.stem for path in images if (target / f"{path.stem}.png").exists()]
    level = LEVELS[TYPES[kind]]
    described = {name: describe(_drawn(name, kind, seed)[0], level).tolist() for name in made}
    if made:
        side_file = {"type": kind, "seed": seed, "params": described}
        atomic_write(target / "params.json", json.dumps(side_file, indent=1))
    return summary


def _drawn(name: str, kind: int, seed: int) -> tuple[Any, np.random.Generator]:
    """The choices of an image, and the generator of what is drawn after them."""
    spelled = name.encode(errors="surrogateescape")  # names of files need not be text
    rng = np.random.default_rng([seed, kind, zlib.crc32(spelled)])
    return draw_choices(rng, LEVELS[TYPES[kind]]), rng


def _degrade(path: Path, *, target: Path, kind: int, scale: int, seed: int, force: bool) -> Outcome:
    output = target / f"{path.stem}.png"
    if output.exists() and not force:
        return Outcome(present=1)
    image = mod_crop(read_image(path), scale)
    if not image.size:
        return Outcome(skipped=f"is smaller than {scale} pixels")
    choices, rng = _drawn(path.stem, kind, seed)
    operations = build_operations(choices, image.shape[:2], scale)
    return write_missing([(output, quantise(apply_operations(image, operations, rng)))], force=force)
