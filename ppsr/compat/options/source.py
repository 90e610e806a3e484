"""A foreign option file that is read key by key, and the configuration that grows from it.

Every key of the file ends up converted, lost (no counterpart), explained (no counterpart is needed) or null.
Keys that no converter asks for count as lost, so nothing is dropped in silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from ppsr.compat.options.checks import as_given, text
from ppsr.config.yaml_tree import Lines
from ppsr.errors import ConfigError
from ppsr.registry import Registry

__all__ = ["Component", "Conversion", "Note", "Rule", "Source", "rules"]

_MISSING: Any = object()
_SHOWN = 70  # characters of a value in a note
_HEAD = ("total_iters", "epochs", "output_dir", "seed", "enable_visualdl")
_ORDER = (*_HEAD, "model", "dataset", "lr_scheduler", "optimizer", "ema", "step")  # all others follow


class Rule(NamedTuple):
    """One row of a converter's table.

    Attributes:
        source: dotted key of the file, below the section that `Source.apply` gets.
        target: our key; None where only `neutral` means the same to us.
        convert: checks and changes the value; raises ValueError with what is needed.
        neutral: a value that needs no key of ours.
    """

    source: str
    target: str | None
    convert: Callable[[Any], Any] = as_given
    neutral: Any = _MISSING


def rules(convert: Callable[[Any], Any], *keys: str, neutral: Any = _MISSING) -> tuple[Rule, ...]:
    """Rows with the same check, each `key -> our key`, or `key` where the names are equal."""
    pairs = (key.split(" -> ") for key in keys)
    return tuple(Rule(names[0], names[-1], convert, neutral) for names in pairs)


class Component(NamedTuple):
    """Our name of a network or loss, its options with other names, and those that the file has no key for."""

    name: str
    renames: Mapping[str, str] = {}
    fixed: Mapping[str, Any] = {}


class Note(NamedTuple):
    """A key of the file that became no key of ours, and the reason."""

    key: str
    value: Any
    reason: str = ""

    @property
    def shown(self) -> str:
        """The key, and its value if that is no section."""
        shown = str(self.value)
        shown = f"{shown[: _SHOWN - 3]}..." if len(shown) > _SHOWN else shown
        return self.key if isinstance(self.value, Mapping) else f"{self.key}: {shown}"

    def __str__(self) -> str:
        return f"{self.shown} ({self.reason})" if self.reason else self.shown


@dataclass
class Conversion:
    """A finished configuration, the places that its keys come from, what is not in it, and what was added."""

    source: Path
    kind: str
    config: dict[str, Any]
    lines: Lines
    trains: bool
    lost: list[Note] = field(default_factory=list)
    explained: list[Note] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


class Source:
    """An option file being converted; keys that it leaves out have `defaults`.

    Raises:
        ConfigError: a key holds a dot, which the notation of keys cannot tell from a section.
    """

    def __init__(
        self, values: Mapping[str, Any], lines: Lines, path: Path, kind: str, defaults: Mapping[str, Any] = {}
    ) -> None:
        self.values, self.places, self.path, self.kind, self.defaults = values, lines, path, kind, defaults
        self.trains = True
        self.added: list[str] = []
        self._read: set[str] = set()
        self._notes: dict[str, tuple[bool, str]] = {}
        self._config: dict[str, Any] = {}
        self._lines: Lines = {}
        for place in lines:
            if "." in place[-1]:
                raise ConfigError(f"{lines[place]}: the key '{place[-1]}' holds a dot; rename it")

    def where(self, key: str) -> str:
        """Place of a key, or of the nearest section around it."""
        places = (self.places.get(tuple(part.split("."))) for part in _enclosing(key))
        return next(filter(None, places), str(self.path))

    def _find(self, key: str) -> Any:
        node: Any = self.values
        parts = key.split(".")
        for depth, part in enumerate(parts):
            node = self._section(".".join(parts[:depth]), node).get(part)
        return node

    def _section(self, key: str, node: Any) -> Mapping[str, Any]:
        if isinstance(node, (Mapping, list)) or node is None:
            return _children(node or {})
        raise ConfigError(f"{self.where(key)}: '{key}' is {node!r}: a mapping of keys is needed")

    def has(self, key: str) -> bool:
        """Whether a key is given and not null."""
        return self._find(key) is not None

    def keys(self, key: str) -> list[str]:
        """Keys of a section, which do not count as converted."""
        return list(self._section(key, self._find(key)))

    def peek(self, key: str, convert: Callable[[Any], Any] = as_given, default: Any = None) -> Any:
        """The value of a key, which does not count as converted."""
        value = self._find(key)
        value = self.defaults.get(key) if value is None else value
        try:
            return default if value is None else convert(value)
        except ValueError as error:
            raise ConfigError(f"{self.where(key)}: '{key}' is {value!r}: {error}") from None

    def read(self, key: str, convert: Callable[[Any], Any] = as_given, default: Any = _MISSING) -> Any:
        """The value of a key, which with all below it counts as converted."""
        if self.has(key):
            self._read.add(key)
        elif default is _MISSING and key not in self.defaults:
            raise ConfigError(f"{self.where(key)}: the key '{key}' is missing from this {self.kind}")
        return self.peek(key, convert, default)

    def row(self, key: str, table: Mapping[str, Any], what: str, hint: str = "") -> Any:
        """The row of a table that the value of a key names.

        Raises:
            ConfigError: the key is missing, or the table has no such row.
        """
        name = self.read(key, text)
        if name not in table:
            valid = ", ".join(sorted(table))
            raise ConfigError(
                f"{self.where(key)}: the {what} '{name}' has no counterpart; these have: {valid}{hint}"
            )
        return table[name]

    def put(self, target: str, value: Any, source: str = "") -> None:
        """Set a key of ours; errors about it will name the place of `source`."""
        *sections, last = target.split(".")
        node = self._config
        for part in sections:
            node = node.setdefault(part, {})
        node[last] = value
        self._lines[tuple(target.split("."))] = self.where(source)

    def apply(self, table: Iterable[Rule], source: str = "", target: str = "") -> None:
        """Convert the keys of a table that the file has."""
        for rule in table:
            key = f"{source}.{rule.source}".lstrip(".")
            if not self.has(key) and key not in self.defaults:
                continue
            value = self.peek(key, rule.convert)
            if value == rule.neutral or rule.target is not None:
                self._read.add(key)
            if value != rule.neutral and rule.target is not None:
                self.put(f"{target}.{rule.target}".lstrip("."), value, key)

    def convert(
        self, source: str, target: str, row: Component, registry: Registry, drop: Collection[str] = ()
    ) -> None:
        """Copy the options of a component that ours has too; all others stay unread and so count as lost.

        Options in `drop` are left out where they have our default.
        """
        parameters = inspect.signature(registry.get(row.name)).parameters
        self.put(f"{target}.name", row.name, source)
        for key in self.keys(source):
            ours = row.renames.get(key, key)
            if not self._is_settled(f"{source}.{key}") and ours in parameters and ours != "name":
                value = self.read(f"{source}.{key}", default=None)
                if value is not None and not (ours in drop and value == parameters[ours].default):
                    self.put(f"{target}.{ours}", value, f"{source}.{key}")
        for option, value in row.fixed.items():
            self.put(f"{target}.{option}", value, source)

    def note(self, key: str, reason: str, *, lost: bool = False) -> None:
        """Explain why a key or section needs no counterpart, or that it is lost."""
        self._notes[key] = (lost, reason)

    def _is_settled(self, key: str) -> bool:
        """Whether a key, or a section around it, is converted or noted."""
        return any(part in self._read or part in self._notes for part in _enclosing(key))

    def finish(self, reasons: Mapping[str, str]) -> Conversion:
        """The conversion; `reasons` explains the keys that match its patterns."""
        config = {key: self._config[key] for key in _ORDER if key in self._config} | self._config
        result = Conversion(self.path, self.kind, config, self._lines, self.trains, added=self.added)
        for key, (lost, reason) in self._notes.items():
            if self.has(key):
                (result.lost if lost else result.explained).append(Note(key, self._find(key), reason))
        for key, value in _leaves(self.values):
            if value is not None and not self._is_settled(key):
                reason = next((r for pattern, r in reasons.items() if fnmatchcase(key, pattern)), "")
                (result.explained if reason else result.lost).append(Note(key, value, reason))
        return result


def _enclosing(key: str) -> list[str]:
    """A key and the sections around it, inside out."""
    parts = key.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _children(node: Mapping[str, Any] | list[Any]) -> Mapping[str, Any]:
    """Entries of a section; a list is one by its indices."""
    return {str(index): entry for index, entry in enumerate(node)} if isinstance(node, list) else node


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Single values and plain lists with their dotted keys."""
    entries = _children(node) if isinstance(node, (Mapping, list)) else {}
    if entries and (isinstance(node, Mapping) or any(isinstance(entry, Mapping) for entry in node)):
        for name, child in entries.items():
            yield from _leaves(child, f"{key}.{name}".lstrip("."))
    else:
        yield key, node
