"""Convert a folder of images into a folder of files: in parallel, resumable, with every failure listed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from ppsr.datasets.gather import gather_images
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write
from ppsr.imaging.io import write_image

__all__ = ["Recipe", "SkipImageError", "Summary", "gather_flat", "note_options", "parallel_map"]

T = TypeVar("T")

_ITEMS_PER_WORKER = 16


class SkipImageError(Exception):
    """Nothing is made of this image, which is not a failure; the message says why."""


class _Result(NamedTuple):
    written: int = 0
    present: int = 0
    skipped: str = ""
    failed: str = ""


@dataclass
class Summary:
    """Number of files written and already there; images skipped and failed by name with the reason."""

    written: int = 0
    present: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

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
        """Raise DataError, with names and reasons, if anything failed."""
        if self.failed:
            raise DataError("; ".join(f"{name}: {reason}" for name, reason in self.failed.items()))

    @property
    def exit_code(self) -> int:
        """0 all good, 1 some failed, 3 nothing usable."""
        if not self.written and not self.present:
            return 3
        return int(bool(self.failed))


@dataclass(frozen=True)
class Recipe:
    """Outputs of one command for each image of a folder.

    The fields are the command's options. All but those in `unnoted` decide what a file of the same name
    holds: they are noted in `<target>/prepare.json`, so that one folder never mixes two makes.
    """

    target: Path
    name: ClassVar[str]
    unnoted: ClassVar[tuple[str, ...]] = ("target",)
    recursive: ClassVar[bool] = False
    lists_all: ClassVar[bool] = True  # `files` names all files, so that an image need not be decoded again

    @property
    def command(self) -> str:
        """Name in `prepare.json` and on the progress bar."""
        return self.name

    def files(self, path: Path) -> list[Path]:
        """The files that an image may become."""
        raise NotImplementedError

    def images(self, path: Path) -> Iterable[tuple[Path, np.ndarray]]:
        """The files that it does become, with their contents.

        Raises:
            SkipImageError: nothing is to be made of this image.
            DataError: it cannot be read or used.
        """
        raise NotImplementedError

    def write(self, path: Path, force: bool) -> _Result:
        """Write the files of an image that are missing or older than it, or all with `force`."""
        files = self.files(path)
        if self.lists_all and not force and all(_is_current(file, path) for file in files):
            return _Result(present=len(files))
        written = present = 0
        for file, image in self.images(path):
            if force or not _is_current(file, path):
                write_image(file, image)
                written += 1
            else:
                present += 1
        return _Result(written, present)

    def gather(self, source: Path) -> list[Path]:
        """The images of the source."""
        return gather_images(source) if self.recursive else gather_flat(source)

    def make(self, source: str | Path, *, workers: int | None = None, force: bool = False) -> Summary:
        """Make the files of every image of a folder.

        Args:
            workers: see `parallel_map`.
            force: write again what is already there.

        Raises:
            ConfigError: the target was made with other options or of another source, or is in the source.
            DataError: no images, or two that would overwrite each other's results.
        """
        source = Path(source)
        images = self.gather(source)
        owners: dict[Path, Path] = {}
        for path in images:
            for file in self.files(path):
                if owners.setdefault(file, path) is not path:
                    raise DataError(
                        f"{owners[file]} and {path} would have results of the same name; rename one"
                    )
        for folder in {file.parent for file in owners}:
            resolved, read = folder.resolve(), source.resolve()
            if resolved == read or (self.recursive and read in resolved.parents):
                raise ConfigError(
                    f"the results in {folder} would be mixed with the source {source}; give another folder"
                )
        options = {name: value for name, value in asdict(self).items() if name not in self.unnoted}
        note_options(self.target, self.command, options, source)
        return self.make_each(images, source, workers=workers, force=force)

    def make_each(self, images: Sequence[Path], root: Path, *, workers: int | None, force: bool) -> Summary:
        """Make the files of these images; names in the summary are relative to `root`."""
        summary = Summary()
        job = partial(_guarded, self, force)
        for path, result in parallel_map(job, images, workers, title=self.command):
            name = path.relative_to(root).as_posix()
            summary.written += result.written
            summary.present += result.present
            if result.skipped:
                summary.skipped[name] = result.skipped
            if result.failed:
                summary.failed[name] = result.failed
        return summary


def _is_current(file: Path, source: Path) -> bool:
    """Whether a result is there and the image has not changed since."""
    return file.exists() and file.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _guarded(recipe: Recipe, force: bool, path: Path) -> _Result:
    """A result even of an image that cannot be read, worked on or written."""
    try:
        return recipe.write(path, force)
    except SkipImageError as reason:
        return _Result(skipped=str(reason))
    except (DataError, OSError, cv2.error) as error:
        return _Result(failed=str(error))


def gather_flat(source: Path) -> list[Path]:
    """Images of a folder without its sub-folders.

    Raises:
        DataError: there are none.
    """
    images = [path for path in gather_images(source) if path.parent == source]
    if not images:
        raise DataError(f"{source} itself holds no images; give the sub-folder that does")
    return images


def note_options(
    folder: Path, command: str, options: Mapping[str, Any], source: Path, *, required: bool = False
) -> None:
    """Note in `<folder>/prepare.json` how its files are made, or compare with what was noted before.

    The source is noted relative to the folder, so that both may be moved together.

    Raises:
        ConfigError: the folder was made with other options or of another source, or the note is broken, or
            `required` and missing.
    """
    file = folder / "prepare.json"
    try:
        notes = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        before = dict(notes.get(command, {}))
    except (OSError, ValueError, AttributeError, TypeError):
        raise ConfigError(f"{file} is not a note of ppsr prepare; remove it") from None
    try:
        place = Path(os.path.relpath(source.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        place = source.resolve().as_posix()
    wanted = json.loads(json.dumps({"source": place, **options}))
    if differing := [key for key, value in wanted.items() if before.get(key, value) != value]:
        old, new = ({key: values[key] for key in differing} for values in (before, wanted))
        hint = f" (if the source was only moved, correct {file})" if "source" in differing else ""
        raise ConfigError(
            f"{folder} was made with {old}, now {new} is asked for; remove it or give another folder{hint}"
        )
    if not before and required:
        raise ConfigError(
            f"{folder} is there, and {file} does not say how it was made; --force replaces it, or give "
            "another name"
        )
    if not before:
        atomic_write(file, json.dumps({**notes, command: wanted}, indent=1))


def parallel_map(
    function: Callable[[Path], T], items: Sequence[Path], workers: int | None, *, title: str
) -> Iterator[tuple[Path, T]]:
    """Items with their results, in order, with a progress bar; an interruption drops what has not begun.

    Args:
        function: module-level function, or a partial of one.
        workers: processes; None takes one per core, fewer for few items; 1 stays in this process.

    Raises:
        ConfigError: the number of workers is not positive.
        DataError: a worker died, as for want of memory.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"the number of workers must be at least 1, got {workers}")
    workers = workers or max(1, min(os.cpu_count() or 1, len(items) // _ITEMS_PER_WORKER))
    bar = partial(tqdm, total=len(items), desc=title, unit="image", disable=None)
    if workers == 1:
        yield from zip(items, bar(map(function, items)), strict=True)
        return
    # started afresh: copies of a process with running threads may hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        chunk = max(1, min(8, len(items) // (4 * workers)))
        yield from zip(items, bar(pool.map(function, items, chunksize=chunk)), strict=True)
    except BrokenProcessPool:
        raise DataError(
            "a worker process died, perhaps for want of memory. What is written stays; run the "
            "command again with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One core per worker; an interruption is handled by the process that started it."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
