"""Images in one LMDB store, in BasicSR's layout: PNG bytes by name, and `meta_info.txt` beside them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ppsr.datasets.sources import (
    STORE_LIST,
    STORE_SUFFIX,
    close_stores,
    load_lmdb,
    open_store,
    read_store_list,
)
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write
from ppsr.imaging.io import decode_content, decode_image
from ppsr.prepare.jobs import Outcome, Summary, check_listable, gather_unique, ordered_map
from ppsr.prepare.records import Record, claim

__all__ = ["make_lmdb", "verify_lmdb"]

_COMMAND = "lmdb"
_FIRST_MAP = 64 << 20
_BATCH_BYTES = 32 << 20


def make_lmdb(
    source: str | Path,
    target: str | Path,
    *,
    level: int = 1,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Pack a folder of images into `<target>` (ending in .lmdb), lossless.

    The store grows beside its final name and is moved when it is complete; an interrupted run goes on where
    it stopped. Its room is doubled whenever it is full, so it never has to be guessed. A store that is there
    gets the images that it lacks: new ones, and those that could not be read before.

    Args:
        source: images, searched recursively; their names without suffix are the keys.
        target: folder of the store.
        level: PNG compression, 0 to 9.
        workers: processes that encode.
        force: replace a store that is there.

    Returns:
        Images that are in the store and no longer in the source are among failed.

    Raises:
        ConfigError: the name does not end in .lmdb, the library is missing, or the store, or what an
            interrupted run left of it, was made of another source, with other options, or by other means.
        DataError: no images, or two of one name.
    """
    lmdb, target = load_lmdb(), Path(target)
    if target.suffix != STORE_SUFFIX:
        raise ConfigError(f"the name of a store ends in {STORE_SUFFIX}, got {target}")
    if not 0 <= level <= 9:
        raise ConfigError(f"a PNG compression is 0 to 9, got {level}")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file; give another name")
    images = gather_unique(source, recursive=True)
    growing = target.with_name(f".{target.name}.growing")
    options = {"level": level}
    replace = force and target.exists()
    if target.exists() and not force:
        record = Record(target, _COMMAND, options, source=source)
        record.require(target, "--force replaces it, or give another name")
        listed = read_store_list(target)
        if all(path.stem in listed for path in images):
            return _with_gone(Summary(present=len(images)), listed, images)
        shutil.rmtree(growing, ignore_errors=True)
        close_stores()
        target.rename(growing)
    elif force:
        shutil.rmtree(growing, ignore_errors=True)
    claim(growing, _COMMAND, options, source=source, outputs=[target], recursive=True)
    try:
        # room for what is there already; LMDB refuses to open a store with less
        size = max(_FIRST_MAP, 2 * _file_size(growing / "data.mdb"))
        with lmdb.open(str(growing), map_size=size, readahead=False, meminit=False) as store:
            summary = _fill(store, images, root=source, level=level, workers=workers)
            shapes = dict(_shapes(store))
    except lmdb.Error as error:
        raise DataError(
            f"{growing} cannot be written: {error}; if it is damaged, remove it and run again"
        ) from None
    if not shapes:
        shutil.rmtree(growing)
        return summary
    lines = [f"{key}.png ({','.join(map(str, shape))}) {level}\n" for key, shape in shapes.items()]
    atomic_write(growing / STORE_LIST, "".join(lines))
    if replace:
        shutil.rmtree(target)
    growing.rename(target)
    close_stores()
    return _with_gone(summary, shapes, images)


def _with_gone(summary: Summary, keys: Iterable[str], images: list[Path]) -> Summary:
    """Add what is in the store and no longer in the source."""
    stems = {path.stem for path in images}
    gone = [key for key in keys if key not in stems]
    summary.failed |= dict.fromkeys(gone, "is in the store, not in the source; --force makes the store anew")
    return summary


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fill(store: Any, images: list[Path], *, root: str | Path, level: int, workers: int | None) -> Summary:
    """Encode and store what is not there yet."""
    with store.begin() as read:
        known = {p for p in images if read.get(p.stem.encode(errors="surrogateescape")) is not None}
    rest = [path for path in images if path not in known]
    summary = Summary(present=len(known))
    batch: dict[str, bytes] = {}
    with ordered_map(partial(_encoded, level=level), rest, workers) as results:
        bar = tqdm(results, total=len(rest), desc="lmdb", unit="image", disable=None)
        for path, (content, trouble) in zip(rest, bar, strict=True):
            name = path.relative_to(root).as_posix()
            summary.add(name, Outcome(written=int(not trouble), failed=trouble))
            if not trouble:
                batch[path.stem] = content
            if sum(map(len, batch.values())) >= _BATCH_BYTES:
                _put(store, batch)
                batch = {}
    _put(store, batch)
    return summary


def _encoded(path: Path, *, level: int) -> tuple[bytes, str]:
    """PNG bytes of an image, or why there are none."""
    try:
        check_listable(path.stem)
        image = decode_image(path)
    except DataError as error:
        return b"", str(error)
    planes = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    _, buffer = cv2.imencode(".png", planes, [cv2.IMWRITE_PNG_COMPRESSION, level])
    return buffer.tobytes(), ""


def _put(store: Any, batch: dict[str, bytes]) -> None:
    """Write a batch in one transaction, with twice the room if it does not fit."""
    full = load_lmdb().MapFullError
    while True:
        try:
            with store.begin(write=True) as transaction:
                for key, value in batch.items():
                    transaction.put(key.encode(), value)
            return
        except full:
            store.set_mapsize(store.info()["map_size"] * 2)


def _shapes(store: Any) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Keys and shapes of a store, sorted by key, from the headers of the PNG files."""
    with store.begin(buffers=True) as read:
        for key, value in read.cursor():
            width, height = (int.from_bytes(value[start : start + 4], "big") for start in (16, 20))
            yield bytes(key).decode(), (height, width, 1 if value[25] == 0 else 3)


def verify_lmdb(target: str | Path) -> Summary:
    """Decode every image of a store and compare with its list; what differs is among the failed.

    Raises:
        ConfigError: the library is missing.
        DataError: there is no store, or no list.
    """
    target = Path(target)
    store, listed = open_store(target), read_store_list(target)
    summary = Summary()
    with store.begin() as read:
        stored = {key.decode() for key in read.cursor().iternext(keys=True, values=False)}
        summary.failed |= {key: "is in the store, not in the list" for key in sorted(stored - set(listed))}
        for key, shape in tqdm(listed.items(), desc="verify", unit="image", disable=None):
            summary.add(key, _checked(read.get(key.encode()), shape, f"{target}/{key}"))
    close_stores()
    return summary


def _checked(content: bytes | None, listed: tuple[int, ...], where: str) -> Outcome:
    if content is None:
        return Outcome(failed="is in the list, not in the store")
    try:
        image = decode_content(content, where)
    except DataError as error:
        return Outcome(failed=str(error))
    shape = (*image.shape[:2], 1 if image.ndim == 2 else image.shape[2])
    if shape != listed:
        return Outcome(failed=f"the list says {listed}, the store holds {shape}")
    return Outcome(present=1)
