"""Finding pictures, and surviving broken ones: named, counted, replaced; too many end the run."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import TypeVar

from ppsr.datasets.sources import list_pictures
from ppsr.errors import DataError
from ppsr.imaging.io import IMAGE_SUFFIXES

__all__ = ["BadFiles", "gather_pictures", "pair_by_name"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BAD_SHARE = 0.01
# a name may hold spaces; a shape or level may follow it
_LISTED = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))}))(?:\s.*)?", re.IGNORECASE)


class BadFiles:
    """Reads items; a broken one is replaced by the next index, the same in every run.

    The marks lie in memory that loader workers share, so that all of a rank's workers count together.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._marks = RawArray("b", max(1, total))

    @property
    def bad(self) -> list[int]:
        """Indices of broken items found so far."""
        return [index for index, mark in enumerate(bytes(self._marks)) if mark]

    def read(self, index: int, reader: Callable[[int], T]) -> T:
        """The first readable item from `index` on.

        Raises:
            DataError: more than 1 % of the items (and more than one) are broken.
        """
        for offset in range(self.total):
            candidate = (index + offset) % self.total
            if self._marks[candidate]:
                continue
            try:
                return reader(candidate)
            except DataError as error:
                self._marks[candidate] = 1
                count = bytes(self._marks).count(1)
                logger.warning("bad picture %d of %d replaced by the next: %s", count, self.total, error)
                if count > max(1, _BAD_SHARE * self.total):
                    raise DataError(
                        f"{count} of {self.total} pictures are broken, more than 1 %; the last: {error}"
                    ) from None
        raise DataError(f"none of {self.total} pictures can be read")


def gather_pictures(folder: str | Path, meta_info: str | Path | None = None) -> list[Path]:
    """Pictures of a folder, recursively, or of an LMDB store, or those of them that a list names.

    Args:
        folder: where they lie; a name that ends in .lmdb is a store.
        meta_info: text file with a relative name per line; anything after it, such as a shape, is ignored.

    Raises:
        DataError: missing folder or list, or nothing in it; the message tells what to do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"there is no picture folder {folder}. data/README.md tells the layouts and where each "
            f"set comes from; "
            "`ppsr prepare samples` makes a small set in data/samples"
        )
    if meta_info is None:
        pictures = list_pictures(folder)
    else:
        try:
            lines = Path(meta_info).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DataError(f"cannot read the list {meta_info}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise DataError(f"{meta_info} is not UTF-8 text; is it a list of names?") from None
        pictures = [folder / _listed_name(line) for line in map(str.strip, lines) if line]
    if not pictures:
        raise DataError(f"{folder} holds no pictures (png, jpg, webp, bmp, tif)")
    return pictures


def _listed_name(line: str) -> str:
    match = _LISTED.fullmatch(line)
    return match[1] if match else line.split(" ", 1)[0]


def pair_by_name(gt: Sequence[Path], lq_folder: Path, template: str) -> list[tuple[Path, Path]]:
    """Pair HR pictures with LR ones of the same base name.

    Raises:
        DataError: partners are missing, or several have one name; the first few are named.
    """
    available: dict[str, Path] = {}
    doubles: dict[str, list[Path]] = {}
    for path in list_pictures(lq_folder):
        if available.setdefault(path.stem, path) != path:
            doubles.setdefault(path.stem, [available[path.stem]]).append(path)
    wanted = [(path, template.format(path.stem)) for path in gt]
    if ambiguous := [name for _, name in wanted if name in doubles]:
        raise DataError(
            f"{lq_folder} has several partners of one name: {', '.join(map(str, doubles[ambiguous[0]]))}; "
            "pictures are paired by name, whatever their sub-folder: rename them, or name a sub-folder"
        )
    missing = [name for _, name in wanted if name not in available]
    if missing:
        raise DataError(
            f"{lq_folder} lacks the partners of {len(missing)} HR pictures, such as {missing[:3]}; "
            "set lq_folder or filename_tmpl"
        )
    return [(path, available[name]) for path, name in wanted]
