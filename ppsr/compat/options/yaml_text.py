"""A finished conversion as the text of a config file."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import yaml

from ppsr.compat.options.source import Conversion

__all__ = ["notes_of", "to_text"]

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
