"""Paddle's .pdparams and .pdopt without `paddle.load`, which would execute what a file asks for.

Every callable that a genuine file names is replaced by a builder of our own that only assembles arrays;
anything else is refused by its name. Genuine files of the static graph even contain `builtins.eval('data',
{'data': array})`; that exact form is understood without evaluating anything.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any, Protocol

import numpy as np

from ppsr.weights.opcodes import CorruptFile, UnsafeFile, scan
from ppsr.weights.unpickle import Builder, Part, Reader, mapping, plain

_DTYPES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16"))
_BIG = "UnpackBigParamInfor@@"
_NAMES = "StructuredToParameterName@@"


class _Sink(Protocol):
    def write(self, content: Any, /) -> Any: ...


class _Dtype(Part):
    """numpy.dtype(text, align, copy), then its state (version, byte order, ...)."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or code not in _DTYPES:
            raise UnsafeFile(f"refused array type {code!r}")
        self.code = code
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise UnsafeFile("refused: array of foreign byte order")
        if any(part is not None for part in state[2:5]):
            raise UnsafeFile("refused: structured array type")


class _Array(Part):
    """numpy's _reconstruct(ndarray, (0,), b'b'), then its state (version, shape, dtype, fortran, bytes)."""

    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise CorruptFile("damaged array")
        _, shape, dtype, fortran, content = state
        self.value = _from_bytes(shape, dtype, bool(fortran), content)


def _from_bytes(shape: Any, dtype: Any, fortran: bool, content: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise CorruptFile("damaged array")
    if isinstance(content, str):
        content = content.encode("latin1")
    if not isinstance(content, bytes) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise CorruptFile("damaged array")
    kind = np.dtype(dtype.order + dtype.code)
    if math.prod(shape) * kind.itemsize != len(content):
        raise CorruptFile(f"array of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")


def _scalar(dtype: Any, content: Any) -> Any:
    return _from_bytes((), dtype, False, content)[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """_codecs.encode(text, 'latin1'), how protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafeFile("refused: encoding other than latin1")
    return text.encode("latin1")


def _eval(*arguments: Any) -> Any:
    """The one form in which genuine files name `eval`; nothing is evaluated."""
    known = len(arguments) == 2 and arguments[0] == "data" and isinstance(arguments[1], dict)
    if known and set(arguments[1]) == {"data"}:
        return arguments[1]["data"]
    raise UnsafeFile("refused: builtins.eval")


def _sequence(items: Any = ()) -> tuple:
    if not isinstance(items, (list, tuple, set)):
        raise CorruptFile("damaged tuple")
    return tuple(items)


def _bytes(*arguments: Any) -> bytes:
    """bytes() without arguments, how protocol 2 writes those of an empty array."""
    if arguments:
        raise UnsafeFile("refused: bytes of something")
    return b""


_BUILTINS: dict[str, Callable[..., Any]] = {
    "tuple": _sequence,
    "set": _sequence,
    "bytes": _bytes,
    "eval": _eval,
}
_ARRAYS: dict[str, Callable[..., Any]] = {"_reconstruct": _Array, "scalar": _scalar}
NUMPY = {
    ("numpy", "ndarray"): Builder(),
    ("numpy", "dtype"): Builder(_Dtype),
    ("_codecs", "encode"): Builder(_encode),
    **{(f"numpy.{m}.multiarray", n): Builder(f) for m in ("core", "_core") for n, f in _ARRAYS.items()},
}
"""What arrays and numbers of NumPy are made by."""
_TABLE = {
    **NUMPY,
    ("collections", "OrderedDict"): Builder(mapping),
    **{(m, n): Builder(f) for m in ("builtins", "__builtin__") for n, f in _BUILTINS.items()},
}


def parse_pdparams(
    content: bytes | mmap.mmap, source: str = "weights", stream: IO[bytes] | None = None
) -> Any:
    """Read the bytes of a .pdparams or .pdopt file into nested dictionaries, lists and tuples of arrays.

    Args:
        content: all bytes; a memory map is enough to look through the opcodes without copying the numbers.
        stream: the same file, open and at its start; its numbers then go straight into the arrays.

    Raises:
        UnsafeFile: the file asks for anything but arrays and containers.
        CorruptFile: damaged, truncated, or with trailing bytes.
    """
    end = scan(content, source)
    if end != len(content):
        raise CorruptFile(f"{source}: {len(content) - end} bytes after the end of the data")
    try:
        root = Reader(stream or io.BytesIO(content), _TABLE, encoding="latin1").load()
        return _merge_big(plain(root, _finished))
    except (UnsafeFile, CorruptFile) as error:
        raise type(error)(f"{source}: {error}") from None
    except Exception as error:  # damaged pickles raise nearly every built-in class
        raise CorruptFile(f"{source}: damaged data: {type(error).__name__}: {error}") from None


def _finished(value: Any) -> Any:
    """Arrays for their stand-ins and for Paddle's (name, array) tensors; automatic names are left out."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1] if isinstance(value[1], _Array) else value
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key != _NAMES}
    return stored_array(value)


def stored_array(value: Any) -> Any:
    """The array that a stand-in of one holds; other values as they are."""
    if isinstance(value, _Array):
        if value.value is None:
            raise CorruptFile("array without contents")
        return value.value
    return value


def _merge_big(value: Any) -> Any:
    """Put together tensors that protocols 2 and 3 split into slices."""
    if not isinstance(value, dict) or _BIG not in value:
        return value
    merged = {key: item for key, item in value.items() if key != _BIG}
    for key, info in value[_BIG].items():
        parts = [merged.pop(name) for name in info["slices"]]
        merged[key] = np.concatenate([part.reshape(-1) for part in parts]).reshape(info["OriginShape"])
    return merged


def dump_state(state: Mapping[str, Any]) -> bytes:
    """Bytes of a .pdparams file as PaddleGAN writes it: pickled (protocol 4) dictionaries of arrays."""
    stream = io.BytesIO()
    stream_state(state, stream)
    return stream.getvalue()


def stream_state(state: Mapping[str, Any], stream: _Sink) -> None:
    """Write what `dump_state` returns to a stream, array by array, so that it is never in memory twice."""
    pickle.Pickler(stream, protocol=4).dump(_copy(state))


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _copy(item) for key, item in value.items()}
    return np.asarray(value, order="C") if isinstance(value, np.ndarray) else value
