"""A small set of real pictures that every installation has: those that scikit-image ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ppsr.errors import DataError
from ppsr.imaging.io import read_image, to_uint8, write_image

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


def make_samples(folder: str | Path = "data/samples", *, force: bool = False) -> dict[str, int]:
    """Write HR pictures to `folder`/train and `folder`/val as PNG, sides multiples of 8 and at most 600
    pixels.

    Args:
        folder: target.
        force: write again what is already there.

    Returns:
        Number of pictures written per split.

    Raises:
        DataError: scikit-image is missing or ships other pictures.
    """
    try:
        import skimage.data
    except ImportError:
        raise DataError("the samples come with scikit-image: pip install scikit-image") from None
    source = Path(skimage.data.__file__).parent
    written = {}
    for split, names in (("train", (*TRAIN, *TEXTURES)), ("val", VALIDATION)):
        written[split] = 0
        for name in names:
            target = Path(folder) / split / f"{Path(name).stem}.png"
            if target.exists() and not force:
                continue
            write_image(target, to_uint8(_centre(read_image(source / name))))
            written[split] += 1
    return written


def _centre(image: np.ndarray) -> np.ndarray:
    """The middle of a picture, sides cut to multiples of 8."""
    height, width = (min(side, _LARGEST) // 8 * 8 for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]
