"""LR images by MATLAB's bicubic shrinking, without MATLAB but equal to its files in every bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ppsr.errors import ConfigError
from ppsr.imaging.arrays import mod_crop
from ppsr.imaging.io import decode_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.prepare.jobs import Outcome, Summary, gather_unique, run_jobs, write_missing
from ppsr.prepare.records import claim

__all__ = ["make_bicubic"]


def make_bicubic(
    source: str | Path,
    target: str | Path,
    *,
    scales: Sequence[int] = (2, 3, 4),
    multiple: int | None = None,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Write `<target>/LR_bicubic/X<s>/<name>x<s>.png`; with `multiple` also `<target>/HR/<name>.png`.

    8-bit and 16-bit images keep their type, gray ones stay gray.

    Args:
        source: HR images; sub-folders are not searched.
        target: folder of the set.
        scales: HR size / LR size.
        multiple: cut HR to multiples of this (12 for x2 to x4 together) and write it; None cuts to each
            scale for itself and writes no HR.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: scales below 2, or that do not divide `multiple`, or the target is the source, or was
            made with another `multiple` or source.
        DataError: no images.
    """
    target = Path(target)
    if not scales or min(scales) < 2:
        raise ConfigError(f"scales are whole numbers from 2, got {list(scales)}")
    if multiple is not None and (multiple < 1 or multiple % math.lcm(*scales)):
        raise ConfigError(
            f"x{list(scales)} need HR sides that are multiples of {math.lcm(*scales)}, got {multiple}"
        )
    images = gather_unique(source)
    outputs = [target / "LR_bicubic", *([target / "HR"] if multiple else [])]
    claim(target, "bicubic", {"multiple": multiple}, source=source, outputs=outputs)
    job = partial(_shrink, target=target, scales=tuple(scales), multiple=multiple, force=force)
    return run_jobs(job, images, title="bicubic", root=source, workers=workers)


def _shrink(path: Path, *, target: Path, scales: Sequence[int], multiple: int | None, force: bool) -> Outcome:
    outputs = {s: target / "LR_bicubic" / f"X{s}" / f"{path.stem}x{s}.png" for s in scales}
    hr = target / "HR" / f"{path.stem}.png"
    files = [*outputs.values(), *([hr] if multiple else [])]
    if not force and all(file.exists() for file in files):
        return Outcome(present=len(files))
    image = decode_image(path)
    if min(image.shape[:2]) < (multiple or max(scales)):
        return Outcome(skipped=f"{image.shape[1]} x {image.shape[0]} is too small")
    if multiple:
        image = mod_crop(image, multiple)
    images = [
        (output, matlab_resize_integers(mod_crop(image, scale), 1 / scale))
        for scale, output in outputs.items()
    ]
    return write_missing([*images, *([(hr, image)] if multiple else [])], force=force)
