"""Lists of images, in both published forms: `name (h,w,c)` (BasicSR) and `name` (Real-ESRGAN)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ppsr.datasets.files import gather_images
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Outcome, Summary, check_listable, run_jobs
from ppsr.prepare.records import Record

__all__ = ["FORMS", "make_list"]

FORMS = ("shape", "name")
# the only files that are read as gray; of others, such as gray JPEG or RGBA, every reader makes RGB
_GRAY = ("1", "L", "LA", "I", "I;16", "I;16B")  # modes of Pillow
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
    """List the images of a folder, recursively, one relative name per line, sorted.

    A list that is there gets the images that it lacks: new ones, and those that could not be read before.
    How it was made is noted in `prepare.json` beside it.

    Args:
        folder: where the images lie.
        output: text file.
        form: "shape" (`name (h,w,c)`) or "name".
        smallest: leave out images with a shorter side.
        verify: decode every image, to leave out truncated ones, instead of reading its header.
        workers: processes.
        force: write the list anew, with these options.

    Returns:
        `written` or `present` is 1 for the list; images left out are among skipped and failed, names in the
        list without an image among failed.

    Raises:
        ConfigError: unknown form, or the list is a folder, or was made with other options, of another folder,
            or by other means.
        DataError: no images.
    """
    if form not in FORMS:
        raise ConfigError(f"the form of a list is shape or name, got {form!r}")
    output = Path(output)
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; give the name of a text file")
    images = {path.relative_to(folder).as_posix(): path for path in gather_images(folder)}
    options = {"form": form, "smallest": smallest, "verify": verify}
    record = Record(output.parent, f"list {output.name}", options, source=folder)
    lines = {} if force or not output.exists() else _read_list(output, record, form)
    present = bool(lines)
    missing = [path for name, path in images.items() if name not in lines]
    job = partial(_inspect, root=folder, smallest=smallest, verify=verify)
    summary = run_jobs(job, missing, title="list", root=folder, workers=workers)
    gone = [name for name in lines if name not in images]
    summary.failed |= dict.fromkeys(gone, "is in the list, not in the folder; --force writes the list anew")
    if summary.found:
        lines |= {
            name: f"{name} ({shape})" if form == "shape" else name for name, shape in summary.found.items()
        }
        ordered = [lines[name] for name in (*images, *gone) if name in lines]
        atomic_write(output, "\n".join(ordered) + "\n")
        record.write()
    summary.written = int(bool(summary.found))
    summary.present = int(present and not summary.found)
    return summary


def _read_list(path: Path, record: Record, form: str) -> dict[str, str]:
    """Lines of a list that is there, by the names in them.

    Raises:
        ConfigError: it was made with other options or by other means.
    """
    record.require(path, "--force writes it anew, or give another name")
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line.rpartition(" (")[0] if form == "shape" else line: line for line in lines if line}


def _inspect(path: Path, *, root: str | Path, smallest: int, verify: bool) -> Outcome:
    check_listable(path.relative_to(root).as_posix())
    height, width, channels = _header(path)
    if verify:
        decode_image(path)
    if min(height, width) < smallest:
        return Outcome(skipped=f"{width} x {height} has a side below {smallest}")
    return Outcome(found=f"{height},{width},{channels}")


def _header(path: Path) -> tuple[int, int, int]:
    """Height, width and channels of an image as it is read, upright, from its header.

    Raises:
        DataError: it has none.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            height, width = (image.width, image.height) if turned else (image.height, image.width)
            return height, width, 1 if image.mode in _GRAY else 3
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image: {error}") from None
