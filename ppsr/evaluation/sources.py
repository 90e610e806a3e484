"""The sets and degradations of an evaluation, and the images of each: read, generated or computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ppsr.errors import ConfigError, DataError
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

# between them is what overshoots 0..1, and not what has the range -1..1 or 0..255
_SMALLEST, _LARGEST = -0.5, 2

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
    return partial(matlab_resize, scale=scale)  # unlike a lambda, it can be pickled with the scores


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
        if given is not None and Path(task.gt).is_file() and Path(given).is_file():  # two files are a pair
            self.files = {Path(task.gt).stem: (Path(task.gt), Path(given))}
            return
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
        sr = enlarged(self.upscale, unit, f"{name}: {size_text(lq)}", "give a smaller --tile")
        if not isinstance(sr, np.ndarray):
            kind = type(sr).__name__
            raise ImageError("wrong type", f"the function gave a {kind} instead of a NumPy array H x W x 3")
        if sr.dtype != np.uint8:
            if sr.size and (sr.min() < _SMALLEST or sr.max() > _LARGEST):
                raise ImageError("wrong range", f"values {sr.min():g} to {sr.max():g} instead of 0 to 1")
            sr = to_uint8(sr)
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


def find_sets(
    protocol: Protocol,
    scale: int,
    *,
    gt: str | Path | None,
    sr: str | Path | None,
    lq: str | Path | None,
    data: str | Path | None,
    sets: Sequence[str] | None,
    name: str | None,
) -> tuple[list[SetTask], list[str]]:
    """Find the sets and degradations to score, and the protocol's sets that are missing from `data`."""
    if data is None:
        if sets:
            raise ConfigError("'sets' requires 'data'; for a single set pass 'gt' and optionally 'name'")
        if protocol.gt_layout is not None and gt is None:
            raise ConfigError(
                f"protocol '{protocol.name}' needs HR images: give gt or data; protocol 'realsr' does without"
            )
        if protocol.gt_layout is None and sr is None and lq is None:
            raise ConfigError(f"protocol '{protocol.name}' needs images: give lq, sr or data")
        if protocol.make_lq is None and sr is None and lq is None:
            raise ConfigError(
                f"protocol '{protocol.name}' needs LR images: give lq (created by {protocol.lq_command})"
            )
        folders = [path.name for path in Path(gt).glob("*/")] if gt is not None and Path(gt).is_dir() else []
        if "HR" in folders and any(folder.startswith("LR") for folder in folders):
            raise DataError(f"{gt} holds a folder HR and LR images beside it; give {gt}/HR")
        label = name or _guess_name(protocol, gt or lq or sr)
        found = _variants(protocol, label, gt=gt, lq=lq, sr=sr)
        return [replace(task, recursive=True) for task in found], []
    if gt is not None or lq is not None:
        raise ConfigError("give either data or gt and lq, not both")
    if name is not None:
        raise ConfigError("name applies to a set given by gt or lq; select sets of data by sets")
    if not Path(data).is_dir():
        raise DataError(f"there is no folder {data}")
    tasks, absences = [], []
    for label in sets or protocol.sets:
        gt_place = (
            None if protocol.gt_layout is None else Path(data) / _fill(protocol.gt_layout, label, scale)
        )
        if gt_place is not None and gt_place.name == f"x{scale}" and not gt_place.is_dir():
            gt_place = gt_place.parent  # HR that serves all scales
        if gt_place is not None and not gt_place.is_dir() and not sets:
            absences.append(label)
            continue
        lq_place: Path | None = Path(data) / _fill(protocol.lq_layout, label, scale)
        absent = not protocol.variants and not Path(str(lq_place)).is_dir()
        if sr is not None or (absent and protocol.make_lq is not None):
            lq_place = None
        place = None if sr is None else Path(sr) / label
        tasks += _variants(protocol, label, gt=gt_place, lq=lq_place, sr=place)
    if not tasks:
        layout = protocol.gt_layout or protocol.lq_layout
        raise DataError(
            f"{data} contains none of {', '.join(protocol.sets)}; the expected layout is {layout}"
        )
    return tasks, absences


def _fill(layout: str, name: str, scale: int) -> str:
    return layout.replace("{set}", name).replace("{scale}", str(scale))


def _guess_name(protocol: Protocol, place: str | Path | None) -> str:
    """The part of a path that is a known set, or its last folder."""
    parts = [p for p in Path(str(place)).absolute().parts if not any(sign in p for sign in "*?[")]
    known = {name.lower(): name for name in protocol.sets}
    found = [known[part.lower()] for part in parts if part.lower() in known]
    return found[-1] if found else parts[-1]


def _variants(
    protocol: Protocol, name: str, *, gt: str | Path | None, lq: str | Path | None, sr: str | Path | None
) -> list[SetTask]:
    """One task per degradation, an absent one too where others are there; a folder of images instead of a
    folder of degradations is one task."""
    if not protocol.variants:
        return [SetTask(name, "", gt, lq, sr)]
    given = sr if sr is not None else lq
    if given is None:
        return [SetTask(name, variant, gt, None, None) for variant in protocol.variants]
    text = str(given)
    template = text if "{variant}" in text else f"{text}/{{variant}}"
    places = {variant: Path(template.replace("{variant}", variant)) for variant in protocol.variants}
    found = {variant: place for variant, place in places.items() if place.is_dir()}
    if not found and "{variant}" in text:
        if protocol.make_lq is None:
            raise DataError(f"none of {', '.join(map(str, places.values()))} is there; {protocol.lq_command}")
        return [SetTask(name, variant, gt) for variant in protocol.variants]
    if not found:
        folder = Path(text).name
        found = {
            next((v for v in protocol.variants if folder == v or folder.endswith(f"_{v}")), ""): Path(text)
        }
        places = found
    # An absent degradation is not made: LR images drawn here and read ones would share one table
    return [
        SetTask(
            name,
            variant,
            gt,
            lq=None if sr is not None else place,
            sr=None if sr is None else place,
            absent="" if variant in found else f"there is no folder {place}",
        )
        for variant, place in places.items()
    ]
