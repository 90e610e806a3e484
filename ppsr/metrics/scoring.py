"""Scoring one set of images: every image once, every failure named.

Validation, `--evaluate-only`, `tools/inference.py` and `ppsr evaluate` all score here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from typing import Protocol as Interface

import numpy as np

from ppsr.errors import DataError, PpsrError, mistake
from ppsr.memory import is_out_of_memory, release_memory

__all__ = [
    "FailedImage",
    "ImageError",
    "ImageTriplet",
    "ProcessGroup",
    "SetScore",
    "Source",
    "aligned",
    "check_lr_size",
    "enlarged",
    "score_image",
    "score_set",
    "size_text",
]

Metric = Callable[[np.ndarray, Any], float]


class FailedImage(NamedTuple):
    """An image that has no score: its name, the kind of trouble, the reason."""

    name: str
    kind: str
    reason: str


class ImageTriplet(NamedTuple):
    """LR (where it is known), SR and HR (where there is one) of one image, uint8 RGB, and a better name."""

    lq: np.ndarray | None
    sr: np.ndarray
    gt: np.ndarray | None
    name: str = ""


@dataclass
class SetScore:
    """Scores of one set.

    Attributes:
        variant: degradation, or "".
        rows: image -> metric -> value; without truth, the metrics that need none.
        problems: images without a score.
    """

    name: str
    variant: str
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[FailedImage] = field(default_factory=list)

    @property
    def means(self) -> dict[str, float]:
        """Arithmetic mean of each metric over the images that have a score."""
        names = dict.fromkeys(metric for row in self.rows.values() for metric in row)
        return {
            metric: float(np.mean([row[metric] for row in self.rows.values() if metric in row]))
            for metric in names
        }

    @property
    def exit_code(self) -> int:
        """0 all images have a score, 1 some have none, 3 none has one."""
        return int(bool(self.problems)) if self.rows else 3


class ProcessGroup(Interface):
    """Processes that share the work; `ppsr.engine.distributed.Group` is one."""

    rank: int
    world: int

    def barrier(self) -> None:
        """Wait for all ranks."""

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order."""


class Source(Interface):
    """Images of one set."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the images, in processing order."""

    @property
    def problems(self) -> Sequence[FailedImage]:
        """Images that are known to have no score."""

    def read(self, name: str) -> ImageTriplet:
        """An image, by name."""


class ImageError(DataError):
    """An image that cannot be scored, with the kind of trouble."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def aligned(sr: np.ndarray, gt: np.ndarray | None, scale: int) -> tuple[np.ndarray, np.ndarray | None]:
    """SR and HR without the up to scale - 1 rows and columns that one of them has more.

    Raises:
        ImageError: their sizes differ by more.
    """
    if gt is None:
        return sr, None
    if any(abs(a - b) >= scale for a, b in zip(sr.shape[:2], gt.shape[:2], strict=True)):
        raise ImageError(
            "wrong size",
            f"SR is {size_text(sr)}, HR is {size_text(gt)}; x{scale} of the LR image was expected",
        )
    height, width = (min(a, b) for a, b in zip(sr.shape[:2], gt.shape[:2], strict=True))
    return sr[:height, :width], gt[:height, :width]


def check_lr_size(lq: tuple[int, int], gt: tuple[int, int], scale: int) -> None:
    """Check sizes (height, width): LR is HR at 1 / scale, up to what cropping to multiples leaves out.

    Raises:
        ImageError: it is not; the message has the scale that the sizes fit.
    """
    if _fits(lq, gt, scale):
        return
    other = round(gt[0] / lq[0])
    found = f"; these sizes fit x{other}" if other > 0 and _fits(lq, gt, other) else ""
    raise ImageError(
        "wrong size", f"LR is {lq[1]} x {lq[0]}, HR is {gt[1]} x {gt[0]}, but the network is x{scale}{found}"
    )


def _fits(lq: tuple[int, int], gt: tuple[int, int], scale: int) -> bool:
    return all(abs(scale * a - b) < scale for a, b in zip(lq, gt, strict=True))


def size_text(image: np.ndarray) -> str:
    """Width x height, for messages."""
    return f"{image.shape[1]} x {image.shape[0]}"


def enlarged(enlarge: Callable[[Any], Any], lq: Any, size: str, advice: str) -> Any:
    """`enlarge(lq)`, unless memory is short.

    Args:
        size: of the LR image, for the message.
        advice: how to take less memory.

    Raises:
        ImageError: memory is short.
    """
    try:
        return enlarge(lq)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    release_memory()  # after the traceback, which holds the arrays, is gone
    raise ImageError("out of memory", f"{size} pixels do not fit into memory; {advice}")


def score_set(
    source: Source,
    metrics: Mapping[str, Metric],
    *,
    name: str = "",
    variant: str = "",
    group: ProcessGroup | None = None,
    on_round: Callable[[int], None] = lambda done: None,
) -> SetScore:
    """Score a set; of several ranks, each scores every `world`-th image and has all scores in the end.

    The ranks wait for each other after every image, because some backends give up on a rank that is half a
    minute behind.

    Args:
        metrics: name -> function of SR and HR, uint8 RGB.
        variant: degradation, or "".
        on_round: called before each round, of one image per rank, with the number of finished images.
    """
    rank, world = (0, 1) if group is None else (group.rank, group.world)
    score = SetScore(name, variant)
    if rank == 0:
        score.problems += source.problems
    names = source.names
    for first in range(0, len(names), world):
        on_round(first)
        if first + rank < len(names):
            image = names[first + rank]
            score_image(score, image, partial(source.read, image), metrics)
        if group is not None:
            group.barrier()
    return score if group is None else _merged(group.gather(score))


def score_image(
    score: SetScore, name: str, read: Callable[[], ImageTriplet], metrics: Mapping[str, Metric]
) -> None:
    """Add the scores of one image, or why it has none.

    Args:
        metrics: see `score_set`. Without truth, only those with the attribute `no_reference` count.
    """
    try:
        triple = read()
        if triple.name and triple.name not in score.rows:
            name = triple.name
        score.rows[name] = {
            key: _value(name, key, metric, triple)
            for key, metric in metrics.items()
            if triple.gt is not None or getattr(metric, "no_reference", False)
        }
    except MemoryError:
        score.problems.append(
            FailedImage(name, "out of memory", f"{name}: comparing it takes too much memory")
        )
    except ImageError as error:
        score.problems.append(FailedImage(name, error.kind, str(error)))
    except DataError as error:
        score.problems.append(FailedImage(name, "not scored", str(error)))


def _value(name: str, key: str, metric: Metric, triple: ImageTriplet) -> float:
    try:
        return float(metric(triple.sr, triple.gt))
    except PpsrError:
        raise
    except Exception as error:  # a mistake in a user's own metric must not end a run of training
        if is_out_of_memory(error):
            raise MemoryError from error
        raise ImageError("metric failed", f"{name}: {key}: {mistake(error)}") from error


def _merged(parts: list[SetScore]) -> SetScore:
    """The shares of all ranks as one."""
    rows = {name: row for part in parts for name, row in part.rows.items()}
    problems = sorted({problem for part in parts for problem in part.problems})
    return SetScore(parts[0].name, parts[0].variant, dict(sorted(rows.items())), problems)
