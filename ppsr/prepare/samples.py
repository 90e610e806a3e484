"""A small set of real images that every installation has: those that scikit-image ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ppsr.errors import DataError
from ppsr.imaging.io import read_image, to_uint8
from ppsr.prepare.jobs import Recipe, Summary

__all__ = ["TRAIN", "VALIDATION", "make_samples"]

# no scene is in both lists
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

    Images that this version of scikit-image does not ship are among the failed ones.

    Raises:
        DataError: scikit-image is missing.
    """
    try:
        import skimage.data
    except ImportError:
        raise DataError("the samples come with scikit-image: pip install scikit-image") from None
    source = Path(skimage.data.__file__).parent
    images = [source / name for name in (*TRAIN, *TEXTURES, *VALIDATION)]
    return _Samples(Path(folder)).make_each(images, source, workers=workers, force=force)


@dataclass(frozen=True)
class _Samples(Recipe):
    name: ClassVar[str] = "samples"

    def files(self, path: Path) -> list[Path]:
        return [self.target / ("val" if path.name in VALIDATION else "train") / f"{path.stem}.png"]

    def images(self, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
        """The middle of an image, sides cut to multiples of 8."""
        image = read_image(path)
        height, width = (min(side, _LARGEST) // 8 * 8 for side in image.shape[:2])
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        yield self.files(path)[0], to_uint8(image[top : top + height, left : left + width])
