"""Results that are there already, and results that must not be written."""

from __future__ import annotations

from pathlib import Path

from ppsr.errors import DataError
from ppsr.imaging.reading import image_header
from ppsr.imaging.writing import FORMATS
from ppsr.inference.inputs import Job, check_regular
from ppsr.inference.upscaler import Upscaler
from ppsr.inference.video import video_size

__all__ = ["NO_ALPHA", "check_target", "existing_result", "image_size"]

NO_ALPHA = ("jpeg", "bmp")


def existing_result(upscaler: Upscaler, job: Job, single: bool) -> Path | None:
    """The result of a former run with these options, judged by its name and size."""
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
    return target if there is not None and sorted(there[0]) == sorted(upscaler.size(*size)) else None


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


def check_target(job: Job, taken: set[Path]) -> None:
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
