"""Lists of images, in both published forms: `name (h,w,c)` (BasicSR) and `name` (Real-ESRGAN)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ppsr.datasets.gather import gather_images
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Summary, parallel_map

__all__ = ["FORMS", "check_listable", "make_list"]

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

    Args:
        folder: image folder.
        form: "shape" (`name (h,w,c)`) or "name".
        smallest: leave out images with a shorter side.
        verify: decode every image, to leave out truncated ones, instead of reading its header.
        force: replace a list that is there and differs.

    Returns:
        `written` or `present` is 1 for the list; images left out are among skipped and failed.

    Raises:
        ConfigError: unknown form, or the output is a folder, or a list that differs.
        DataError: no images.
    """
    if form not in FORMS:
        raise ConfigError(f"the form of a list must be shape or name, got {form!r}")
    output, folder = Path(output), Path(folder)
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; give the name of a text file")
    images = gather_images(folder)
    summary, lines = Summary(), []
    inspect = partial(_inspect, root=folder, verify=verify)
    for path, found in parallel_map(inspect, images, workers, title="list"):
        name = path.relative_to(folder).as_posix()
        if isinstance(found, str):
            summary.failed[name] = found
        elif min(found[:2]) < smallest:
            summary.skipped[name] = f"{found[1]} x {found[0]} has a side below {smallest}"
        else:
            lines.append(f"{name} ({','.join(map(str, found))})" if form == "shape" else name)
    text = "\n".join(lines) + "\n"
    if not lines:
        return summary
    if output.exists() and output.read_bytes() == text.encode():
        summary.present = 1
        return summary
    if output.exists() and not force:
        raise ConfigError(f"{output} is there and differs from the list of {folder}; --force replaces it")
    atomic_write(output, text)
    summary.written = 1
    return summary


def check_listable(name: str) -> None:
    """Raise DataError for the name of a file that cannot be a line of a list."""
    if name.splitlines() != [name]:
        raise DataError("its name has line breaks and cannot be in a list; rename it")
    if any("\udc80" <= sign <= "\udcff" for sign in name):  # how Python passes on bytes
        raise DataError("its name is not UTF-8 and cannot be in a list; rename it")


def _inspect(path: Path, *, root: Path, verify: bool) -> tuple[int, int, int] | str:
    """Height, width and channels of an image as it is read, upright; or why it cannot be listed."""
    try:
        check_listable(path.relative_to(root).as_posix())
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            height, width = (image.width, image.height) if turned else (image.height, image.width)
            channels = 1 if image.mode in _GRAY else 3
        if verify:
            decode_image(path)
    except DataError as error:
        return str(error)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{path} is not a readable image: {error}"
    return height, width, channels
