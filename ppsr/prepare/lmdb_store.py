"""Images in one LMDB store, in BasicSR's layout: PNG bytes by name, and `meta_info.txt`."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ppsr.datasets.gather import gather_images
from ppsr.datasets.sources import (
    STORE_LIST,
    STORE_SUFFIX,
    close_stores,
    load_lmdb,
    read_store_list,
    reading_store,
)
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write
from ppsr.imaging.io import decode_content, decode_image
from ppsr.prepare.jobs import Summary, note_options, parallel_map
from ppsr.prepare.lists import check_listable

__all__ = ["make_lmdb", "verify_lmdb"]

_FIRST_MAP = 64 << 20


def make_lmdb(
    source: str | Path, target: str | Path, *, level: int = 1, workers: int | None = None, force: bool = False
) -> Summary:
    """Pack a folder of images into `<target>` (ending in .lmdb), lossless.

    The store is written under a temporary name and moved when it is complete. Its room is doubled whenever it
    is full, so it never has to be guessed.

    Args:
        source: images, searched recursively; their names without suffix are the keys.
        level: PNG compression, 0 to 9.
        workers: processes that encode.
        force: replace a store that is there.

    Returns:
        Where a store is there, images that are only in it or only in the source are among the failed.

    Raises:
        ConfigError: the name does not end in .lmdb, the library is missing, the store was made of another
            source, with another level or by other means, or it and the source are in each other.
        DataError: no images, or two of one name.
    """
    lmdb, source, target = load_lmdb(), Path(source), Path(target)
    if target.suffix != STORE_SUFFIX:
        raise ConfigError(f"the name of a store must end in {STORE_SUFFIX}, got {target}")
    if not 0 <= level <= 9:
        raise ConfigError(f"a PNG compression must be 0 to 9, got {level}")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file; give another name")
    paths = gather_images(source)
    read, written = source.resolve(), target.resolve()
    if written.is_relative_to(read) or read.is_relative_to(written):  # a store is replaced as a whole
        raise ConfigError(f"{target} and the source {source} are in each other; give another folder")
    images = {path.stem: path for path in paths}
    if double := [path for path in paths if images[path.stem] != path]:
        raise DataError(f"{double[0]} and {images[double[0].stem]} have the same name; rename one")
    if target.exists() and not force:
        note_options(target, "lmdb", {"level": level}, source, required=True)
        listed = read_store_list(target).keys()
        summary = Summary(present=len(listed & images.keys()))
        differing = {name: "is in the store, not in the source" for name in sorted(listed - images.keys())}
        differing |= {name: "is in the source, not in the store" for name in sorted(images.keys() - listed)}
        summary.failed = {name: f"{text}; --force recreates the store" for name, text in differing.items()}
        return summary
    growing = target.with_name(f".{target.name}.growing")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    summary, lines = Summary(), {}
    try:
        # one fsync at the end: an interrupted store is written again
        with lmdb.open(str(growing), map_size=_FIRST_MAP, meminit=False, sync=False) as store:
            encode = partial(_encoded, level=level)
            for path, (content, shape, trouble) in parallel_map(encode, paths, workers, title="lmdb"):
                if trouble:
                    summary.failed[path.relative_to(source).as_posix()] = trouble
                else:
                    _put(store, path.stem, content)
                    lines[path.stem] = f"{path.stem}.png ({','.join(map(str, shape))}) {level}\n"
            store.sync(True)
    except lmdb.Error as error:
        raise DataError(f"{growing} cannot be written: {error}") from None
    summary.written = len(lines)
    if not lines:
        shutil.rmtree(growing)
        return summary
    atomic_write(growing / STORE_LIST, "".join(lines[key] for key in sorted(lines)))
    if target.exists():
        shutil.rmtree(target)
    growing.rename(target)
    note_options(target, "lmdb", {"level": level}, source)
    close_stores()
    return summary


def _encoded(path: Path, *, level: int) -> tuple[bytes, tuple[int, ...], str]:
    """PNG bytes and shape of an image, or why there are none."""
    try:
        check_listable(path.stem)
        image = decode_image(path)
        planes = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
        _, buffer = cv2.imencode(".png", planes, [cv2.IMWRITE_PNG_COMPRESSION, level])
    except (DataError, cv2.error) as error:
        return b"", (), str(error)
    return buffer.tobytes(), (*image.shape, 1)[:3], ""


def _put(store: Any, key: str, value: bytes) -> None:
    """Write an entry, with twice the room if it does not fit."""
    full = load_lmdb().MapFullError
    while True:
        try:
            with store.begin(write=True) as transaction:
                transaction.put(key.encode(), value)
            return
        except full:
            store.set_mapsize(store.info()["map_size"] * 2)


def verify_lmdb(target: str | Path) -> Summary:
    """Decode every image of a store and compare with its list; what differs is among the failed.

    Raises:
        ConfigError: the library is missing.
        DataError: there is no store, or no list.
    """
    target = Path(target)
    summary = Summary()
    with reading_store(target) as read:
        listed = read_store_list(target)
        stored = {
            key.decode(errors="backslashreplace") for key in read.cursor().iternext(keys=True, values=False)
        }
        summary.failed |= {key: "is in the store, not in the list" for key in sorted(stored - set(listed))}
        for key, shape in tqdm(listed.items(), desc="verify", unit="image", disable=None):
            if trouble := _difference(read.get(key.encode()), shape, f"{target}/{key}"):
                summary.failed[key] = trouble
            else:
                summary.present += 1
    close_stores()
    return summary


def _difference(content: bytes | None, listed: tuple[int, ...], where: str) -> str:
    """How a stored image differs from the list; "" if it does not."""
    if content is None:
        return "is in the list, not in the store"
    try:
        shape = (*decode_content(content, where).shape, 1)[:3]
    except DataError as error:
        return str(error)
    return "" if shape == listed else f"the list says {listed}, the store holds {shape}"
