"""A foreign option file that is read key by key, and the configuration that is made from it.

Every key of the file ends up converted, explained (it needs no counterpart), lost, or null. Keys that no
converter reads count as lost, so nothing is dropped in silence. Types are checked with the finished
configuration, where errors name the line of the option file.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ppsr.config.yaml_tree import Lines
from ppsr.errors import ConfigError
from ppsr.registry import CRITERIONS, Registry

_MISSING: Any = object()
_SHOWN = 70  # characters of a value in a note
_HEAD = ("total_iters", "epochs", "output_dir", "seed", "enable_visualdl")
_ORDER = (*_HEAD, "model", "dataset", "lr_scheduler", "optimizer", "ema", "step")  # all others follow
_KINDS = {"number": (int, float), "list": (list,)}


class Note(NamedTuple):
    """A key of the file that became no key of ours, and the reason."""

    key: str
    value: Any
    reason: str = ""

    @property
    def shown(self) -> str:
        """The key, with its value unless that is a section."""
        shown = str(self.value)
        shown = f"{shown[: _SHOWN - 3]}..." if len(shown) > _SHOWN else shown
        return self.key if isinstance(self.value, Mapping) else f"{self.key}: {shown}"


@dataclass
class Conversion:
    """A finished configuration, where its keys come from, and what else there is to say."""

    source: Path
    kind: str
    config: dict[str, Any]
    lines: Lines
    trains: bool = True
    lost: list[Note] = field(default_factory=list)
    explained: list[Note] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


class Source:
    """An option file being converted."""

    def __init__(self, values: Mapping[str, Any], lines: Lines, path: Path, kind: str) -> None:
        self.values, self.places = values, lines
        self.result = Conversion(path, kind, {}, {})
        self._read: set[str] = set()
        for place in lines:
            if "." in place[-1]:
                raise ConfigError(f"{lines[place]}: the key '{place[-1]}' contains a dot; rename it")

    def where(self, key: str) -> str:
        """Place of a key, or of the nearest section around it."""
        places = (self.places.get(tuple(part.split("."))) for part in _enclosing(key))
        return next(filter(None, places), str(self.result.source))

    def _find(self, key: str) -> Any:
        node: Any = self.values
        parts = key.split(".")
        for depth, part in enumerate(parts):
            node = self._section(".".join(parts[:depth]), node).get(part)
        return node

    def _section(self, key: str, node: Any) -> Mapping[str, Any]:
        if node is None or isinstance(node, Mapping):
            return node or {}
        raise ConfigError(f"{self.where(key)}: '{key}' is {node!r}: a mapping of keys is needed")

    def has(self, key: str) -> bool:
        """Whether a key is given and not null."""
        return self._find(key) is not None

    def keys(self, key: str) -> list[str]:
        """Keys of a section."""
        return list(self._section(key, self._find(key)))

    def peek(self, key: str, default: Any = None) -> Any:
        """The value of a key, which does not count as converted."""
        value = self._find(key)
        return default if value is None else value

    def read(self, key: str, default: Any = _MISSING, *, kind: str = "") -> Any:
        """The value of a key, which with all below it counts as converted; `kind` is "number" or "list"."""
        value = self.peek(key, default)
        if value is _MISSING:
            raise ConfigError(f"{self.where(key)}: the key '{key}' is missing from this {self.result.kind}")
        if self.has(key):
            self._read.add(key)
            if kind and (isinstance(value, bool) or not isinstance(value, _KINDS[kind])):
                raise ConfigError(f"{self.where(key)}: '{key}' is {value!r}: a {kind} is needed")
        return value

    def choose(self, key: str, table: Mapping[str, Any], what: str, target: str = "") -> Any:
        """The entry of a table that the value of a key names; it becomes the value of `target`."""
        name = str(self.read(key))
        if name not in table:
            raise ConfigError(
                f"{self.where(key)}: the {what} '{name}' has no counterpart; these have: {', '.join(table)}"
            )
        if target:
            self.put(target, table[name], key)
        return table[name]

    def put(self, target: str, value: Any, source: str = "") -> None:
        """Set a key of ours; errors about it name the place of `source`."""
        *sections, last = target.split(".")
        node = self.result.config
        for part in sections:
            node = node.setdefault(part, {})
        node[last] = int(value) if isinstance(value, float) and value.is_integer() else value  # 5e3 steps
        self.result.lines[tuple(target.split("."))] = self.where(source)

    def move(self, table: Mapping[str, str], source: str = "", target: str = "") -> None:
        """Convert the keys of a table, key of the file -> key of ours, that have a value."""
        for key, ours in table.items():
            place = f"{source}.{key}".lstrip(".")
            value = self.read(place, None)
            if value is not None:
                self.put(f"{target}.{ours}".lstrip("."), value, place)

    def component(self, source: str, target: str, name: str, registry: Registry) -> None:
        """Copy the options of a component that ours has too; the others stay unread and so count as lost."""
        try:
            parameters = inspect.signature(registry.get(name)).parameters
        except ConfigError as error:
            raise ConfigError(f"{self.where(f'{source}.type')}: {error}") from None
        self.put(f"{target}.name", name, f"{source}.type")
        unread = [key for key in self.keys(source) if not self._is_settled(f"{source}.{key}")]
        known = {*parameters, "loss_weight"} if registry is CRITERIONS else {*parameters}  # any loss has it
        self.move({key: key for key in unread if key in known and key != "name"}, source, target)

    def note(self, key: str, reason: str) -> None:
        """Explain why a section needs no counterpart."""
        self._read.add(key)
        self.result.explained.append(Note(key, self._find(key), reason))

    def _is_settled(self, key: str) -> bool:
        """Whether a key, or a section around it, is converted or noted."""
        return any(part in self._read for part in _enclosing(key))

    def finish(self, reasons: Mapping[str, str]) -> Conversion:
        """The conversion; `reasons` explains the unread keys that match its patterns."""
        result = self.result
        result.config = {key: result.config[key] for key in _ORDER if key in result.config} | result.config
        for key, value in _leaves(self.values):
            if value is not None and not self._is_settled(key):
                reason = next((r for pattern, r in reasons.items() if fnmatchcase(key, pattern)), "")
                (result.explained if reason else result.lost).append(Note(key, value, reason))
        return result


def _enclosing(key: str) -> list[str]:
    """A key and the sections around it, inside out."""
    parts = key.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Values that are not sections, with their dotted keys."""
    if isinstance(node, Mapping) and node:
        for name, child in node.items():
            yield from _leaves(child, f"{key}.{name}".lstrip("."))
    else:
        yield key, node


_WIDTH = 110
_STYLE: dict[str, Any] = {  # sections of plain values on one line, all others as blocks
    "default_flow_style": None,
    "allow_unicode": True,
    "sort_keys": False,
    "width": _WIDTH,
}


class _Dumper(yaml.SafeDumper):
    """Quotes texts that are numbers by YAML 1.2's rules, such as 1e3; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?$"), list("-+.0123456789")
)


def to_text(conversion: Conversion, target: Path) -> str:
    """The whole file: a comment on its origin and on what is not in it, then the configuration."""
    test = "" if conversion.trains else " --evaluate-only"
    lines = [
        f"Converted from {conversion.source.name}, a {conversion.kind}, by ppsr convert-config.",
        f"Command:  python -u tools/main.py --config-file {target}{test}",
        *notes_of(conversion),
    ]
    wrapper = textwrap.TextWrapper(_WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    head = ""
    for line in lines:
        wrapper.subsequent_indent = " " * (len(line) - len(line.lstrip()) + 2)
        head += "".join(f"# {part}\n" for part in wrapper.wrap(line))
    return head + yaml.dump(conversion.config, Dumper=_Dumper, **_STYLE)


def notes_of(conversion: Conversion) -> list[str]:
    """Notes on keys that are not in the configuration; equal reasons share a line."""
    explained: dict[str, list[str]] = {}
    for note in conversion.explained:
        explained.setdefault(note.reason, []).append(note.shown)
    groups = {
        "Without a counterpart, so lost:": [note.shown for note in conversion.lost],
        "Needs no key here:": [f"{', '.join(keys)} ({reason})" for reason, keys in explained.items()],
        "Added:": conversion.added,
    }
    filled = ((title, *(f"  {entry}" for entry in entries)) for title, entries in groups.items() if entries)
    return [line for group in filled for line in group]
