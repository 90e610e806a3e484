"""Finding pictures, and surviving broken ones: named, counted, replaced; too many end the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ppsr.errors import DataError
from ppsr.imaging.io import list_images

__all__ = ["BadFiles", "gather_pictures", "pair_by_name"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BAD_SHARE = 0.01


class BadFiles:
    """Reads items; a broken one is replaced by the next index, the same in every run.

    The count is per process: every loader worker keeps its own.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.bad: set[int] = set()

    def read(self, index: int, reader: Callable[[int], T]) -> T:
        """The first readable item from `index` on.

        Raises:
            DataError: more than 1 % of the items (and more than one) are broken.
        """
        for offset in range(self.total):
            candidate = (index + offset) % self.total
            if candidate in self.bad:
                continue
            try:
                return reader(candidate)
            except DataError as error:
                self.bad.add(candidate)
                logger.warning(
                    "bad picture %d of %d replaced by the next: %s", len(self.bad), self.total, error
                )
                if len(self.bad) > max(1, _BAD_SHARE * self.total):
                    raise DataError(
                        f"{len(self.bad)} of {self.total} pictures are broken, more than 1 %; the "
                        f"last: {error}"
                    ) from None
        raise DataError(f"none of {self.total} pictures can be read")


def gather_pictures(folder: str | Path, meta_info: str | Path | None = None) -> list[Path]:
    """Pictures of a folder, recursively, or those that a list names.

    Args:
        folder: where they lie.
        meta_info: text file with a relative name per line; anything after the first space, such as a shape,
            is ignored.

    Raises:
        DataError: missing folder or list, or nothing in it; the message tells what to do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"there is no picture folder {folder}. data/README.md tells the layouts and where each "
            f"set comes from; "
            "`ppsr prepare samples` makes a small set, used by -o dataset.train.gt_folder=data/samples/train"
        )
    if meta_info is None:
        pictures = list_images(folder, recursive=True)
    else:
        try:
            lines = Path(meta_info).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DataError(f"cannot read the list {meta_info}: {error.strerror}") from None
        pictures = [folder / line.split(" ")[0].strip() for line in lines if line.strip()]
    if not pictures:
        raise DataError(f"{folder} holds no pictures (png, jpg, webp, bmp, tif)")
    return pictures


def pair_by_name(gt: Sequence[Path], lq_folder: Path, template: str) -> list[tuple[Path, Path]]:
    """Pair HR pictures with LR ones of the same base name.

    Raises:
        DataError: partners are missing; the first few are named.
    """
    available = {p.stem: p for p in list_images(lq_folder, recursive=True)}
    wanted = [(path, template.format(path.stem)) for path in gt]
    missing = [name for _, name in wanted if name not in available]
    if missing:
        raise DataError(
            f"{lq_folder} lacks the partners of {len(missing)} HR pictures, such as {missing[:3]}; "
            "set lq_folder or filename_tmpl"
        )
    return [(path, available[name]) for path, name in wanted]
