"""Base classes of data sets that synthesize LR images: windows, backends, crops.

A sample is a window of an HR image. On the host, the worker that reads it degrades it, with choices all
its own. On the training device (Real-ESRGAN's way, Wang et al., ICCVW 2021, arXiv:2107.10833), the worker
hands out the window and all choices but the noise itself, and whole batches are degraded at once; then the
choices that decide sizes and order are one batch's, all others an image's. Both draw from (seed, epoch,
index) alone, so a resumed run repeats them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle

from ppsr.compat.paddle import full_precision, seeded
from ppsr.datasets.samples import TrainingDataset, to_chw
from ppsr.datasets.sources import read_size
from ppsr.datasets.transforms import check_window, paired_crop, random_crop_or_pad
from ppsr.degradations import device
from ppsr.degradations.base import Operation
from ppsr.degradations.batches import apply_to_batch
from ppsr.degradations.blur import usm_sharpen
from ppsr.degradations.kernels import FILTER_RADIUS
from ppsr.degradations.noise import round_to_8bit
from ppsr.degradations.operations import apply_operations
from ppsr.errors import ConfigError, did_you_mean
from ppsr.imaging.io import to_unit
from ppsr.memory import device_array

__all__ = ["BACKENDS", "BatchParams", "DegradingDataset", "choose_backend"]

BACKENDS = ("host", "device")


def choose_backend(backend: str | None) -> str:
    """The backend of a configuration; by default the training device unless that is a CPU, else the host."""
    if backend is None:
        return "host" if paddle.get_device() == "cpu" else "device"
    if backend not in BACKENDS:
        raise ConfigError(f"degradation.backend '{backend}' is unknown; {did_you_mean(backend, BACKENDS)}")
    return backend


@dataclass(frozen=True)
class BatchParams:
    """Random choices for a batch that is degraded on the device.

    Attributes:
        noise_seed: seed of all noise of the batch.
        views: for each view, the operations of every sample.
        corners: row and column of every sample's LR window.
        entries: further entries of the samples, such as degradation parameters, stacked.
    """

    noise_seed: int
    views: tuple[tuple[Sequence[Operation], ...], ...]
    corners: tuple[tuple[int, int], ...]
    entries: Mapping[str, np.ndarray]


@dataclass(kw_only=True, eq=False)
class DegradingDataset(TrainingDataset):
    """Base of data sets of HR images that are degraded while training. Options: also `TrainingDataset`'s.

    Items hold lq and gt (C, H, W) float32 in [0, 1], and gt_path. With the backend "device" these come from
    `finish_batch`, whose input are batches of items after `prepare_batch`.

    Args:
        crop_pad_size: side of the window that is degraded, from which the training window is cut.
        gt_usm: sharpen the image that is degraded, which is also the target.
        keep_gt: give the plain target as `gt` and the sharpened one as `gt_usm`, so each loss can choose.
        degradation: `backend`, "host" or "device" (default: "device" unless that is a CPU), and options of
            the degradation.
        views: 2 adds `lq_view2`, the same window degraded again, for `AlignModel`.
    """

    gt_size: int = 256
    crop_pad_size: int = 400
    use_hflip: bool = True
    gt_usm: bool = True
    keep_gt: bool = False
    degradation: Mapping[str, Any] | None = None
    views: int = 1

    def __post_init__(self) -> None:
        check_window(self.gt_size, self.scale)
        options = dict(self.degradation or {})
        self.backend = choose_backend(options.pop("backend", None))
        filter_side = self._configure(options)
        if self.crop_pad_size % self.scale or self.gt_size > self.crop_pad_size:
            raise ConfigError(
                f"crop_pad_size must be a multiple of the scale {self.scale} and at least gt_size "
                f"{self.gt_size}, got {self.crop_pad_size}"
            )
        if filter_side <= FILTER_RADIUS:
            share = self.crop_pad_size / max(filter_side, 1)
            enough = int(np.ceil((FILTER_RADIUS + 1) * share / self.scale)) * self.scale
            raise ConfigError(
                f"crop_pad_size {self.crop_pad_size} shrinks to {int(filter_side)} pixels, too few for "
                f"filters of side {2 * FILTER_RADIUS + 1}; give at least {enough}"
            )
        if self.keep_gt and not self.gt_usm:
            raise ConfigError("keep_gt adds the plain target to a sharpened one; it needs gt_usm")
        if self.views not in (1, 2):
            raise ConfigError(f"views must be 1 or 2, got {self.views}")
        super().__post_init__()

    def use_host(self, reason: str) -> None:
        """Degrade on the host although the training device would be the default.

        Raises:
            ConfigError: the options ask for the device; its text is `reason`.
        """
        if (self.degradation or {}).get("backend") == "device":
            raise ConfigError(reason)
        self.backend = "host"

    def _configure(self, options: dict[str, Any]) -> float:
        """Read the options of the degradation; returns the smallest image that a filter meets, in pixels."""
        raise NotImplementedError

    def draw(
        self, rng: np.random.Generator, shared_rng: np.random.Generator
    ) -> tuple[list[Operation], dict[str, np.ndarray]]:
        """Operations for one window, and further entries of its item.

        Args:
            shared_rng: generator that draws sizes and order.
        """
        raise NotImplementedError

    def _read(self, index: int) -> tuple[np.ndarray, str]:
        path = self.items[index]
        return self._read_image(path), str(path)

    def _looks_usable(self, index: int) -> bool:
        read_size(self.items[index])
        return True

    def _window(self, epoch: int, index: int) -> tuple[np.ndarray, str, np.random.Generator]:
        """The HR window of a sample as its file has it, its path, and the generator of its further draws."""
        image, path = self.bad.read(index, self._read)
        rng = np.random.default_rng([self.seed, epoch, index])
        (image,) = self._augmented([image], rng)
        return random_crop_or_pad(image, self.crop_pad_size, rng), path, rng

    def sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = (0, key) if isinstance(key, int) else key
        window, path, rng = self._window(epoch, index)
        if self.backend == "device":
            return {"gt": to_chw(window), "sample": np.array([epoch, index], np.int64), "gt_path": path}
        window = to_unit(window)
        gt = usm_sharpen(window) if self.gt_usm else window
        views: list[np.ndarray] = []
        further: dict[str, np.ndarray] = {}
        for _ in range(self.views):
            operations, description = self.draw(rng, rng)
            views.append(round_to_8bit(apply_operations(gt, operations, rng)))
            further = further or description
        targets = np.concatenate([window, gt], axis=2) if self.keep_gt else gt
        stacked = np.concatenate(views, axis=2)  # cut at one place, as channels of one image
        targets, stacked = paired_crop(
            targets, stacked, gt_size=self.gt_size, scale=self.scale, rng=rng, where=path
        )
        c = window.shape[2]
        item = {"lq": to_chw(stacked[..., :c]), "gt": to_chw(targets[..., :c]), **further, "gt_path": path}
        if self.views == 2:
            item["lq_view2"] = to_chw(stacked[..., c:])
        return {**item, "gt_usm": to_chw(targets[..., c:])} if self.keep_gt else item

    def prepare_batch(self, batch: MutableMapping[str, Any]) -> None:
        """Draw what a batch of windows is degraded with; a batch that is degraded already stays as it is.

        This is done where batches are made, so in loader workers.

        Args:
            batch: arrays; `sample` (N, 2), epochs and indices, becomes `choices`.
        """
        if "sample" not in batch:
            return
        samples = batch.pop("sample").tolist()
        first = [self.seed, *samples[0]]
        rngs = [np.random.default_rng([self.seed, *sample, 1]) for sample in samples]
        shared_rng = np.random.default_rng([*first, 2])
        views: list[tuple[Sequence[Operation], ...]] = []
        described: list[dict[str, np.ndarray]] = []
        for _ in range(self.views):
            shared = int(shared_rng.integers(2**63))  # all samples of a view draw the same from it
            drawn = [self.draw(rng, np.random.default_rng(shared)) for rng in rngs]
            views.append(tuple(operations for operations, _ in drawn))
            described = described or [description for _, description in drawn]
        free = (self.crop_pad_size - self.gt_size) // self.scale + 1
        batch["choices"] = BatchParams(
            noise_seed=int(np.random.default_rng([*first, 3]).integers(2**31)),
            views=tuple(views),
            corners=tuple((int(rng.integers(free)), int(rng.integers(free))) for rng in rngs),
            entries={name: np.stack([one[name] for one in described]) for name in described[0]},
        )

    @paddle.no_grad()
    def finish_batch(self, batch: MutableMapping[str, Any]) -> None:
        """Degrade a batch of windows on its device; a batch that the host has degraded stays as it is.

        Args:
            batch: tensors; `gt` (N, C, S, S) and `choices` are replaced by the entries of finished items.
        """
        choices: BatchParams | None = batch.pop("choices", None)
        if choices is None:
            return
        windows = gt = batch["gt"]
        views: list[paddle.Tensor] = []
        with seeded(choices.noise_seed), full_precision():
            if self.gt_usm:
                gt = device.usm_sharpen(windows)
            for operations in choices.views:
                views.append(device.round_to_8bit(apply_to_batch(gt, operations)))
        for name, lq in zip(("lq", "lq_view2"), views, strict=False):
            batch[name] = _crops(lq, choices.corners, self.gt_size // self.scale)
        targets = {"gt": windows, "gt_usm": gt} if self.keep_gt else {"gt": gt}
        for name, target in targets.items():
            high = [(top * self.scale, left * self.scale) for top, left in choices.corners]
            batch[name] = _crops(target, high, self.gt_size)
        for name, values in choices.entries.items():
            batch[name] = device_array(values)

    def previews(self, index: int) -> dict[str, list[tuple[str, np.ndarray]]]:
        """Name and image of every stage of a sample, for looking at, below the name of its degradation."""
        window, _, rng = self._window(0, index)
        window = to_unit(window)
        gt = usm_sharpen(window) if self.gt_usm else window
        return {name: _stages(gt, operations, rng) for name, operations in self.variants(rng).items()}

    def variants(self, rng: np.random.Generator) -> dict[str, list[Operation]]:
        """Operations of each kind of degradation that the data set knows, by its name."""
        return {"degradation": self.draw(rng, rng)[0]}


def _stages(
    gt: np.ndarray, operations: Sequence[Operation], rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
    stages = [("target", gt)]
    for operation in operations:
        stages.append((type(operation).__name__.lower(), operation.apply(stages[-1][1], rng)))
    return [*stages, ("8 bit", round_to_8bit(stages[-1][1]))]


def _crops(x: paddle.Tensor, corners: Sequence[tuple[int, int]], side: int) -> paddle.Tensor:
    windows = zip(x, corners, strict=True)
    return paddle.stack([one[:, top : top + side, left : left + side] for one, (top, left) in windows])
