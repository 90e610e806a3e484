"""A small set of real images that every installation has: those that scikit-image ships."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ppsr.errors import DataError
from ppsr.imaging.io import read_image, to_uint8
from ppsr.prepare.jobs import Outcome, Summary, run_jobs, write_missing

__all__ = ["TRAIN", "VALIDATION", "make_samples"]

# No scene stands in both lists.
TRAIN = (
    "astronaut.png",
    "motorcycle_left.png",
    "ihc.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "camera.png",
)
TEXTURES = ("brick.png", "grass.png", "gravel.png")
VALIDATION = ("chelsea.png", "coffee.png", "rocket.jpg")

_LARGEST = 600


def make_samples(
    folder: str | Path = "data/samples", *, workers: int | None = None, force: bool = False
) -> Summary:
    """Write HR images to `folder`/train and `folder`/val as PNG, sides multiples of 8 and at most 600
    pixels.

    Args:
        folder: target.
        workers: processes.
        force: write again what is already there.

    Returns:
        Images that this version of scikit-image does not ship are among failed.

    Raises:
        DataError: scikit-image is missing.
    """
    try:
        import skimage.data
    except ImportError:
        raise DataError("the samples come with scikit-image: pip install scikit-image") from None
    source = Path(skimage.data.__file__).parent
    images = [source / name for name in (*TRAIN, *TEXTURES, *VALIDATION)]
    job = partial(_cut, folder=Path(folder), force=force)
    return run_jobs(job, images, title="samples", root=source, workers=workers)


def _cut(path: Path, *, folder: Path, force: bool) -> Outcome:
    target = folder / ("val" if path.name in VALIDATION else "train") / f"{path.stem}.png"
    if target.exists() and not force:
        return Outcome(present=1)
    return write_missing([(target, to_uint8(_centre(read_image(path))))], force=force)


def _centre(image: np.ndarray) -> np.ndarray:
    """The middle of an image, sides cut to multiples of 8."""
    height, width = (min(side, _LARGEST) // 8 * 8 for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
