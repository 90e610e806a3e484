"""The images of an evaluation: LR, SR and HR of each name, read, generated or computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppsr.errors import DataError
from ppsr.evaluation.protocols import Protocol
from ppsr.imaging.arrays import image_rng, mod_crop
from ppsr.imaging.io import read_own, to_rgb, to_uint8
from ppsr.imaging.pairing import find_images, name_images, pair_images, root_of
from ppsr.imaging.resize import matlab_resize
from ppsr.metrics.scoring import (
    FailedImage,
    ImageError,
    ImageTriplet,
    aligned,
    check_lr_size,
    enlarged,
    size_text,
)

__all__ = ["ImageSource", "SetTask", "Upscale", "bicubic"]

Upscale = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SetTask:
    """Locations of the images of one set: folders, or patterns such as `Set14/*_HR.png`.

    Attributes:
        variant: degradation, or "".
        gt: HR images; None without ground truth.
        lq: LR images; None: generated from HR.
        sr: SR images; None: upscaled from LR.
        absent: reason why the set has no images, if it is known to be empty.
        recursive: search subfolders; names are then paths relative to the folder.
    """

    name: str
    variant: str = ""
    gt: str | Path | None = None
    lq: str | Path | None = None
    sr: str | Path | None = None
    absent: str = ""
    recursive: bool = False


def bicubic(scale: int) -> Upscale:
    """MATLAB's bicubic enlargement of H x W x 3 float32 in [0, 1]."""
    return lambda image: matlab_resize(image, scale)


@dataclass
class ImageSource:
    """LR, SR and HR images of a set by name.

    Attributes:
        protocol: generates LR images if none are given.
        upscale: LR -> SR in [0, 1]; not needed if SR is given.
        seed: seed of generated LR images.
        published: generate LR as the released script does, rather than with its bug fixed.
        value_range: the lowest and highest value of TIFF files of floats, which become 0 and 255.
        files: name -> (HR, SR or LR).

    Raises:
        DataError: folders are missing or empty.
    """

    task: SetTask
    protocol: Protocol
    scale: int
    upscale: Upscale | None
    seed: int
    published: bool
    value_range: tuple[float, float] | None = None
    problems: list[FailedImage] = field(default_factory=list)
    files: dict[str, tuple[Path | None, Path | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        task = self.task
        if task.absent:
            self.problems.append(FailedImage(task.variant or task.name, "missing", task.absent))
            return
        given = task.sr if task.sr is not None else task.lq
        others = find_images(given, recursive=task.recursive) if given is not None else None
        root = None if given is None else root_of(given)
        if task.gt is None:
            named, duplicates = name_images(others or [], root)
            self.files = {name: (None, path) for name, path in named.items()}
            self._note(duplicates)
            return
        images, gt_root = find_images(task.gt, recursive=task.recursive), root_of(task.gt)
        if others is None:
            named, duplicates = name_images(images, gt_root)
            self.files = {name: (path, None) for name, path in named.items()}
        else:
            pairing = pair_images(images, others, gt_root=gt_root, root=root)
            duplicates = pairing.duplicates
            self.files = {name: (gt, other) for name, (gt, other) in pairing.pairs.items()}
            kind = "SR" if task.sr is not None else "LR"
            self.problems += [FailedImage(n, "missing", f"has no {kind} image") for n in pairing.missing]
            self.problems += [
                FailedImage(n, "extra", f"matches no HR image in {task.gt}") for n in pairing.extra
            ]
        self._note(duplicates)

    def _note(self, duplicates: Mapping[Path, Path]) -> None:
        self.problems += [
            FailedImage(left.name, "duplicate", f"{taken} has the same name and is used instead")
            for left, taken in duplicates.items()
        ]

    @property
    def names(self) -> list[str]:
        """Names of the images, sorted."""
        return sorted(self.files)

    def read(self, name: str) -> ImageTriplet:
        """Read the images of one name, HR cropped to the part that LR covers.

        Raises:
            ImageError: they cannot be compared.
        """
        gt_path, other_path = self.files[name]
        own = None if gt_path is None else self._read(gt_path)
        gt = None if own is None else to_rgb(own)
        other = None if other_path is None else to_rgb(self._read(other_path))
        if self.task.sr is not None and other is not None:
            return ImageTriplet(None, *aligned(other, gt, self.scale))
        if gt is not None and other is not None:
            check_lr_size(other.shape[:2], gt.shape[:2], self.scale)
        # gray images are degraded as gray ones, so that noise is gray too
        lq = to_rgb(self._degraded(own, name)) if other is None and own is not None else other
        if lq is None or self.upscale is None:
            raise ImageError("unreadable", "there is no LR image and no way to generate one")
        unit = lq.astype(np.float32) / 255
        sr = to_uint8(enlarged(self.upscale, unit, f"{name}: {size_text(lq)}", "give a smaller --tile"))
        return ImageTriplet(lq, *aligned(sr, gt, self.scale))

    def _degraded(self, gt: np.ndarray, name: str) -> np.ndarray:
        if self.protocol.make_lq is None:
            raise ImageError("missing", "has no LR image")
        if min(gt.shape[:2]) < self.scale:
            raise ImageError("wrong size", f"HR is {size_text(gt)}, too small to downscale by {self.scale}")
        rng = image_rng(self.seed, self.task.variant, name)
        return self.protocol.make_lq(
            mod_crop(gt, self.scale), self.scale, self.task.variant, rng, self.published
        )

    def _read(self, path: Path) -> np.ndarray:
        """uint8, RGB or H x W gray."""
        try:
            return to_uint8(read_own(path, value_range=self.value_range))
        except DataError as error:
            raise ImageError("unreadable", str(error)) from None
