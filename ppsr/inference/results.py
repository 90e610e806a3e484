"""What holds for results: limits, those that are there already, those that must not be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ppsr.errors import DataError
from ppsr.imaging.reading import MAX_PIXELS, image_header, read_file
from ppsr.imaging.writing import FORMATS
from ppsr.inference.inputs import Job, check_regular
from ppsr.inference.upscaler import Upscaler
from ppsr.inference.video import video_size

__all__ = ["NO_ALPHA", "FileOptions", "check_target", "existing_result", "image_size", "is_result"]

NO_ALPHA = ("jpeg", "bmp")
_DECODED_PIXELS = 2**26  # of larger results only the end is looked at
_TAIL = 2**16
_GROWTH = 16  # results may have as many times the pixels that inputs may have


@dataclass(frozen=True)
class FileOptions:
    """What holds for reading and writing.

    Attributes:
        quality: of JPEG and WebP, 1 to 100.
        max_pixels: larger images are refused.
        allow_truncated: accept JPEG files with a part missing, and damaged videos.
        crf: constant rate factor of videos, 0 (lossless) to 51.
        video_codec: FFmpeg's name of an encoder, such as libx265 or h264_nvenc; None: by the container.
        video_options: of that encoder, by FFmpeg's names.
        max_output_pixels: larger results are refused, before they are computed; None: 16 times `max_pixels`.
    """

    quality: int = 95
    max_pixels: int = MAX_PIXELS
    allow_truncated: bool = False
    crf: int = 18
    video_codec: str | None = None
    video_options: Mapping[str, str] = field(default_factory=dict)
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


def is_result(upscaler: Upscaler, source: Job, candidate: Job) -> bool:
    """Whether a file whose name is that of the source's result also has its size."""
    if source.is_video != candidate.is_video:
        return False
    read = _video_size if source.is_video else image_size
    sizes = read(source.source), read(candidate.source)
    if sizes[0] is None or sizes[1] is None:
        return False
    # what is turned by its EXIF changes sides
    return sorted(upscaler.size(*sizes[0][0])) == sorted(sizes[1][0])


def existing_result(upscaler: Upscaler, job: Job, single: bool) -> Path | None:
    """The whole result of an earlier run with these options, judged by its name, size and contents."""
    target = job.target
    read = _video_size if job.is_video else image_size
    source = read(job.source)
    if source is None:
        return None
    size, alpha = source
    if alpha and not single and FORMATS[target.suffix.lower()] in NO_ALPHA:
        target = target.with_suffix(".png")
    there = read(target)
    # what is turned by its EXIF changes sides
    if there is None or sorted(there[0]) != sorted(upscaler.size(*size)):
        return None
    return target if job.is_video or _is_whole(target, *there[0]) else None


def _is_whole(path: Path, height: int, width: int) -> bool:
    """Whether an image file was not cut short, as by a full disk or a broken copy."""
    if height * width <= _DECODED_PIXELS:
        try:
            read_file(path)
        except DataError:
            return False
        return True
    with path.open("rb") as handle:
        handle.seek(-min(_TAIL, path.stat().st_size), 2)
        tail = handle.read()
    mark = {"png": b"IEND", "jpeg": b"\xff\xd9"}.get(FORMATS[path.suffix.lower()], b"")
    return mark in tail


def _video_size(path: Path) -> tuple[tuple[int, int], bool] | None:
    """As `image_size`, of a video."""
    size = video_size(path) if path.is_file() else None
    return None if size is None else (size, False)


def image_size(path: Path) -> tuple[tuple[int, int], bool] | None:
    """Height and width of a image file as it is stored, and whether it has alpha; None: it is none."""
    try:
        check_regular(path)
        header = image_header(path)
    except (DataError, OSError):
        return None
    return (header.height, header.width), header.alpha


def check_target(job: Job, taken: set[Path], inputs: set[Path]) -> None:
    """Raise if the result would replace an input or another result.

    Raises:
        DataError: it would.
    """
    target = job.target.resolve()
    if target == job.source.resolve():
        raise DataError(f"the result would replace the input {job.source}; give a suffix or another folder")
    if target in inputs:
        raise DataError(f"the result of {job.source} would replace the input {job.target}; give a suffix")
    if target in taken:
        raise DataError(f"another input of this run already became {job.target}; give them other names")
    taken.add(target)
