"""A finished conversion as the text of a config file, in the manner of those in configs/."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from ppsr.compat.options.draft import Conversion, Note

__all__ = ["notes_of", "to_text"]

_WIDTH = 110
_BLOCKS = ("model", "dataset", "validate", "load")  # sections that never stand on one line
_NUMBER_LIKE = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?")


class _Dumper(yaml.SafeDumper):
    """Numbers and texts that read back as what they are, also by YAML 1.2's rules; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_float(self, data: float) -> yaml.ScalarNode:
        if data and abs(data) < 1e-3:
            _, digits, exponent = Decimal(repr(data)).normalize().as_tuple()
            mantissa = f"{digits[0]}.{''.join(map(str, digits[1:])) or '0'}"
            sign = "-" if data < 0 else ""
            written = f"{sign}{mantissa}e{int(exponent) + len(digits) - 1}"
            return self.represent_scalar("tag:yaml.org,2002:float", written)
        return super().represent_float(data)

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "'" if _NUMBER_LIKE.fullmatch(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(float, _Dumper.represent_float)
_Dumper.add_representer(str, _Dumper.represent_str)


def to_text(conversion: Conversion, target: Path) -> str:
    """The whole file: a comment that says what it is and what is not in it, then the configuration."""
    return "".join(f"{line}\n" for line in (*_header(conversion, target), *_body(conversion.config)))


def notes_of(conversion: Conversion) -> list[str]:
    """What became of the keys that are not in the configuration, a line each, below headings."""
    groups: tuple[tuple[str, Iterable[Any]], ...] = (
        ("Without a counterpart, so lost:", conversion.lost),
        ("Needs no key here:", _by_reason(conversion.otherwise)),
        ("Null there, so unset here:", [", ".join(conversion.unset)] if conversion.unset else []),
        ("Added:", conversion.added),
    )
    return [line for title, entries in groups for line in _group(title, entries)]


def _by_reason(notes: Iterable[Note]) -> list[str]:
    """One line for all keys that share a reason."""
    grouped: dict[str, list[str]] = {}
    for note in notes:
        grouped.setdefault(note.reason, []).append(note.shown)
    return [f"{', '.join(keys)} ({reason})" for reason, keys in grouped.items()]


def _group(title: str, entries: Iterable[Any]) -> list[str]:
    lines = [f"  {entry}" for entry in entries]
    return [title, *lines] if lines else []


def _header(conversion: Conversion, target: Path) -> list[str]:
    test = "" if conversion.trains else " --evaluate-only"
    head = [
        f"Converted from {conversion.source.name}, a {conversion.kind}, by ppsr convert-config.",
        f"Command:  python -u tools/main.py --config-file {target}{test}",
    ]
    lines = []
    for line in (*head, *notes_of(conversion)):
        indent = len(line) - len(line.lstrip()) + 2
        lines += textwrap.wrap(
            line, _WIDTH - 2, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
    return [f"# {line}" for line in lines]


def _flow(value: Any, width: float) -> list[str]:
    """A value in one line, or wrapped where it is longer."""
    text = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=width)
    return [line.strip() for line in text.rstrip("\n")[1:-1].splitlines()]


def _is_flat(value: Mapping[str, Any]) -> bool:
    return not any(isinstance(entry, Mapping) for entry in value.values())


def _body(config: Mapping[str, Any], indent: int = 0) -> list[str]:
    lines: list[str] = []
    pad = " " * indent
    for key, value in config.items():
        if isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            lines.append(f"{pad}{key}:")
            for entry in value:
                first, *rest = _flow(entry, _WIDTH - indent - 24)
                lines += [f"{pad}- {first}", *(f"{pad}  {line}" for line in rest)]
            continue
        whole = f"{pad}{key}: {_flow(value, float('inf'))[0]}"
        if (
            not isinstance(value, Mapping)
            or not value
            or (len(whole) <= _WIDTH and _is_flat(value) and not (indent == 0 and key in _BLOCKS))
        ):
            lines.append(whole)
        else:
            lines += [f"{pad}{key}:", *_body(value, indent + 2)]
    return lines
