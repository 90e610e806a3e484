"""The bases of all data sets: samples as arrays of image files as they are, which become float32 where that
costs least, and the options that data sets for training share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle.io import Dataset

from ppsr.datasets.gather import BadFiles, Folders, gather_shares
from ppsr.datasets.sources import read_samples, with_channels
from ppsr.datasets.transforms import augment, check_window
from ppsr.errors import DataError
from ppsr.imaging.io import to_unit
from ppsr.imaging.reading import check_value_range


def to_chw(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> contiguous (C, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def unit_sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A sample whose images are float32 in [0, 1] instead of 8 or 16 bit."""
    return {
        name: to_unit(value) if getattr(value, "dtype", None) in (np.uint8, np.uint16) else value
        for name, value in sample.items()
    }


def uint16_to_int16(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A sample whose 16-bit images are int16, 32768 less: Paddle takes uint16 for the bits of bfloat16."""
    return {
        name: (value ^ 0x8000).view(np.int16) if getattr(value, "dtype", None) == np.uint16 else value
        for name, value in sample.items()
    }


class ImageDataset(Dataset):
    """Base of all data sets: items have float32 images in [0, 1].

    `sample` gives the same with the sample type of the files where windows, crops and flips are all that
    happens to them. Batches of one sample type travel so, and the device that trains converts them.

    Attributes:
        channels: number of image channels; None (which means 3) until the network is known.
        value_range: the lowest and highest value of TIFF files of floats, which become 0 and 1.
    """

    channels: int | None = None
    value_range: Sequence[float] | None = None

    def _read_samples(self, path: Path) -> np.ndarray:
        """H x W, or H x W x C, in the file's sample type."""
        return read_samples(path, self.value_range)

    def _read_image(self, path: Path) -> np.ndarray:
        """H x W x C of the network's channels, in the file's sample type."""
        return with_channels(self._read_samples(path), self.channels or 3, path)

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """An item whose images may be uint8 or uint16.

        Args:
            key: (epoch, index) of a random training window, or the index of a whole image.
        """
        raise NotImplementedError

    def _looks_usable(self, index: int) -> bool:
        """Whether the headers of a training sample's files promise a training window."""
        return True

    def _check(self, index: int) -> None:
        """Read a training sample."""

    def find_unusable(self, limit: int | None = None) -> tuple[list[str], int]:
        """Faults of training samples found in their headers, and the number of samples checked.

        Only samples whose headers look wrong are read.

        Args:
            limit: look at so many, evenly spaced; None: at all.
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
    """Base of data sets with HR images: a (epoch, index) key yields a random window, a plain index the image.

    Args:
        gt_folder: HR images, searched recursively, or an LMDB store (`name.lmdb`); or a list of these.
        scale: HR size / LR size.
        gt_size: side of the training window in HR pixels, a multiple of `scale`; None yields whole images.
        meta_info: list of HR names.
        shares: parts of the samples that come from each of several folders; by default that of its images.
        use_hflip: random mirroring.
        use_rot: random turning.
        seed: seed of all random choices.
        value_range: the lowest and highest value of TIFF files of floats, which become 0 and 1.

    Attributes:
        items: what samples are read from: paths of HR images, or pairs of paths.
    """

    gt_folder: Folders
    scale: int = 4
    gt_size: int | None = None
    meta_info: str | None = None
    shares: Sequence[float] | None = None
    use_hflip: bool = False
    use_rot: bool = False
    seed: int = 0
    value_range: Sequence[float] | None = None

    def __post_init__(self) -> None:
        check_value_range(self.value_range)
        check_window(self.gt_size, self.scale)
        self.items = self._gather()
        self.bad = BadFiles(self.items)

    def _gather(self) -> list[Any]:
        return gather_shares(self.gt_folder, self.meta_info, self.shares)

    def __len__(self) -> int:
        return len(self.items)

    def _augmented(self, images: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        return augment(images, rng, use_hflip=self.use_hflip, use_rot=self.use_rot)
