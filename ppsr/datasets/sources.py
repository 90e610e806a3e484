"""Image sources of data sets: folders, and LMDB stores in BasicSR's layout.

An image in a store has a path as if the store were a folder: `<folder>.lmdb/<key>.png`. So everything that
works with the paths of files, such as lists and pairing by name, works with stores too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ppsr import imaging
from ppsr.errors import ConfigError, DataError
from ppsr.files import read_regular
from ppsr.imaging.io import decode_content, decode_image, to_rgb
from ppsr.imaging.reading import image_header

STORE_SUFFIX = ".lmdb"
STORE_LIST = "meta_info.txt"
_LINE = re.compile(r"(?P<key>.+)\.\w+ \((?P<shape>\d+,\d+,\d+)\)( \d+)?")


def load_lmdb() -> ModuleType:
    """The optional library."""
    try:
        import lmdb
    except ImportError:
        raise ConfigError("LMDB stores need the library lmdb: pip install lmdb") from None
    return lmdb


@cache
def open_store(folder: Path) -> Any:
    """A store to read from, opened once: LMDB forbids a second opening in a process and in its copies."""
    lmdb = load_lmdb()
    if not (folder / "data.mdb").is_file():
        raise DataError(f"there is no LMDB store {folder}")
    try:
        store = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise DataError(f"{folder} is not a readable LMDB store: {error}") from None
    whole = (store.info()["last_pgno"] + 1) * store.stat()["psize"]
    if (folder / "data.mdb").stat().st_size < whole:  # reading what is missing would end the process
        store.close()
        raise DataError(f"{folder}/data.mdb is cut off: it should have at least {whole} bytes")
    return store


@contextmanager
def reading_store(folder: Path) -> Iterator[Any]:
    """A transaction that reads; DataError where the store is missing or damaged."""
    try:
        with open_store(folder).begin() as read:
            yield read
    except load_lmdb().Error as error:
        raise DataError(f"{folder} is damaged: {error}") from None


def close_stores() -> None:
    """Forget all open stores, as when one was replaced on disk."""
    open_store.cache_clear()
    _store_shapes.cache_clear()


def read_store_list(folder: Path) -> dict[str, tuple[int, ...]]:
    """Keys and shapes (height, width, channels) by the list in a store."""
    try:
        lines = read_regular(folder / STORE_LIST).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{folder} has no readable {STORE_LIST}: {error}") from None
    found = {}
    for line in filter(str.strip, lines):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise DataError(f"{folder}/{STORE_LIST} has the line {line!r}; expected 'name.png (h,w,c) level'")
        found[match["key"]] = tuple(map(int, match["shape"].split(",")))
    return found


def list_source(folder: Path) -> list[Path]:
    """Images of a store in the order of its list, or of a folder, recursively, sorted."""
    if folder.suffix == STORE_SUFFIX:
        return [folder / f"{key}.png" for key in read_store_list(folder)]
    return imaging.list_images(folder, recursive=True)


def read_samples(path: Path, value_range: Sequence[float] | None = None) -> np.ndarray:
    """An image of a folder or store in its own sample type: H x W, or H x W x C; see `decode_image`."""
    if path.parent.suffix != STORE_SUFFIX:
        return decode_image(path, value_range=value_range)
    with reading_store(path.parent) as read:
        return decode_content(read.get(path.stem.encode()) or b"", path)


def with_channels(image: np.ndarray, channels: int, path: Path) -> np.ndarray:
    """An image as H x W x `channels`; gray is repeated for three, and nothing else is converted."""
    own = 1 if image.ndim == 2 else image.shape[2]
    if own == channels:
        return image[..., None] if image.ndim == 2 else image
    if own == 1 and channels == 3:
        return to_rgb(image if image.ndim == 2 else image[..., 0])
    raise DataError(
        f"{path} has {own} channels (bands), but the network takes {channels}; choose images or a network "
        "with as many"
    )


@lru_cache(4)
def _store_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    return read_store_list(folder)


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of an image of a folder or store as they are stored, from its header."""
    if path.parent.suffix == STORE_SUFFIX:
        height, width, *_ = _store_shapes(path.parent)[path.stem]
        return height, width
    header = image_header(path)
    return header.height, header.width
