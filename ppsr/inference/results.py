"""Options and reports of upscaled files; results that exist already or must not be written."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ppsr.errors import ConfigError, DataError
from ppsr.files import TEMPORARY, lock_file, real_path
from ppsr.imaging.reading import MAX_PIXELS, check_value_range, image_header, read_image_file
from ppsr.imaging.writing import FORMATS
from ppsr.inference.inputs import Job
from ppsr.inference.upscaler import Upscaler
from ppsr.inference.video.check import check_video, video_header

logger = logging.getLogger(__name__)

Report = dict[str, Any]
_DECODED_PIXELS = 2**26  # larger results are judged by their header and end
_ENDS = {"png": b"IEND\xaeB`\x82", "jpeg": b"\xff\xd9"}
_GROWTH = 16  # results may have as many times the pixels that inputs may have


@dataclass(frozen=True)
class FileOptions:
    """Options of reading and writing.

    Attributes:
        quality: JPEG and WebP quality, 1 to 100.
        max_pixels: larger images are refused.
        allow_truncated: accept JPEG files with a part missing, and damaged videos.
        crf: constant rate factor of videos, 0 (lossless) to 51; None: 18 where the encoder has one.
        video_codec: FFmpeg's name of an encoder, such as libx265 or h264_nvenc; None: by the container.
        video_options: encoder options by FFmpeg's names.
        value_range: the lowest and highest value of TIFF files of floats, which are refused without; results
            are TIFF files of float32 in the same range.
        max_output_pixels: larger results are refused, before they are computed; None: 16 times `max_pixels`.
    """

    quality: int = 95
    max_pixels: int = MAX_PIXELS
    allow_truncated: bool = False
    crf: int | None = None
    video_codec: str | None = None
    video_options: Mapping[str, str] = field(default_factory=dict)
    max_output_pixels: int | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_value_range(self.value_range)

    def check_result(self, size: tuple[int, int]) -> None:
        """Raises DataError for a result of too many pixels; `size` is its height and width."""
        limit = _GROWTH * self.max_pixels if self.max_output_pixels is None else self.max_output_pixels
        if size[0] * size[1] > limit:
            raise DataError(
                f"the result of {size[1]} x {size[0]} has {size[0] * size[1]:,} pixels, allowed are "
                f"{limit:,}; raise the limit (--max-pixels) or lower --outscale"
            )


def has_result(upscaler: Upscaler, job: Job, value_range: tuple[float, float] | None = None) -> bool:
    """Whether the complete result of an earlier run is there, judged by name, age, size and contents."""
    target = job.target
    if job.is_video:
        size, there = ((header := video_header(path)) and header[:2] for path in (job.source, target))
    else:
        size, there = image_size(job.source), image_size(target)
    # an EXIF orientation may exchange the sides
    if size is None or there is None or sorted(there) != sorted(upscaler.size(*size)):
        return False
    if job.source.stat().st_mtime_ns > target.stat().st_mtime_ns:  # the input has changed since
        return False
    try:
        if job.is_video:
            result = check_video(target)
            whole = not result.faults and result.frames == check_video(job.source).frames
        else:  # decoders take JPEG files without their end, whose last rows may be gray
            whole = _has_end(target)
            if whole and there[0] * there[1] <= _DECODED_PIXELS:
                read_image_file(target, value_range=value_range)
    except (DataError, OSError, ValueError, EOFError):  # FFmpeg's among them; cut short, as by a broken copy
        return False
    return whole


def _has_end(path: Path) -> bool:
    """Whether an image file ends as its format does, for those formats that have a mark of the end."""
    mark = _ENDS.get(FORMATS[path.suffix.lower()], b"")
    with path.open("rb") as handle:
        handle.seek(-len(mark), os.SEEK_END)
        return handle.read() == mark


def open_report(path: Path, targets: Iterable[Path]) -> TextIO:
    """Open a report for more lines.

    Args:
        targets: the results of this run, if the report is in their folder; beside them is removed what killed
            runs left, unless another run works there. Each run keeps a shared lock of its report.

    Raises:
        DataError: it or its folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {path.parent}: {error.strerror or error}") from None
    try:
        # bytes of a name that are not text become escapes, as in JSON
        report = path.open("a", encoding="utf-8", errors="backslashreplace")
        if path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n"):  # a line that was cut short
            report.write("\n")
    except OSError as error:
        raise DataError(f"cannot write the report {path}: {error.strerror or error}") from None
    locked = lock_file(report)
    if locked:
        for left in (left for folder in {t.parent for t in targets} for left in folder.glob(".tmp-*")):
            if TEMPORARY.fullmatch(left.name):
                left.unlink(missing_ok=True)
    elif locked is False:
        logger.info("another run writes to %s too", path.parent)
    lock_file(report, shared=True)
    return report


def image_size(path: Path) -> tuple[int, int] | None:
    """Height and width of an image file as it is stored; None: not an image."""
    try:
        header = image_header(path)
    except (DataError, OSError):
        return None
    return header.height, header.width


def input_pixels(jobs: Iterable[Job], max_pixels: int) -> Iterator[int]:
    """Pixels of each image, or of all frames of a video, by the headers; 0: unreadable, or too large."""
    for job in jobs:
        if job.skip is not None or job.problem is not None:
            continue
        if job.is_video:
            header = video_header(job.source)
            yield header.height * header.width * header.frames if header else 0
        else:
            height, width = image_size(job.source) or (0, 0)
            yield height * width if height * width <= max_pixels else 0


def check_target(job: Job, taken: set[Path], inputs: set[Path]) -> None:
    """Raises DataError if the result would replace an input or another result; else adds it to `taken`."""
    target = real_path(job.target)
    if job.target.is_dir():
        raise DataError(f"the result would replace the folder {job.target}; give a suffix or another folder")
    if target == real_path(job.source):
        raise DataError(f"the result would replace the input {job.source}; give a suffix or another folder")
    if target in inputs:
        raise DataError(f"the result of {job.source} would replace the input {job.target}; give a suffix")
    if target in taken:
        raise DataError(f"another input of this run already became {job.target}; give them other names")
    taken.add(target)


def exit_code(reports: Sequence[Report]) -> int:
    """0: all good; 1: some inputs failed; 2: options that suit no input; 3: no input was usable."""
    tried = [line for line in reports if line["status"] != "skipped" or "output" in line]
    failed = [line for line in tried if line["status"] == "error"]
    if len(failed) == len(tried):
        return 2 if failed and all(line["error"] == ConfigError.__name__ for line in failed) else 3
    return 1 if failed else 0
