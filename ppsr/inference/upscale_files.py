"""Upscaling files: one or many, each with a line in a report, none stopping the others.

While an image is computed, the next one is read and the finished rows of this one are written, each in a
thread of its own. With a limit of memory everything happens in turn.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.files import check_regular, real_path
from ppsr.imaging.arrays import quantise
from ppsr.imaging.formats.common import Target, check_size
from ppsr.imaging.reading import DecodedImage, read_image_file
from ppsr.imaging.writing import FORMATS, supported_dtype, write_rows
from ppsr.inference.inputs import Job
from ppsr.inference.outputs import is_file_name
from ppsr.inference.pipeline import WriteBehind, read_ahead
from ppsr.inference.progress import Progress, progress_bar
from ppsr.inference.results import (
    FileOptions,
    Report,
    check_target,
    has_result,
    image_size,
    open_report,
)
from ppsr.inference.upscaler import Upscaler
from ppsr.inference.video.check import video_header
from ppsr.inference.video.parts import remove_parts
from ppsr.inference.video.upscale import check_video_codec, upscale_video

__all__ = ["FileOptions", "read_input", "upscale_image", "upscale_jobs"]

logger = logging.getLogger(__name__)

_CHUNK = 32  # rows that are rounded and packed at once
_AHEAD = 2  # images that wait, decoded, while one is computed
_AHEAD_PIXELS = 2**22  # larger images are decoded when their turn comes, which takes little of their time
_ROWS_AHEAD = 2**25  # bytes of finished rows that wait for being written
_PATHS = ("path", "output")  # in a report


def read_input(source: Path, options: FileOptions) -> DecodedImage:
    """Decode an image file.

    Raises:
        DataError: it cannot be read, or is too large.
    """
    return read_image_file(
        source,
        max_pixels=options.max_pixels,
        allow_truncated=options.allow_truncated,
        value_range=options.value_range,
    )


def upscale_image(
    upscaler: Upscaler,
    image: DecodedImage,
    target: Path,
    options: FileOptions,
    *,
    pool: Executor,
    warnings: Sequence[str] = (),
    start: Callable[[int], None] = lambda count: None,
    step: Callable[[], None] = lambda: None,
) -> tuple[Report, Future[None]]:
    """Upscale an image while its rows are written; profile, EXIF, alpha and 16 bits are kept.

    Args:
        pool: a thread of it writes.
        warnings: about the name of the result.
        start: called with the number of tiles before they are computed.
        step: called after each tile; what it raises ends the image.

    Returns:
        Entries of its report: output, size and output_size (width, height), tiles, warnings, and degradation
        where the network takes such parameters; and what is done when the file is there.

    Raises:
        DataError: it cannot be computed or written, or the result is too large.
        OSError: the disk is full, or the folder cannot be written.
    """
    height, width, channels = image.pixels.shape
    taken = upscaler.backend.info.channels
    if channels - image.alpha not in (1, 3, taken):
        accepted = "gray or RGB" if taken in (1, 3) else f"{taken} bands"
        raise DataError(f"the image has {channels} bands; the network takes {accepted}")
    size = upscaler.size(height, width)
    options.check_result(size)
    kind = FORMATS[target.suffix.lower()]
    metadata, dropped = image.metadata.of_result(size, channels, kind, (size[1] / width, size[0] / height))
    wanted = Target(*size, channels, image.pixels.dtype, metadata, options.quality, image.alpha)
    dtype, reduced = supported_dtype(target.suffix, wanted)
    wanted = replace(wanted, dtype=dtype)
    plan = upscaler.plan(height, width, channels)
    degradation = upscaler.predict_degradation(image.pixels)
    start(plan.count)
    ahead = max(1, min(16, _ROWS_AHEAD // (64 * size[1] * channels * 4)))
    writing = WriteBehind(
        pool, partial(_write, target, wanted, options.value_range), 0 if upscaler.max_memory else ahead
    )
    try:
        writing.start()
        for band in upscaler.bands(image.pixels, plan=plan, degradation=degradation, on_tile=step):
            writing.put(band)
        written = writing.close()
    except BaseException:
        writing.abort()
        raise
    entries = {
        "output": str(target),
        "size": [width, height],
        "output_size": [size[1], size[0]],
        "tiles": str(plan),
        **({} if degradation is None else {"degradation": [round(float(v), 4) for v in degradation]}),
        "warnings": [*image.warnings, *warnings, *reduced, *dropped],
    }
    return entries, written


def _write(
    target: Path, wanted: Target, value_range: tuple[float, float] | None, bands: Iterator[np.ndarray]
) -> None:
    """The writer's thread; floats get the range of the input."""
    parts = (band[row : row + _CHUNK] for band in bands for row in range(0, len(band), _CHUNK))
    rows = (quantise(part, wanted.dtype) for part in parts)
    if wanted.dtype.kind == "f" and value_range is not None:
        low, high = value_range
        rows = ((row * (high - low) + low).astype(np.float32) for row in rows)
    write_rows(target, wanted, rows)


def upscale_jobs(
    upscaler: Upscaler,
    jobs: Sequence[Job],
    target: str | Path,
    *,
    skip_existing: bool = False,
    options: FileOptions | None = None,
    report: Path | None = None,
) -> list[Report]:
    """Upscale images and videos.

    Args:
        jobs: from `plan_jobs`.
        target: folder, or a file name for a single input, as `plan_jobs` got it.
        skip_existing: leave out inputs whose result exists and has its size, as after an interruption.
        report: file of the report; None: `report.jsonl` in the output folder.

    Returns:
        One report per input: path, status (ok, warn, error, skipped), reason, error (its class), output,
        size, seconds. Paths are absolute. The lines are appended to the report file, each when its input is
        done.

    Raises:
        DataError: there is no place for the report.
        ConfigError: an unknown video codec, or a report with the name of an input or result.
    """
    options, single, place = options or FileOptions(), is_file_name(target), Path(target)
    if any(job.is_video for job in jobs):
        check_video_codec(options.video_codec)
    inputs = {real_path(job.source) for job in jobs if job.skip is None}
    path = report or (place.parent if single else place) / "report.jsonl"
    if real_path(path) in inputs | {real_path(job.target) for job in jobs if job.skip is None}:
        raise ConfigError(f"the report {path} has the name of an input or result; give it another")
    handle = open_report(path, [job.target for job in jobs] if report is None else ())
    lines = []
    with handle, ThreadPoolExecutor(1, "ppsr-writer") as pool, progress_bar() as show:
        _log_left_out(jobs)
        progress = Progress(sum(job.skip is None for job in jobs), show)
        batch = _Batch(upscaler, options, pool, progress, skip_existing, inputs)
        for line in batch.run(jobs):
            entry = {**line, **{key: str(Path(line[key]).absolute()) for key in _PATHS if key in line}}
            handle.write(json.dumps(entry, ensure_ascii=False) + "\n")
            handle.flush()
            if line["status"] != "skipped" or "output" in line:
                progress.finish(line)
            lines.append(entry)
    return lines


def _log_left_out(jobs: Sequence[Job]) -> None:
    """A line for each reason; the report names all files."""
    groups: dict[str, list[str]] = {}
    for job in jobs:
        if job.skip is not None:
            groups.setdefault(job.skip, []).append(str(job.source))
    for reason, names in groups.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        logger.info("left out: %s%s: %s", names[0], more, reason)


@dataclass
class _Task:
    """An input on its way through the threads."""

    job: Job
    line: Report
    image: DecodedImage | None = None  # decoded ahead
    error: Exception | None = None
    written: Future[None] | None = None  # by the writer's thread
    seconds: float = 0.0

    def attempt(self, work: Callable[[_Task], object]) -> None:
        """Whatever is wrong with an input becomes its line; nothing of it ends the batch."""
        began = time.perf_counter()
        try:
            work(self)
        except Exception as error:
            logger.debug("%s", self.job.source, exc_info=True)
            self.error = error
        self.seconds += time.perf_counter() - began


@dataclass
class _Batch:
    """State shared by all inputs of a run."""

    upscaler: Upscaler
    options: FileOptions
    pool: Executor
    progress: Progress
    skip_existing: bool
    inputs: set[Path]
    taken: set[Path] = field(default_factory=set)

    def run(self, jobs: Sequence[Job]) -> Iterator[Report]:
        """Do all jobs; yields their lines in order, while up to one result is still being written."""
        pending: deque[_Task] = deque()
        ahead = 0 if self.upscaler.max_memory is not None else _AHEAD
        for task in read_ahead(map(self._prepare, jobs), ahead):
            if task.error is None and "status" not in task.line:
                task.attempt(self._compute)
            pending.append(task)
            while pending and (len(pending) > 1 or (done := pending[0].written) is None or done.done()):
                yield self._finish(pending.popleft())
        yield from map(self._finish, pending)

    def _prepare(self, job: Job) -> _Task:
        """In the reader's thread: is there something to do, and the decoded image if it is small."""
        task = _Task(job, {"path": str(job.source)})
        task.attempt(self._check_and_read)
        return task

    def _check_and_read(self, task: _Task) -> None:
        job = task.job
        if job.problem is not None:
            raise DataError(job.problem)
        if job.skip is not None:
            task.line.update(status="skipped", reason=job.skip)
        elif self.skip_existing and has_result(self.upscaler, job, self.options.value_range):
            task.line.update(status="skipped", reason="the result is there", output=str(job.target))
            if job.is_video:
                remove_parts(job.target)
        else:
            check_target(job, self.taken, self.inputs)
            check_regular(job.source)
            size = None if job.is_video else image_size(job.source)
            if size is not None and size[0] * size[1] <= _AHEAD_PIXELS:
                task.image = read_input(job.source, self.options)

    def _compute(self, task: _Task) -> None:
        job, options = task.job, self.options
        unit = "frame" if job.is_video else "tile"
        start = partial(self.progress.start, job.source.name, unit=unit)
        step = self.progress.step
        if job.is_video:
            if (header := video_header(job.source)) is not None:
                check_size((header.width, header.height), options.max_pixels)
                options.check_result(self.upscaler.size(header.height, header.width))
            entries = upscale_video(self.upscaler, job.source, job.target, options, start=start, step=step)
        else:
            image, task.image = task.image or read_input(job.source, options), None
            entries, task.written = upscale_image(
                self.upscaler,
                image,
                job.target,
                options,
                warnings=job.warnings,
                pool=self.pool,
                start=start,
                step=step,
            )
        task.line.update(entries)

    def _finish(self, task: _Task) -> Report:
        """Wait until the result is written; returns the complete line."""
        if task.written is not None:
            task.attempt(lambda task: task.written and task.written.result())
        line = task.line
        warnings = line.pop("warnings", [])
        if task.error is not None:
            reason = _reason(task.error)
            kind = type(task.error).__name__
            line = {"path": line["path"], "status": "error", "reason": reason, "error": kind}
        elif "status" not in line:
            found = {"status": "warn", "reason": "; ".join(warnings)} if warnings else {"status": "ok"}
            line = {"path": line.pop("path"), **found, **line}
        line["seconds"] = round(task.seconds, 3)
        return line


def _reason(error: Exception) -> str:
    """What an error says; those of the system without numbers and names of temporary files."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(filter(None, [error.filename2 or error.filename, error.strerror]))
    return str(error) or type(error).__name__
