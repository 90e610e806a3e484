"""Base classes of all data sets, and the options that training data sets share.

Samples keep the integer type of their files for as long as possible; batches are converted to float32 on the
device, which costs least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle.io import Dataset

from ppsr.datasets.gather import BadFiles, Folders, gather_folders
from ppsr.datasets.sources import read_samples, with_channels
from ppsr.datasets.transforms import augment, check_window
from ppsr.errors import DataError
from ppsr.imaging.io import to_unit
from ppsr.imaging.reading import check_value_range


def to_chw(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> contiguous (C, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def unit_sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the uint8 and uint16 images of a sample to float32 in [0, 1]."""
    return {
        name: to_unit(value) if getattr(value, "dtype", None) in (np.uint8, np.uint16) else value
        for name, value in sample.items()
    }


def uint16_to_int16(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Convert uint16 images to int16, minus 32768: Paddle interprets uint16 as the bits of bfloat16."""
    return {
        name: (value ^ 0x8000).view(np.int16) if getattr(value, "dtype", None) == np.uint16 else value
        for name, value in sample.items()
    }


class ImageDataset(Dataset):
    """Base of all data sets; the images of an item are float32 in [0, 1].

    `sample` returns the same item with uint8 or uint16 images if they were only cropped and flipped. Batches
    of these types are moved to the device as they are and converted there.

    Attributes:
        channels: number of image channels; None, until the network is known, means 3.
        value_range: the lowest and highest value of floating-point TIFF files, which become 0 and 1.
    """

    channels: int | None = None
    value_range: Sequence[float] | None = None

    def _read_samples(self, path: Path) -> np.ndarray:
        """Read H x W, or H x W x C, in the file's sample type."""
        return read_samples(path, self.value_range)

    def _read_image(self, path: Path) -> np.ndarray:
        """Read H x W x C with the channels of the network, in the file's sample type."""
        return with_channels(self._read_samples(path), self.channels or 3, path)

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """An item whose images may be uint8 or uint16.

        Args:
            key: (epoch, index) of a random training window, or the index of a whole image.
        """
        raise NotImplementedError

    def _looks_usable(self, index: int) -> bool:
        """Whether a training window fits into a sample's images, judging by their headers."""
        return True

    def _check(self, index: int) -> None:
        """Read a training sample; raises DataError if it cannot be used."""

    def find_unusable(self, limit: int | None = None) -> tuple[list[str], int]:
        """Check the training samples: returns the faults found, and the number of samples checked.

        Headers are read first, and pixels only of samples whose headers look wrong.

        Args:
            limit: check so many samples, evenly spaced; None: all.
        """
        count = len(self)
        indices = range(count) if limit is None else np.linspace(0, count - 1, min(limit, count)).astype(int)
        found = []
        for index in map(int, indices):
            try:
                if not self._looks_usable(index):
                    self._check(index)
            except DataError as error:
                found.append(str(error))
        return found, len(indices)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        return unit_sample(self.sample(key))


@dataclass(kw_only=True, eq=False)
class TrainingDataset(ImageDataset):
    """Base of data sets with HR images: a key (epoch, index) yields a random window, an index a whole image.

    Args:
        gt_folder: HR images, searched recursively, or an LMDB store (`name.lmdb`); or a list of these.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels, a multiple of `scale`; None yields whole images.
        meta_info: text file that lists the names of the HR images to use.
        use_hflip: mirror half of the windows horizontally.
        use_rot: mirror half of them vertically, and transpose half of them.
        seed: seed of all random choices.
        value_range: the lowest and highest value of floating-point TIFF files, which become 0 and 1.

    Attributes:
        items: paths of images, or pairs of paths of HR and LR images.
    """

    gt_folder: Folders
    scale: int = 4
    gt_size: int | None = None
    meta_info: str | None = None
    use_hflip: bool = False
    use_rot: bool = False
    seed: int = 0
    value_range: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_value_range(self.value_range)
        check_window(self.gt_size, self.scale)
        self.items = self._gather()
        self.bad = BadFiles(len(self.items))

    def _gather(self) -> list[Any]:
        return gather_folders(self.gt_folder, self.meta_info)

    def __len__(self) -> int:
        return len(self.items)

    def _augmented(self, images: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        return augment(images, rng, use_hflip=self.use_hflip, use_rot=self.use_rot)
