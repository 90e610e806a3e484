"""Plain matrices out of MATLAB's .mat files, version 5 to 7.

SciPy's reader can bring the whole process down by a broken file; this one reads no more than real, full, 2-D
matrices of numbers, and answers everything else by an error. The layout is that of "MAT-File Format",
MathWorks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ppsr.errors import DataError

__all__ = ["read_mat"]

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_FLOAT_CLASSES, _INTEGER_CLASSES = (6, 7), range(8, 16)
_COMPLEX = 0x08
_LARGEST = 1 << 29  # bytes of one inflated matrix


class _BrokenError(Exception):
    """The bytes are no such file; says why."""


def read_mat(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read 2-D matrices by name.

    Args:
        path: a file of version 5 to 7.
        names: of the wanted variables; others are passed over.

    Returns:
        h x w arrays: float64 where MATLAB's class is double or single, otherwise integers.

    Raises:
        DataError: not such a file, damaged, a variable is missing, or is not a plain matrix.
    """
    wanted, found = set(names), {}
    try:
        content = path.read_bytes()
        for name, matrix in _variables(content, wanted):
            found[name] = matrix
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except _BrokenError as error:
        raise DataError(f"{path} cannot be read as a .mat file of version 5 to 7: {error}") from None
    missing = wanted - set(found)
    if missing:
        raise DataError(f"{path} has no variable {', '.join(sorted(missing))}")
    return found


def _variables(content: bytes, wanted: set[str]) -> Iterator[tuple[str, np.ndarray]]:
    if b"MATLAB 7.3" in content[:_HEADER]:
        raise _BrokenError("it has version 7.3; save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise _BrokenError("its header is another one")
    for kind, body in _elements(content[_HEADER:], order):
        if kind == _COMPRESSED:
            inner = next(_elements(_inflated(body), order), None)
            kind, body = inner or (0, b"")  # noqa: PLW2901  the element is what was packed
        if kind != _MATRIX:
            continue
        parts = _elements(body, order)
        flags, shape, name = (_numbers(next(parts, (0, b"")), order) for _ in range(3))
        if (text := name.tobytes().decode("ascii", "replace")) in wanted:
            yield text, _matrix(flags, shape, next(parts, (0, b"")), order)


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Kind and body of every element."""
    position = 0
    while position + 8 <= len(content):
        kind, size = (int(v) for v in np.frombuffer(content, f"{order}u4", 2, position))
        start, padding = position + 8, 0 if kind == _COMPRESSED else -size % 8
        if kind >> 16:  # up to four bytes stand inside the tag
            kind, size, start, padding = kind & 0xFFFF, kind >> 16, position + 4, 0
            if size > 4:
                raise _BrokenError("a small element is too large")
            position += 8
        else:
            position = start + size + padding
        if start + size > len(content):
            raise _BrokenError("it ends within a variable")
        yield kind, content[start : start + size]


def _inflated(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(body, _LARGEST)
    except zlib.error as error:
        raise _BrokenError(f"a variable cannot be decompressed ({error})") from None
    if not stream.eof:
        raise _BrokenError("a compressed variable is cut off or larger than 512 MB")
    return inflated


def _numbers(element: tuple[int, bytes], order: str) -> np.ndarray:
    kind, body = element
    if kind not in _NUMBERS:
        raise _BrokenError(f"an element of kind {kind} stands where numbers are expected")
    dtype = np.dtype(order + _NUMBERS[kind])
    if len(body) % dtype.itemsize:
        raise _BrokenError("an element holds a fraction of a number")
    return np.frombuffer(body, dtype)


def _matrix(flags: np.ndarray, shape: np.ndarray, element: tuple[int, bytes], order: str) -> np.ndarray:
    if not flags.size or shape.size != 2 or shape.dtype.kind != "i" or (shape < 0).any():
        raise _BrokenError("a variable is not a 2-D matrix")
    kind, bits = int(flags[0]) & 0xFF, int(flags[0]) >> 8
    if bits & _COMPLEX or kind not in (*_FLOAT_CLASSES, *_INTEGER_CLASSES):
        raise _BrokenError("a variable is not a real, full matrix of numbers")
    values, sides = _numbers(element, order), [int(side) for side in shape]
    if values.size != math.prod(sides):
        raise _BrokenError(f"a variable of {sides} holds {values.size} numbers")
    matrix = values.reshape(sides, order="F")
    return matrix.astype(np.float64) if kind in _FLOAT_CLASSES else matrix
