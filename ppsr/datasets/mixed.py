"""Training samples of several data sets by shares, such as real pairs among synthetic ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppsr.datasets.samples import ImageDataset
from ppsr.degradations.steps import are_shares
from ppsr.errors import ConfigError
from ppsr.registry import DATASETS

__all__ = ["MixedDataset"]

_DRAWN = 4  # beside the numbers by which data sets continue (seed, epoch, index)


@dataclass(kw_only=True, eq=False)
class MixedDataset(ImageDataset):
    """Items: lq, gt (C, H, W) float32 in [0, 1], gt_path, and gt_usm where one of the data sets sharpens its
    target.

    Which data set a sample comes from, and which of its images, is drawn from (seed, epoch, index). Data sets
    that degrade images do so on the host.

    Args:
        datasets: names and options of data sets that yield pairs of equal sizes; `scale` and `seed` default
            to those below.
        shares: share of samples from each data set; the sum is 1.
        scale: HR size / LR size, of all of them.
    """

    datasets: Sequence[Mapping[str, Any]]
    shares: Sequence[float]
    scale: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        count = len(self.datasets)
        if count < 2 or not are_shares(self.shares, count):
            raise ConfigError(
                "MixedDataset needs two data sets or more, and as many shares that sum to 1; "
                f"got {count} and {self.shares}"
            )
        common = {"seed": self.seed, "scale": self.scale}
        self.parts = [DATASETS.build({**common, **section}) for section in self.datasets]
        for section, part in zip(self.datasets, self.parts, strict=True):
            if part.scale != self.scale:
                raise ConfigError(f"{section['name']} has scale {part.scale}, MixedDataset {self.scale}")
            if getattr(part, "backend", "host") == "device":
                part.use_host("MixedDataset: degradation.backend of its data sets must be 'host'")
        self.sharpens = any(getattr(part, "keep_gt", False) for part in self.parts)

    @property
    def channels(self) -> int | None:  # type: ignore[override]
        """Number of image channels, the same in all data sets."""
        return next((part.channels for part in self.parts if part.channels is not None), None)

    @channels.setter
    def channels(self, value: int | None) -> None:
        for part in self.parts:
            part.channels = value

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = (0, key) if isinstance(key, int) else key
        rng = np.random.default_rng([self.seed, epoch, index, _DRAWN])
        part = self.parts[int(rng.choice(len(self.parts), p=self.shares))]
        # an epoch of its own for each sample, so that an image that is drawn twice has two windows
        found = part.sample((epoch * len(self) + index, int(rng.integers(len(part)))))
        if self.sharpens:
            found.setdefault("gt_usm", found["gt"])
        return {name: found[name] for name in ("lq", "gt", "gt_usm", "gt_path") if name in found}

    def find_unusable(self, limit: int | None = None) -> tuple[list[str], int]:
        found = [part.find_unusable(limit) for part in self.parts]
        return [fault for faults, _ in found for fault in faults], sum(count for _, count in found)
