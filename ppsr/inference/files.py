"""Upscaling files: one or many, each with a line in a report, none stopping the others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from ppsr.errors import ConfigError, DataError, PpsrError
from ppsr.inference.inputs import (
    CONTAINERS,
    Job,
    check_place,
    check_regular,
    find_jobs,
    is_file_name,
    place_results,
)
from ppsr.inference.metadata import exif_block, fitting_profile
from ppsr.inference.pictures import MAX_PIXELS, UNREADABLE, picture_header, picture_kind, read_picture
from ppsr.inference.upscaler import Upscaler, quantise
from ppsr.inference.video import upscale_video, video_size
from ppsr.inference.writers import FORMATS, Target, fitting, open_writer

__all__ = ["FileOptions", "exit_code", "upscale_files", "upscale_picture"]

logger = logging.getLogger(__name__)

_CHUNK = 32  # rows that are rounded and packed at once
_GROWTH = 16  # results may have as many times the pixels that inputs may have
_NO_ALPHA = ("jpeg", "bmp")
Report = dict[str, Any]


@dataclass(frozen=True)
class FileOptions:
    """What holds for reading and writing.

    Attributes:
        quality: of JPEG and WebP, 1 to 100.
        max_pixels: larger pictures are refused.
        allow_truncated: accept JPEG files with a part missing, and damaged videos.
        crf: constant rate factor of videos, 0 (lossless) to 51.
        max_output_pixels: larger results are refused, before they are computed; None: 16 times `max_pixels`.
    """

    quality: int = 95
    max_pixels: int = MAX_PIXELS
    allow_truncated: bool = False
    crf: int = 18
    max_output_pixels: int | None = None

    def check_result(self, size: tuple[int, int]) -> None:
        """Raise for a result that is too large.

        Args:
            size: its height and width.

        Raises:
            DataError: it has too many pixels.
        """
        limit = _GROWTH * self.max_pixels if self.max_output_pixels is None else self.max_output_pixels
        if size[0] * size[1] > limit:
            raise DataError(
                f"the result of {size[1]} x {size[0]} has {size[0] * size[1]:,} pixels, allowed are "
                f"{limit:,}; raise the limit (--max-pixels) or lower --outscale"
            )


def upscale_picture(
    upscaler: Upscaler, source: Path, target: Path, options: FileOptions, *, keep_name: bool = True
) -> Report:
    """Upscale one picture file; profile, EXIF, alpha and 16 bits are kept.

    Args:
        upscaler: what to apply.
        source: any picture.
        target: the suffix chooses the format.
        options: for reading and writing.
        keep_name: otherwise a picture with alpha becomes a PNG where the format has no alpha.

    Returns:
        Entries of its report: output, size and output_size (width, height), tiles, warnings, and
        degradation where the network takes such parameters.

    Raises:
        DataError: it cannot be read, computed or written, or the result is too large.
        OSError: the disk is full, or the folder cannot be written.
    """
    picture = read_picture(source, max_pixels=options.max_pixels, allow_truncated=options.allow_truncated)
    height, width, channels = picture.pixels.shape
    size = upscaler.size(height, width)
    options.check_result(size)
    warnings = list(picture.warnings)
    if not keep_name and channels in (2, 4) and FORMATS[target.suffix.lower()] in _NO_ALPHA:
        warnings.append(f"{target.suffix} has no alpha, png is written instead")
        target = target.with_suffix(".png")
    try:
        exif = exif_block(picture.exif, size)
    except DataError as error:
        warnings.append(f"{error}; it is left out")
        exif = None
    dtype, losses = fitting(target.suffix, Target(*size, channels, picture.pixels.dtype))
    warnings += losses
    icc = fitting_profile(picture.icc, channels, FORMATS[target.suffix.lower()])
    if icc != picture.icc:
        warnings.append("the colour profile does not describe the result's colours and is left out")
    wanted = Target(*size, channels, dtype, icc, exif, options.quality)
    plan = upscaler.plan(height, width, channels)
    degradation = upscaler.predict_degradation(picture.pixels)
    with (
        tqdm(total=plan.count, unit="tile", leave=False, disable=None if plan.count > 1 else True) as bar,
        open_writer(target, wanted) as writer,
    ):
        for band in upscaler.bands(
            picture.pixels, plan=plan, degradation=degradation, on_tile=lambda: _step(bar)
        ):
            for row in range(0, len(band), _CHUNK):
                writer.write(quantise(band[row : row + _CHUNK], dtype))
    return {
        "output": str(target),
        "size": [width, height],
        "output_size": [size[1], size[0]],
        "tiles": str(plan),
        **({} if degradation is None else {"degradation": [round(float(v), 4) for v in degradation]}),
        "warnings": warnings,
    }


def _step(bar: tqdm) -> None:
    bar.update()


def upscale_files(
    upscaler: Upscaler,
    source: str | Path | Sequence[str | Path],
    target: Path,
    *,
    suffix: str = "",
    extension: str = "png",
    recursive: bool = True,
    skip_existing: bool = False,
    options: FileOptions | None = None,
    report: Path | None = None,
) -> list[Report]:
    """Upscale pictures and videos.

    Args:
        upscaler: what to apply.
        source: a file, a folder or a pattern, or several of them. Folders keep their structure.
        target: folder, or a file name for a single input.
        suffix: appended to the names.
        extension: format of pictures, or "same".
        recursive: go into the folders of folders.
        skip_existing: leave out inputs whose result is there and has its size, as after an interruption.
        options: for reading and writing.
        report: file of the report; None: `report.jsonl` beside the results.

    Returns:
        One report per input: path, status (ok, warn, error, skipped), reason, output, size, seconds. The same
        lines stand in the report file, each written when its input is done.

    Raises:
        DataError: the only source does not exist, or there is no place for the report.
        ConfigError: one file name for several inputs, an unknown format, or a suffix with slashes.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    options = options or FileOptions()
    single = is_file_name(target)
    jobs = find_jobs(sources, target, recursive=recursive)
    several = len(sources) > 1 or len(jobs) > 1 or Path(sources[0]).is_dir()
    if not several:
        check_place(target)
    if single and several:
        raise ConfigError(f"{target} is the name of one file and the inputs are several; name a folder")
    jobs = place_results(jobs, target, single=single, suffix=suffix, extension=extension)
    path = report or (target.parent if single else target) / "report.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        # appended, so that runs into one folder do not write over each other's lines;
        # bytes of a name that are not text become JSON's own escapes
        handle = path.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DataError(f"cannot write the report {path}: {error.strerror or error}") from None
    taken: set[Path] = set()
    lines = []
    with handle:
        for job in tqdm(jobs, unit="file", disable=None if len(jobs) > 1 else True):
            line = _reported(upscaler, job, options, taken, single=single, skip_existing=skip_existing)
            lines.append(line)
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")
            handle.flush()
    return lines


def exit_code(reports: Sequence[Report]) -> int:
    """0: all good; 1: some inputs failed; 3: nothing was usable."""
    tried = [line for line in reports if line["status"] != "skipped" or "output" in line]
    failed = [line for line in tried if line["status"] == "error"]
    if len(failed) == len(tried):
        return 3
    return 1 if failed else 0


def _reported(
    upscaler: Upscaler,
    job: Job,
    options: FileOptions,
    taken: set[Path],
    *,
    single: bool,
    skip_existing: bool,
) -> Report:
    """Do one job; whatever is wrong with it becomes its line."""
    started = time.perf_counter()
    line: Report = {"path": str(job.source), "status": "ok"}
    try:
        if job.skip is not None:
            line.update(status="skipped", reason=job.skip)
        elif skip_existing and (there := _existing(upscaler, job, single)) is not None:
            line.update(status="skipped", reason="the result is there", output=str(there))
        else:
            _check_target(job, taken)
            line.update(_done(upscaler, job, options, single))
            warnings = line.pop("warnings")
            if warnings:
                line.update(status="warn", reason="; ".join(warnings))
    except (PpsrError, OSError, MemoryError, RuntimeError, cv2.error) as error:
        line.update(status="error", reason=str(error) or type(error).__name__)
        logger.error("%s: %s", job.source, line["reason"])
    line["seconds"] = round(time.perf_counter() - started, 3)
    return line


def _existing(upscaler: Upscaler, job: Job, single: bool) -> Path | None:
    """The result of a former run with these options, judged by its name and size."""
    target = job.target
    read = _video_header if job.is_video else _header
    source = read(job.source)
    if source is None:
        return None
    size, alpha = source
    if alpha and not single and FORMATS[target.suffix.lower()] in _NO_ALPHA:
        target = target.with_suffix(".png")
    there = read(target)
    # what is turned by its EXIF changes sides
    return target if there is not None and sorted(there[0]) == sorted(upscaler.size(*size)) else None


def _video_header(path: Path) -> tuple[tuple[int, int], bool] | None:
    """As `_header`, of a video."""
    size = video_size(path) if path.is_file() else None
    return None if size is None else (size, False)


def _header(path: Path) -> tuple[tuple[int, int], bool] | None:
    """Height and width of a picture file as it is stored, and whether it has alpha; None: it is none."""
    try:
        check_regular(path)
        with path.open("rb") as handle:
            kind = picture_kind(handle.read(32))
        if kind is None:
            return None
        header = picture_header(path, kind)
        return (header.height, header.width), header.alpha
    except (DataError, *UNREADABLE):
        return None


def _check_target(job: Job, taken: set[Path]) -> None:
    """Raise if the result would replace the input or another result.

    Raises:
        DataError: it would.
    """
    target = job.target.resolve()
    if target == job.source.resolve():
        raise DataError(f"the result would replace the input {job.source}; give a suffix or another folder")
    if target in taken:
        raise DataError(f"another input of this run already became {job.target}; give them other names")
    taken.add(target)


def _done(upscaler: Upscaler, job: Job, options: FileOptions, single: bool) -> Report:
    """Upscale one input.

    Raises:
        DataError: it cannot be done, or the given name is of the other kind.
    """
    check_regular(job.source)
    if job.is_video != (job.target.suffix.lower() in CONTAINERS):
        raise DataError(f"{job.source} cannot become {job.target}: one is a video, the other a picture")
    if job.is_video:
        if (size := video_size(job.source)) is not None:
            options.check_result(upscaler.size(*size))
        return upscale_video(
            upscaler, job.source, job.target, crf=options.crf, allow_truncated=options.allow_truncated
        )
    return upscale_picture(upscaler, job.source, job.target, options, keep_name=single)
