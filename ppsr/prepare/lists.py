"""Lists of pictures, in both published forms: `name (h,w,c)` (BasicSR) and `name` (Real-ESRGAN)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ppsr.datasets.files import gather_pictures
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Outcome, Summary, run_jobs

__all__ = ["FORMS", "make_list"]

FORMS = ("shape", "name")
_ORIENTATION = 274  # EXIF; 5 to 8 exchange the sides


def make_list(
    folder: str | Path,
    output: str | Path,
    *,
    form: str = "shape",
    smallest: int = 1,
    verify: bool = False,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """List the pictures of a folder, recursively, one relative name per line, sorted.

    Args:
        folder: where the pictures lie.
        output: text file.
        form: "shape" (`name (h,w,c)`) or "name".
        smallest: leave out pictures with a shorter side.
        verify: decode every picture, to leave out truncated ones, instead of reading its header.
        workers: processes.
        force: write the list again.

    Returns:
        `written` or `present` is 1 for the list; pictures left out are among skipped and failed.

    Raises:
        ConfigError: unknown form.
        DataError: no pictures.
    """
    if form not in FORMS:
        raise ConfigError(f"the form of a list is shape or name, got {form!r}")
    output = Path(output)
    if output.exists() and not force:
        return Summary(present=1)
    pictures = gather_pictures(folder)
    job = partial(_inspect, smallest=smallest, verify=verify)
    summary = run_jobs(job, pictures, title="list", root=folder, workers=workers)
    lines = [f"{name} ({shape})" if form == "shape" else name for name, shape in summary.found.items()]
    if lines:
        atomic_write(output, "\n".join(lines) + "\n")
    summary.written = int(bool(lines))
    return summary


def _inspect(path: Path, *, smallest: int, verify: bool) -> Outcome:
    height, width, channels = _header(path)
    if verify:
        decode_image(path)
    if min(height, width) < smallest:
        return Outcome(skipped=f"{width} x {height} has a side below {smallest}")
    return Outcome(found=f"{height},{width},{channels}")


def _header(path: Path) -> tuple[int, int, int]:
    """Height, width and channels of a picture, from its header, upright.

    Raises:
        DataError: it has none.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            height, width = (image.width, image.height) if turned else (image.height, image.width)
            return height, width, 3 if image.mode == "P" else len(image.getbands())
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable picture: {error}") from None
