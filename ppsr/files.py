"""Writing files so that they appear whole or not at all."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic_path", "atomic_write", "cache_folder", "json_number", "sha256"]

_LONGEST_SUFFIX = 16


def cache_folder() -> Path:
    """The user's folder for what can be made again; it need not exist."""
    if home := os.environ.get("PPSR_HOME"):
        return Path(home) / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ppsr"


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; it is moved into place when the block ends without an error.

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
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(target: str | Path, content: bytes | str) -> None:
    """Write bytes or UTF-8 text to `target`, whole or not at all.

    Bytes of a file's name that are no text become escapes, which are JSON's own.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def json_number(value: float) -> float | str:
    """A number as JSON holds it; infinities and NaN, which JSON lacks, as text."""
    return value if math.isfinite(value) else str(value)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
