"""YAML text -> plain values, with the line of every key. Nothing is executed, nothing is guessed.

Scalars follow YAML 1.2's core schema, so that ``1e-4`` is a number, ``NO`` a string and ``010`` ten.
PaddleGAN's configurations write tuples as strings, such as ``(2, 4)``; these are read as lists of literals.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import yaml

from ppsr.errors import ConfigError
from ppsr.files import read_regular

Lines = dict[tuple[str, ...], str]
"""Path of a key -> where it was written, such as ``configs/x.yaml:12``."""

_MAX_BYTES = 1_000_000
_MAX_NODES = 100_000
_MAX_DEPTH = 64
_MAX_DIGITS = 100  # of a whole number; a longer one is a float, as in YAML's core schema
_LONGEST_TUPLE = 1000  # characters

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TEMPLATE = re.compile(r"\{\}[^\s\[\]{},:#]+")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # how Python reads such bytes of a command line
_SPECIAL = {"": None, "~": None, "null": None, "true": True, "false": False}
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)


def _plain_scalar(text: str) -> Any:
    if text.lower() in _SPECIAL:
        return _SPECIAL[text.lower()]
    if _INT.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return _tuple_text(text)


def _tuple_text(text: str) -> Any:
    """Read ``(2, 4)`` as a list; every other text stays as it is."""
    if not (text.startswith("(") and text.endswith(")")) or len(text) > _LONGEST_TUPLE:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return list(value) if isinstance(value, tuple) else value


class _Builder:
    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: Lines = {}
        self.count = 0

    def at(self, node: yaml.Node) -> str:
        return f"{self.source}:{node.start_mark.line + 1}"

    def build(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        self.count += 1
        if self.count > _MAX_NODES:
            raise ConfigError(f"{self.source}: more than {_MAX_NODES} values after expanding aliases")
        if len(path) > _MAX_DEPTH:
            raise ConfigError(f"{self.at(node)}: nested deeper than {_MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        self._check_tag(node)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(child, (*path, str(i))) for i, child in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode) or node.style:  # quoted or block text
            return _tuple_text(node.value)
        return _plain_scalar(node.value)

    def _item(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        self.lines[path] = self.at(node)
        return self.build(node, path)

    def _check_tag(self, node: yaml.Node) -> None:
        """Refuse tags that would build objects; `!!float 1e-7` and its kin are harmless and common."""
        core = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}
        if node.tag not in core and not node.tag.startswith("tag:yaml.org,2002:timestamp"):
            raise ConfigError(
                f"{self.at(node)}: the tag '{node.tag}' is refused; a configuration holds plain values only"
            )

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        self._check_tag(node)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self.at(key_node)}: a key must be plain text")
            key = key_node.value
            place = (*path, key)
            if key in result:
                first = self.lines[place]
                raise ConfigError(f"{self.at(key_node)}: the key '{key}' is given twice; first at {first}")
            self.lines[place] = self.at(key_node)
            result[key] = self.build(value_node, place)
        return result


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # 30 times faster in C
    """Composes nodes without implicit types; `_Builder` decides on the values."""


_Loader.yaml_implicit_resolvers = {}


def parse_yaml(text: str, source: str) -> tuple[Any, Lines]:
    """Parse YAML text.

    Raises:
        ConfigError: not YAML, duplicate key, a tag that would build an object, or absurd size.
    """
    if len(text.encode()) > _MAX_BYTES:
        raise ConfigError(f"{source}: larger than {_MAX_BYTES} bytes; this is not a configuration")
    try:
        _check_size(text, source)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if mark and "\t" in "".join(text.splitlines()[mark.line : mark.line + 1]):
            problem += "; the line has a tab, where YAML needs spaces"
        raise ConfigError(f"{where}: not valid YAML: {problem}") from None
    builder = _Builder(source)
    return (builder.build(node, ()) if node is not None else {}), builder.lines


def _check_size(text: str, source: str) -> None:
    """Refuse what is nested too deeply or too long, before recursive code builds it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            mark = event.start_mark
            line = 0 if mark is None else mark.line + 1
            raise ConfigError(f"{source}:{line}: nested deeper than {_MAX_DEPTH} levels")
        if count > 2 * _MAX_NODES:
            raise ConfigError(f"{source}: more than {_MAX_NODES} values")


def parse_scalar_text(text: str, source: str) -> Any:
    """Read the value of ``-o key=value`` by the same rules as a file.

    A name with a placeholder in front, such as ``{}x4``, which no file may have without quotes, is text, and
    so is a path of bytes that are not UTF-8. A text has no comment: a folder may be ``run #2``.
    """
    if _TEMPLATE.fullmatch(text) or _NOT_UTF8.search(text):
        return text
    value = parse_yaml(text, source)[0] if text.strip() else None
    return text if isinstance(value, str) and text.startswith(f"{value} #") else value


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """Parse a YAML file.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8, or not a configuration.
    """
    try:
        text = read_regular(path).decode()
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; is it a configuration?") from None
    return parse_yaml(text, str(path))
