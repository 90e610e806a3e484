"""Running one job per image in parallel, and saying what became of each."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from ppsr.datasets.files import gather_images
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import write_image

__all__ = [
    "Outcome",
    "Summary",
    "check_listable",
    "gather_unique",
    "ordered_map",
    "run_jobs",
    "write_missing",
]

T = TypeVar("T")

_ITEMS_PER_WORKER = 16


class Outcome(NamedTuple):
    """What a job did.

    Attributes:
        written: number of files.
        present: number of files that were there already.
        skipped: why nothing is to be made of this image, or "".
        failed: why it could not be done, or "".
        found: what the job learned about the image, or "".
    """

    written: int = 0
    present: int = 0
    skipped: str = ""
    failed: str = ""
    found: str = ""


@dataclass
class Summary:
    """What all jobs did; skipped and failed ones by name with the reason."""

    written: int = 0
    present: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, outcome: Outcome) -> None:
        """Count one outcome."""
        self.written += outcome.written
        self.present += outcome.present
        if outcome.skipped:
            self.skipped[name] = outcome.skipped
        if outcome.failed:
            self.failed[name] = outcome.failed
        if outcome.found:
            self.found[name] = outcome.found

    def merge(self, other: Summary, prefix: str) -> None:
        """Add the counts of another summary, its names below a prefix."""
        self.written += other.written
        self.present += other.present
        self.skipped |= {f"{prefix}/{name}": reason for name, reason in other.skipped.items()}
        self.failed |= {f"{prefix}/{name}": reason for name, reason in other.failed.items()}

    def lines(self, target: str | Path) -> Iterator[str]:
        """The summary as text."""
        yield (
            f"{target}: {self.written} written, {self.present} already there, {len(self.skipped)} skipped, "
            f"{len(self.failed)} failed"
        )
        yield from (f"skipped: {name}: {reason}" for name, reason in self.skipped.items())
        yield from (f"failed: {name}: {reason}" for name, reason in self.failed.items())

    def require_all(self) -> None:
        """Go on only if nothing failed.

        Raises:
            DataError: something did; it names what and why.
        """
        if self.failed:
            raise DataError("; ".join(f"{name}: {reason}" for name, reason in self.failed.items()))

    @property
    def exit_code(self) -> int:
        """0 all good, 1 some failed, 3 nothing usable."""
        if not self.written and not self.present:
            return 3
        return int(bool(self.failed))


def _guarded(job: Callable[[Path], Outcome], item: Path) -> Outcome:
    """An outcome even of an image that cannot be read, worked on or written."""
    try:
        return job(item)
    except (DataError, OSError, cv2.error) as error:
        return Outcome(failed=str(error))


def check_listable(name: str) -> None:
    """Raise for the name of a file that cannot stand in a line of a list.

    Raises:
        DataError: it has line breaks, or is not text.
    """
    if name.splitlines() != [name]:
        raise DataError("its name has line breaks and cannot stand in a list; rename it")
    if any("\udc80" <= sign <= "\udcff" for sign in name):  # how Python passes on bytes
        raise DataError("its name is not UTF-8 and cannot stand in a list; rename it")


def gather_unique(
    folder: str | Path, name_of: Callable[[Path], str] | None = None, *, recursive: bool = False
) -> list[Path]:
    """Images of a folder whose results have different names.

    Args:
        folder: to search.
        name_of: what results are named by; by default the name without suffix.
        recursive: search sub-folders too.

    Raises:
        DataError: no images, or two that would overwrite each other's results.
    """
    images = gather_images(folder)
    if not recursive:
        images = [path for path in images if path.parent == Path(folder)]
        if not images:
            raise DataError(f"{folder} itself holds no images; give the sub-folder that does")
    owners: dict[str, Path] = {}
    for path in images:
        other = owners.setdefault(name_of(path) if name_of else path.stem, path)
        if other is not path:
            raise DataError(f"{other} and {path} would have results of the same name; rename one")
    return images


def run_jobs(
    job: Callable[[Path], Outcome],
    items: Sequence[Path],
    *,
    title: str,
    root: str | Path,
    workers: int | None = None,
) -> Summary:
    """Run a job on every image, with a progress bar.

    Args:
        job: a function of a module, or a partial of one; it skips what is already there.
        items: images.
        title: of the progress bar.
        root: folder that the names in the summary are relative to.
        workers: processes, see `ordered_map`.
    """
    summary = Summary()
    with ordered_map(partial(_guarded, job), items, workers) as outcomes:
        bar = tqdm(outcomes, total=len(items), desc=title, unit="image", disable=None)
        for item, outcome in zip(items, bar, strict=True):
            summary.add(item.relative_to(root).as_posix(), outcome)
    return summary


@contextmanager
def ordered_map(
    function: Callable[[Path], T], items: Sequence[Path], workers: int | None = None
) -> Iterator[Iterable[T]]:
    """Results in the order of the items, by several processes. An interruption drops what has not begun.

    Args:
        function: of a module, or a partial of one.
        items: its arguments.
        workers: processes; None takes one per core, fewer for few items; 1 stays in this process.

    Raises:
        ConfigError: the number of workers is not positive.
        DataError: a worker died, as for want of memory.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"the number of workers is at least 1, got {workers}")
    workers = workers or max(1, min(os.cpu_count() or 1, len(items) // _ITEMS_PER_WORKER))
    if workers == 1:
        yield map(function, items)
        return
    # started afresh: copies of a process with running threads may hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool.map(function, items, chunksize=max(1, min(8, len(items) // (4 * workers))))
    except BrokenProcessPool:
        raise DataError(
            "a worker process died, perhaps for want of memory. What is written stays; run the "
            "command again with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One core per worker; an interruption is the business of the process that started them."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_missing(images: Iterable[tuple[Path, np.ndarray]], *, force: bool) -> Outcome:
    """Write images that are not there yet, or all of them by force."""
    written = present = 0
    for path, image in images:
        if path.exists() and not force:
            present += 1
            continue
        write_image(path, image)
        written += 1
    return Outcome(written, present)
