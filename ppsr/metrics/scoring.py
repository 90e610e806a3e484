"""Scoring one set of pictures: every picture once, every failure named.

Validation, `--evaluate-only`, `tools/inference.py` and `ppsr evaluate` all score here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from typing import Protocol as Interface

import numpy as np

from ppsr.errors import DataError
from ppsr.imaging.io import read_own, to_rgb, to_uint8
from ppsr.imaging.pairing import find_images, name_images, pair_images
from ppsr.imaging.resize import matlab_resize
from ppsr.metrics.protocols import Protocol, mod_crop, seeded

__all__ = [
    "PictureError",
    "PictureSource",
    "Problem",
    "Ranks",
    "SetScore",
    "SetTask",
    "Source",
    "Triple",
    "aligned",
    "bicubic",
    "score_picture",
    "score_set",
]

Metric = Callable[[np.ndarray, Any], float]
Upscale = Callable[[np.ndarray], np.ndarray]


class Problem(NamedTuple):
    """A picture that has no score: its name, the kind of trouble, the reason."""

    name: str
    kind: str
    reason: str


class Triple(NamedTuple):
    """LR (where it is known), SR and HR (where there is one) of one picture, uint8 RGB, and a better name."""

    lq: np.ndarray | None
    sr: np.ndarray
    gt: np.ndarray | None
    name: str = ""


@dataclass
class SetScore:
    """Scores of one set.

    Attributes:
        name: of the set.
        variant: degradation, or "".
        rows: picture -> metric -> value; without truth, the metrics that need none.
        problems: pictures without a score.
    """

    name: str
    variant: str
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def means(self) -> dict[str, float]:
        """Arithmetic mean of each metric over the pictures that have a score."""
        names = dict.fromkeys(metric for row in self.rows.values() for metric in row)
        return {
            metric: float(np.mean([row[metric] for row in self.rows.values() if metric in row]))
            for metric in names
        }

    @property
    def exit_code(self) -> int:
        """0 all pictures have a score, 1 some have none, 3 none has one."""
        return int(bool(self.problems)) if self.rows else 3


class Ranks(Interface):
    """Processes that share the work; `ppsr.engine.distributed.Group` is one."""

    rank: int
    world: int

    def barrier(self) -> None:
        """Wait for all ranks."""

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order."""


class Source(Interface):
    """Pictures of one set."""

    @property
    def names(self) -> Sequence[str]:
        """Those of the pictures, in the order of work."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Pictures that are known to have no score."""

    def read(self, name: str) -> Triple:
        """A picture, by name.

        Raises:
            DataError: it cannot be had.
        """


@dataclass(frozen=True)
class SetTask:
    """Where the pictures of one set lie: folders, or patterns such as `Set14/*_HR.png`.

    Attributes:
        name: of the set.
        variant: degradation, or "".
        gt: HR pictures; None without truth.
        lq: LR pictures; None makes them from HR.
        sr: finished SR pictures; None upscales LR.
        absent: why the set has no pictures, where its place is known to be empty.
    """

    name: str
    variant: str = ""
    gt: str | Path | None = None
    lq: str | Path | None = None
    sr: str | Path | None = None
    absent: str = ""


def bicubic(scale: int) -> Upscale:
    """MATLAB's bicubic enlargement of H x W x 3 float32 in [0, 1]."""
    return lambda image: matlab_resize(image, scale)


class PictureSource:
    """Yields LR, SR and HR of a set's pictures by name.

    Args:
        task: where they lie.
        protocol: makes LR pictures where none are given.
        scale: HR size / LR size.
        upscale: LR -> SR in [0, 1]; not needed where SR is given.
        seed: of LR pictures made here.
        published: make them as the released script does, rather than as it intends.

    Raises:
        DataError: folders are missing or empty.
    """

    def __init__(
        self,
        task: SetTask,
        protocol: Protocol,
        *,
        scale: int,
        upscale: Upscale | None,
        seed: int,
        published: bool,
    ) -> None:
        self.task = task
        self.protocol = protocol
        self.scale = scale
        self.upscale = upscale
        self.seed = seed
        self.published = published
        self.problems: list[Problem] = []
        # name -> (HR, SR or LR)
        self.files: dict[str, tuple[Path | None, Path | None]] = {}
        if task.absent:
            self.problems.append(Problem(task.variant or task.name, "missing", task.absent))
            return
        given = task.sr if task.sr is not None else task.lq
        others = find_images(given) if given is not None else None
        if task.gt is None:
            named, duplicates = name_images(others or [])
            self.files = {name: (None, path) for name, path in named.items()}
        elif others is None:
            named, duplicates = name_images(find_images(task.gt))
            self.files = {name: (path, None) for name, path in named.items()}
        else:
            pairing = pair_images(find_images(task.gt), others)
            duplicates = pairing.duplicates
            self.files = {name: (gt, other) for name, (gt, other) in pairing.pairs.items()}
            kind = "SR" if task.sr is not None else "LR"
            self.problems += [Problem(n, "missing", f"has no {kind} picture") for n in pairing.missing]
            self.problems += [
                Problem(n, "extra", f"belongs to no HR picture of {task.gt}") for n in pairing.extra
            ]
        self.problems += [
            Problem(left.name, "duplicate", f"{taken} has the same name and is taken instead")
            for left, taken in duplicates.items()
        ]

    @property
    def names(self) -> list[str]:
        """Of the pictures, sorted."""
        return sorted(self.files)

    def read(self, name: str) -> Triple:
        """The pictures of one name, HR cut to the part that LR covers.

        Raises:
            PictureError: they cannot be compared.
        """
        gt_path, other_path = self.files[name]
        own = None if gt_path is None else _read(gt_path)
        gt = None if own is None else to_rgb(own)
        other = None if other_path is None else to_rgb(_read(other_path))
        if self.task.sr is not None and other is not None:
            return Triple(None, *aligned(other, gt, self.scale))
        # gray pictures are degraded as gray ones, so that noise is gray too
        lq = to_rgb(self._degraded(own, name)) if other is None and own is not None else other
        if lq is None or self.upscale is None:
            raise PictureError("unreadable", "there is neither an LR picture nor a way to make one")
        sr = to_uint8(self.upscale(lq.astype(np.float32) / 255))
        return Triple(lq, *aligned(sr, gt, self.scale))

    def _degraded(self, gt: np.ndarray, name: str) -> np.ndarray:
        if self.protocol.make_lq is None:
            raise PictureError("missing", "has no LR picture")
        if min(gt.shape[:2]) < self.scale:
            raise PictureError("wrong size", f"HR is {_size(gt)}, too small to be shrunk by {self.scale}")
        rng = seeded(self.seed, self.task.variant, name)
        return self.protocol.make_lq(
            mod_crop(gt, self.scale), self.scale, self.task.variant, rng, self.published
        )


class PictureError(DataError):
    """A picture that cannot be scored, with the kind of trouble."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def aligned(sr: np.ndarray, gt: np.ndarray | None, scale: int) -> tuple[np.ndarray, np.ndarray | None]:
    """SR and HR without the up to scale - 1 rows and columns that one of them has more.

    Raises:
        PictureError: their sizes differ by more.
    """
    if gt is None:
        return sr, None
    if any(abs(a - b) >= scale for a, b in zip(sr.shape[:2], gt.shape[:2], strict=True)):
        raise PictureError(
            "wrong size", f"SR is {_size(sr)}, HR is {_size(gt)}; x{scale} of the LR picture was expected"
        )
    height, width = (min(a, b) for a, b in zip(sr.shape[:2], gt.shape[:2], strict=True))
    return sr[:height, :width], gt[:height, :width]


def _read(path: Path) -> np.ndarray:
    """uint8, RGB or H x W gray.

    Raises:
        PictureError: unreadable.
    """
    try:
        return to_uint8(read_own(path))
    except DataError as error:
        raise PictureError("unreadable", str(error)) from None


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def score_set(
    source: Source,
    metrics: Mapping[str, Metric],
    *,
    name: str = "",
    variant: str = "",
    group: Ranks | None = None,
    on_round: Callable[[int], None] = lambda done: None,
) -> SetScore:
    """Score a set; of several ranks, each scores every `world`-th picture and has all scores in the end.

    The ranks wait for each other after every picture, because some backends give up on a rank that is half a
    minute behind.

    Args:
        source: the pictures.
        metrics: name -> function of SR and HR, uint8 RGB.
        name: of the set.
        variant: degradation, or "".
        group: processes that share the work.
        on_round: called before each round, of one picture per rank, with the number of finished pictures.
    """
    rank, world = (0, 1) if group is None else (group.rank, group.world)
    score = SetScore(name, variant)
    if rank == 0:
        score.problems += source.problems
    names = source.names
    for first in range(0, len(names), world):
        on_round(first)
        if first + rank < len(names):
            picture = names[first + rank]
            score_picture(score, picture, partial(source.read, picture), metrics)
        if group is not None:
            group.barrier()
    return score if group is None else _merged(group.gather(score))


def score_picture(
    score: SetScore, name: str, read: Callable[[], Triple], metrics: Mapping[str, Metric]
) -> None:
    """Add the scores of one picture, or why it has none.

    Args:
        score: of its set.
        name: of the picture.
        read: gives it.
        metrics: see `score_set`. Without truth, only those with the attribute `no_reference` count.
    """
    try:
        triple = read()
        if triple.name and triple.name not in score.rows:
            name = triple.name
        score.rows[name] = {
            key: float(metric(triple.sr, triple.gt))
            for key, metric in metrics.items()
            if triple.gt is not None or getattr(metric, "no_reference", False)
        }
    except MemoryError:
        score.problems.append(Problem(name, "out of memory", f"{name}: comparing it takes too much memory"))
    except PictureError as error:
        score.problems.append(Problem(name, error.kind, str(error)))
    except DataError as error:
        score.problems.append(Problem(name, "not scored", str(error)))


def _merged(parts: list[SetScore]) -> SetScore:
    """The shares of all ranks as one."""
    rows = {name: row for part in parts for name, row in part.rows.items()}
    problems = sorted({problem for part in parts for problem in part.problems})
    return SetScore(parts[0].name, parts[0].variant, dict(sorted(rows.items())), problems)
