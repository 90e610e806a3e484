"""Paddle's .pdparams and .pdopt without `paddle.load`, which would execute what a file asks for.

Every callable that a genuine file names is replaced by a stub of our own that only assembles arrays; anything
else is refused by its name. Genuine files of the static graph even contain `builtins.eval('data', {'data':
array})`; that exact form is understood without evaluating anything.
"""

from __future__ import annotations

import io
import mmap
import pickle
from collections.abc import Mapping
from typing import IO, Any, ClassVar, Protocol

import numpy as np

from ppsr.weights.opcodes import CorruptFile, UnsafeFile, is_plain_key, scan

__all__ = ["dump_state", "parse_pdparams", "stream_state"]

_DTYPES = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16"))
_BIG = "UnpackBigParamInfor@@"
_NAMES = "StructuredToParameterName@@"
_MAX_DEPTH = 64
_MAX_NODES = 1_000_000


class _Sink(Protocol):
    def write(self, content: Any, /) -> Any: ...


class _Stub:
    """A callable stand-in that a pickle cannot alter."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnsafeFile("refused: the file tries to change a builder")

    def __setstate__(self, state: Any) -> None:
        raise UnsafeFile("refused: the file tries to change a builder")


class _Dtype:
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

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class _Array:
    """numpy's _reconstruct(ndarray, (0,), b'b'), then its state (version, shape, dtype, fortran, bytes)."""

    __slots__ = ("value",)

    def __init__(self) -> None:
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
    size = 1
    for n in shape:
        size *= n
    kind = dtype.numpy()
    if size * kind.itemsize != len(content):
        raise CorruptFile(f"array of shape {shape} has {len(content)} bytes")
    return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")


class _Reconstruct(_Stub):
    __slots__ = ()

    def __call__(self, *_: Any) -> _Array:
        return _Array()


class _Scalar(_Stub):
    __slots__ = ()

    def __call__(self, dtype: Any, content: Any) -> Any:
        return _from_bytes((), dtype, False, content)[()]


class _Encode(_Stub):
    """_codecs.encode(text, 'latin1'), how protocol 2 writes bytes."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any = "latin1") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise UnsafeFile("refused: encoding other than latin1")
        return text.encode("latin1")


class _Eval(_Stub):
    """The one form in which genuine files name `eval`; nothing is evaluated."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        known = len(arguments) == 2 and arguments[0] == "data" and isinstance(arguments[1], dict)
        if known and set(arguments[1]) == {"data"}:
            return arguments[1]["data"]
        raise UnsafeFile("refused: builtins.eval")


class _Sequence(_Stub):
    __slots__ = ()

    def __call__(self, items: Any = ()) -> tuple:
        if not isinstance(items, (list, tuple, set)):
            raise CorruptFile("damaged tuple")
        return tuple(items)


class _Dict(_Stub):
    __slots__ = ()

    def __call__(self, items: Any = ()) -> dict:
        try:
            pairs = [(key, value) for key, value in (items.items() if isinstance(items, dict) else items)]
        except (TypeError, ValueError):
            raise CorruptFile("damaged dictionary") from None
        if not all(is_plain_key(key) for key, _ in pairs):
            raise UnsafeFile("refused: a dictionary with keys that are not texts or numbers")
        return dict(pairs)


class _Bytes(_Stub):
    """bytes() without arguments, how protocol 2 writes those of an empty array."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> bytes:
        if arguments:
            raise UnsafeFile("refused: bytes of something")
        return b""


class _NdarrayType(_Stub):
    __slots__ = ()


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_GLOBALS: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _Reconstruct() for module in _MULTIARRAY},
    **{(module, "scalar"): _Scalar() for module in _MULTIARRAY},
    ("numpy", "ndarray"): _NdarrayType(),
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encode(),
    ("collections", "OrderedDict"): _Dict(),
    **{(module, "tuple"): _Sequence() for module in ("builtins", "__builtin__")},
    **{(module, "set"): _Sequence() for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _Bytes() for module in ("builtins", "__builtin__")},
    **{(module, "eval"): _Eval() for module in ("builtins", "__builtin__")},
}


class _Reader(pickle.Unpickler):
    allowed: ClassVar[Mapping[tuple[str, str], Any]] = _GLOBALS

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise UnsafeFile(f"refused: the file asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafeFile("refused: persistent object")


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
        value = _merge_big(_plain(_Reader(stream or io.BytesIO(content), encoding="latin1").load()))
    except (UnsafeFile, CorruptFile) as error:
        raise type(error)(f"{source}: {error}") from None
    except Exception as error:  # damaged pickles raise nearly every built-in class
        raise CorruptFile(f"{source}: damaged data: {type(error).__name__}: {error}") from None
    return value


def _plain(root: Any) -> Any:
    """Arrays out of their stand-ins, Paddle's (name, array) tensors to arrays.

    Nodes are counted, since a small file can name one list very many times.
    """
    nodes = 0

    def walk(value: Any, depth: int) -> Any:
        nonlocal nodes
        nodes += 1
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise UnsafeFile("refused: nested too deeply or too large")
        if isinstance(value, _Array):
            if value.value is None:
                raise CorruptFile("array without contents")
            return value.value
        if isinstance(value, dict):
            return {key: walk(item, depth + 1) for key, item in value.items() if key != _NAMES}
        pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)
        if pair and isinstance(value[1], _Array):
            return walk(value[1], depth + 1)
        if isinstance(value, (list, tuple)):
            return type(value)(walk(item, depth + 1) for item in value)
        if isinstance(value, (_Stub, _Dtype)) or value is _Dtype:
            raise UnsafeFile("refused: a builder stored as data")
        return value

    return walk(root, 0)


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
