"""Unpickling by a table of our own builders; what else a file names is refused. `opcodes.scan` is first."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any, NoReturn

from ppsr.weights.opcodes import CorruptFile, UnsafeFile, is_plain_key

_MAX_DEPTH = 64
_MAX_NODES = 1_000_000


class Builder:
    """Stands for a name that a file may use: a function of ours, or a type, which `kind` says.

    A pickle can call it and pass it on, and cannot change it.
    """

    __slots__ = ("function", "kind")
    function: Callable[..., Any] | None
    kind: str

    def __init__(self, function: Callable[..., Any] | None = None, *, kind: str = "") -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "kind", kind)

    def __call__(self, *arguments: Any) -> Any:
        if self.function is None:
            raise UnsafeFile("refused: the file calls a type")
        return self.function(*arguments)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise UnsafeFile("refused: the file tries to change a builder")

    def __setstate__(self, state: Any) -> NoReturn:
        raise UnsafeFile("refused: the file tries to change a builder")


class Part:
    """Base of what a builder makes for another one, which is no value of a file."""

    __slots__ = ()


class Reader(pickle.Unpickler):
    """An unpickler that knows the names of a table alone.

    Args:
        table: (module, name) -> builder.
        load: gives the object of a persistent reference.
        hint: what to add to a refusal of a name, such as what the file is.
    """

    def __init__(
        self,
        stream: IO[bytes],
        table: Mapping[tuple[str, str], Builder],
        *,
        encoding: str,
        load: Callable[[Any], Any] | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(stream, encoding=encoding)
        self._table, self._load, self._hint = table, load, hint

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._table[module, name]
        except KeyError:
            raise UnsafeFile(f"refused: the file asks for {module}.{name}{self._hint}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self._load is None:
            raise UnsafeFile("refused: persistent object")
        return self._load(pid)


def mapping(items: Any = ()) -> dict[Any, Any]:
    """A dictionary of pairs, whose keys cannot be made to collide."""
    try:
        pairs = [(key, value) for key, value in (items.items() if isinstance(items, dict) else items)]
    except (TypeError, ValueError):
        raise CorruptFile("damaged dictionary") from None
    if not all(is_plain_key(key) for key, _ in pairs):
        raise UnsafeFile("refused: a dictionary with keys that are not texts or numbers")
    return dict(pairs)


def plain(root: Any, finished: Callable[[Any], Any] = lambda value: value) -> Any:
    """What a file holds, without builders, of bounded depth and size: a small file can name one list often.

    Args:
        finished: part -> value of the file; other values as they are.
    """
    nodes = 0

    def walk(value: Any, depth: int) -> Any:
        nonlocal nodes
        nodes += 1
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise UnsafeFile("refused: nested too deeply or too large")
        value = finished(value)
        if isinstance(value, dict):
            return {key: walk(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(walk(item, depth + 1) for item in value)
        if isinstance(value, (Builder, Part)):
            raise UnsafeFile("refused: a builder stored as data")
        return value

    return walk(root, 0)
