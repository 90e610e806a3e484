"""Writing files so that they appear whole or not at all, and walking through folders."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import re
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ppsr.errors import DataError

logger = logging.getLogger(__name__)

_LONGEST_SUFFIX = 16
TEMPORARY = re.compile(r"\.tmp-\d+-[0-9a-f]{12}(\.\w+)?")
"""Names of what `atomic_path` has not moved into place."""


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `target`, moved into place when the block ends without an error.

    The temporary name keeps the suffix, so that writers which choose the format by suffix work, and is short,
    so that `target` may have the longest name that the disk takes. Part of it is drawn, as processes in
    several containers may have one number.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""
    temporary = target.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(6)}{suffix}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
    except OSError as error:
        named = error.filename is not None  # a full disk names no file
        if error.errno is not None and (not named or str(error.filename) == str(temporary)):
            error.filename = str(target)  # the name that the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(target: str | Path, content: bytes | str) -> None:
    """Write bytes or UTF-8 text to `target`, whole or not at all.

    Bytes of a file's name that are not text become escapes, which are JSON's own.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def json_number(value: float) -> float | str:
    """A number as JSON holds it; infinities and NaN, which JSON lacks, as text."""
    return value if math.isfinite(value) else str(value)


def check_regular(path: Path) -> None:
    """Raises DataError for a pipe, a socket or a device: opening a pipe waits for somebody who writes."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file")


def real_path(path: Path) -> Path:
    """The path without links; unlike `Path.resolve` also of a link that leads to itself."""
    return Path(os.path.realpath(path))


def read_regular(path: Path, most: int = 64 << 20) -> bytes:
    """The content of a regular file of at most `most` bytes: a pipe would wait and a device never end.

    Raises:
        OSError: missing, unreadable, not a regular file, or larger.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it has more than {most >> 20} MB", str(path))
    return path.read_bytes()


def lock_file(handle: IO[Any], *, shared: bool = False) -> bool | None:
    """Lock an open file until it is closed, a shared one after waiting for it.

    Returns:
        False: another process has it. None: this system or disk has no locks.
    """
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError) as error:
        logger.debug("no locks: %s", error)
        return None
    return True


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def walk_folders(root: str | Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder below `root` with the names of its folders and files, sorted, as `os.walk` gives them.

    Linked folders are entered, each real folder once: as itself rather than by a link. Links to a folder
    that holds the link are not entered. Hidden names are left out. A name that is removed from the list of
    folders is not entered.
    """
    folders, links = deque([Path(root)]), deque[Path]()
    seen: set[tuple[int, int]] = set()
    while folders or links:
        here = folders.popleft() if folders else links.popleft()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
            status = here.stat()
        except OSError as error:
            logger.warning("the folder %s is left out: %s", here, error.strerror)
            continue
        if (identity := (status.st_dev, status.st_ino)) in seen:
            continue
        seen.add(identity)
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        linked = {entry.name for entry in visible if entry.is_symlink()}
        names = [entry.name for entry in visible if _is_folder(entry)]
        yield here, names, [entry.name for entry in visible if not _is_folder(entry)]
        own = here.resolve()
        for name in names:
            if name not in linked:
                folders.append(here / name)
            elif (target := (here / name).resolve()) != own and target not in own.parents:
                links.append(here / name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
