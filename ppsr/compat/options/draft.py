"""What all converters share: a source that is read key by key, and the configuration that grows from it.

Every key of the source ends in one of four places: converted, lost (no counterpart), said otherwise (a flag,
a rule of ours), or null. Whatever no converter has asked for counts as lost, so nothing is dropped in
silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ppsr.config.yaml_tree import Lines
from ppsr.errors import ConfigError

__all__ = [
    "REQUIRED",
    "Conversion",
    "Draft",
    "Note",
    "Rule",
    "flag",
    "items",
    "mapping",
    "number",
    "text",
    "whole",
]

REQUIRED: Any = object()
_NOTHING: Any = object()
_SHOWN = 70  # characters of a value in a note

# Sections in the order in which our own configurations are written.
_ORDER = (
    "total_iters",
    "epochs",
    "output_dir",
    "seed",
    "enable_visualdl",
    "model",
    "dataset",
    "lr_scheduler",
    "optimizer",
    "ema",
    "step",
    "validate",
    "log_config",
    "snapshot_config",
    "load",
)


def number(value: Any) -> int | float:
    """A finite number, a truth value not being one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a number is needed")
    return value


def whole(value: Any) -> int:
    """A whole number, also where it was written 5e3."""
    if number(value) != int(value):
        raise ValueError("a whole number is needed")
    return int(value)


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def text(value: Any) -> str:
    """Text; numbers are read as they are written."""
    if isinstance(value, (list, Mapping)):
        raise ValueError("text is needed")
    return str(value)


def items(value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise ValueError("a list is needed")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """A mapping of keys."""
    if not isinstance(value, dict):
        raise ValueError("a mapping of keys is needed")
    return value


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Rule:
    """One row of a converter's table.

    Attributes:
        source: key of the source, dotted, below the prefix that `Draft.apply` gets.
        target: our key, likewise; None where we have none, and only `neutral` means the same to us.
        convert: checks and changes the value; raises ValueError with what is needed.
        neutral: value that means what we do anyway, so that no key of ours is written.
    """

    source: str
    target: str | None
    convert: Callable[[Any], Any] = _as_it_is
    neutral: Any = _NOTHING


@dataclass(frozen=True)
class Note:
    """A key of the source that became no key of ours.

    Attributes:
        key: dotted, with its place in `where`.
        value: of the source.
        reason: what becomes of it; empty where there is nothing to say.
    """

    key: str
    value: Any
    where: str
    reason: str = ""

    @property
    def shown(self) -> str:
        """The key, and its value where that is short and no section."""
        shown = str(self.value)
        if len(shown) > _SHOWN:
            shown = f"{shown[: _SHOWN - 3]}..."
        return self.key if isinstance(self.value, Mapping) else f"{self.key}: {shown}"

    def __str__(self) -> str:
        return f"{self.shown} ({self.reason})" if self.reason else self.shown


@dataclass
class Conversion:
    """A finished configuration of ours, and what became of every key that is not in it.

    Attributes:
        config: plain nested values in our order.
        lines: our keys -> the place in the source they come from.
        lost: keys without a counterpart.
        otherwise: keys that need none; the reason says why.
        unset: keys whose value is null.
        added: what ours needs and the source does not say.
        trains: false for a source that only tests.
    """

    source: Path
    kind: str
    config: dict[str, Any]
    lines: Lines
    trains: bool
    lost: list[Note] = field(default_factory=list)
    otherwise: list[Note] = field(default_factory=list)
    unset: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


class Draft:
    """A source being converted.

    Args:
        values: nested mappings of the source.
        lines: path of a key -> where it was written.
        path: of the source, for messages.
        kind: of source, for messages.

    Raises:
        ConfigError: a key holds a dot, which the notation of keys cannot tell from a section.
    """

    def __init__(self, values: Mapping[str, Any], lines: Lines, path: Path, kind: str) -> None:
        self.values = values
        self.places = lines
        self.path = path
        self.kind = kind
        self.trains = True
        self.added: list[str] = []
        self._read: set[tuple[str, ...]] = set()
        self._notes: dict[tuple[str, ...], tuple[bool, str]] = {}
        self._config: dict[str, Any] = {}
        self._lines: Lines = {}
        for place in lines:
            if "." in place[-1]:
                raise ConfigError(f"{lines[place]}: the key '{place[-1]}' holds a dot; rename it")

    def where(self, key: str) -> str:
        """Where a key stands, or the nearest section around it."""
        parts = tuple(key.split("."))
        for end in range(len(parts), 0, -1):
            if parts[:end] in self.places:
                return self.places[parts[:end]]
        return str(self.path)

    def _find(self, key: str) -> Any:
        node: Any = self.values
        parts = key.split(".") if key else []
        for depth, part in enumerate(parts):
            if isinstance(node, list) and part.isdigit() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, Mapping):
                node = node.get(part)
            elif node is None:
                return None
            else:
                section = ".".join(parts[:depth])
                raise ConfigError(
                    f"{self.where(section)}: '{section}' is {node!r}: a mapping of keys is needed"
                )
        return node

    def has(self, key: str) -> bool:
        """Whether a key is there and not null."""
        return self._find(key) is not None

    def keys(self, key: str = "") -> list[str]:
        """Keys of a section, without counting them as read."""
        node = self._find(key)
        if node is not None and not isinstance(node, Mapping):
            raise ConfigError(f"{self.where(key)}: '{key}' is {node!r}: a mapping of keys is needed")
        return list(node or ())

    def read(self, key: str, convert: Callable[[Any], Any] = _as_it_is, default: Any = REQUIRED) -> Any:
        """The value of a key, which with all below it counts as converted.

        Raises:
            ConfigError: it is missing, or `convert` refuses it.
        """
        value = self._find(key)
        if value is None:
            if default is REQUIRED:
                raise ConfigError(f"{self.where(key)}: the key '{key}' is missing from this {self.kind}")
            return default
        self._read.add(tuple(key.split(".")))
        return self._convert(key, value, convert)

    def peek(self, key: str, convert: Callable[[Any], Any] = _as_it_is, default: Any = None) -> Any:
        """The value of a key, without counting it as converted."""
        value = self._find(key)
        return default if value is None else self._convert(key, value, convert)

    def _convert(self, key: str, value: Any, convert: Callable[[Any], Any]) -> Any:
        try:
            return convert(value)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"{self.where(key)}: '{key}' is {value!r}: {error}") from None

    def put(self, target: str, value: Any, source: str = "") -> None:
        """Set a key of ours; sections are made as needed. `source` tells where a wrong value came from."""
        *sections, last = target.split(".")
        node = self._config
        for part in sections:
            node = node.setdefault(part, {})
        node[last] = value
        self._lines[tuple(target.split("."))] = self.where(source) if source else str(self.path)

    def apply(self, rules: Iterable[Rule], source: str = "", target: str = "") -> None:
        """Convert the keys that a table names, where the source has them."""
        for rule in rules:
            key = f"{source}.{rule.source}" if source else rule.source
            if not self.has(key):
                continue
            value = self.peek(key, rule.convert)
            neutral = rule.neutral is not _NOTHING and value == rule.neutral
            if rule.target is None and not neutral:
                continue
            self._read.add(tuple(key.split(".")))
            if rule.target is not None and not neutral:
                self.put(f"{target}.{rule.target}" if target else rule.target, value, key)

    def explain(self, key: str, reason: str) -> None:
        """Note a key, or a section as a whole, that needs no counterpart."""
        self._notes[tuple(key.split("."))] = (False, reason)

    def lose(self, key: str, reason: str) -> None:
        """Note a key, or a section as a whole, that has no counterpart though it does something there."""
        self._notes[tuple(key.split("."))] = (True, reason)

    def finish(self, reasons: Mapping[str, str]) -> Conversion:
        """Close the books.

        Args:
            reasons: pattern of dotted keys -> why they need no counterpart.
        """
        config = {key: self._config[key] for key in _ORDER if key in self._config}
        config |= {key: value for key, value in self._config.items() if key not in config}
        result = Conversion(self.path, self.kind, config, self._lines, self.trains, added=list(self.added))
        for parts, (lost, reason) in self._notes.items():
            key = ".".join(parts)
            if self.has(key):
                note = Note(key, self._find(key), self.where(key), reason)
                (result.lost if lost else result.otherwise).append(note)
        for parts, value in _leaves(self.values, ()):
            if self._is_settled(parts):
                continue
            key = ".".join(parts)
            reason = next((r for pattern, r in reasons.items() if fnmatchcase(key, pattern)), "")
            if value is None:
                result.unset.append(key)
            else:
                note = Note(key, value, self.where(key), reason)
                (result.otherwise if reason else result.lost).append(note)
        return result

    def is_settled(self, key: str) -> bool:
        """Whether a key, or a section around it, is converted or noted."""
        return self._is_settled(tuple(key.split(".")))

    def _is_settled(self, parts: tuple[str, ...]) -> bool:
        enclosing = [parts[:end] for end in range(1, len(parts) + 1)]
        return any(part in self._read or part in self._notes for part in enclosing)


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Single values and plain lists with their paths; a list of mappings is a section by its indices."""
    if isinstance(node, Mapping) and node:
        children: Iterable[tuple[str, Any]] = node.items()
    elif isinstance(node, list) and any(isinstance(entry, Mapping) for entry in node):
        children = ((str(index), entry) for index, entry in enumerate(node))
    else:
        yield path, node
        return
    for key, child in children:
        yield from _leaves(child, (*path, key))
