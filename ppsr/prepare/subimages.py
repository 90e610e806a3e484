"""Cutting large images into overlapping windows that are quick to read."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.errors import ConfigError
from ppsr.imaging.arrays import mod_crop
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Outcome, Summary, gather_unique, run_jobs, write_missing
from ppsr.prepare.records import claim

__all__ = ["make_subimages", "window_starts"]

_SCALES = re.compile(r"([_-]?x[2348])+$")


def window_starts(side: int, size: int, step: int, threshold: int = 0) -> list[int]:
    """Where windows begin along one side: every `step` pixels, and one flush with the end where more than
    `threshold` pixels remain. Empty if the side is shorter than a window."""
    starts = list(range(0, side - size + 1, step))
    if starts and side - (starts[-1] + size) > threshold:
        starts.append(side - size)
    return starts


def make_subimages(
    source: str | Path,
    target: str | Path,
    *,
    size: int = 480,
    step: int = 240,
    threshold: int = 0,
    multiple: int = 1,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Write the windows of every image as `<name>_s001.png`, row by row.

    A scale at the end of the name (`0001x4`) is left out, so that windows of HR and LR have equal names. They
    show the same places where `size`, `step`, `threshold` and `multiple` of HR are those of LR times the
    scale.

    Args:
        source: folder, searched recursively.
        target: folder of the windows.
        size: side of a window.
        step: distance of windows.
        threshold: remaining pixels that are given up.
        multiple: cut images to sides that are multiples of this, before the last windows are placed.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: sizes that are not positive, or the target lies in the source, or holds windows of other
            sizes or of another source.
        DataError: no images, or two whose windows would have the same names.
    """
    target = Path(target)
    if min(size, step, multiple) < 1 or threshold < 0:
        raise ConfigError(
            f"size, step and multiple are at least 1, threshold at least 0; got {size}, {step}, {multiple}, "
            f"{threshold}"
        )
    images = gather_unique(source, _plain, recursive=True)
    options: dict[str, Any] = {"size": size, "step": step, "threshold": threshold, "multiple": multiple}
    claim(target, "subimages", options, source=source, outputs=[target], recursive=True)
    job = partial(_cut, target=target, **options, force=force)
    return run_jobs(job, images, title="sub-images", root=source, workers=workers)


def _plain(path: Path) -> str:
    return _SCALES.sub("", path.stem) or path.stem


def _cut(
    path: Path, *, target: Path, size: int, step: int, threshold: int, multiple: int, force: bool
) -> Outcome:
    image = mod_crop(decode_image(path), multiple)
    tops, lefts = (window_starts(side, size, step, threshold) for side in image.shape[:2])
    if not tops or not lefts:
        shape = f"{image.shape[1]} x {image.shape[0]}"
        return Outcome(skipped=f"{shape} is smaller than a window of {size}")
    corners = [(top, left) for top in tops for left in lefts]
    windows = (
        (
            target / f"{_plain(path)}_s{index:03d}.png",
            np.ascontiguousarray(image[top : top + size, left : left + size]),
        )
        for index, (top, left) in enumerate(corners, start=1)
    )
    return write_missing(windows, force=force)
