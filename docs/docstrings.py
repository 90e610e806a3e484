"""Docstrings of Google's form, and tables, as Markdown."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Doc", "cell", "code", "described", "parse_docstring", "table"]

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example):\s*$")
_ENTRY = re.compile(r"^(\*{0,2}[\w.]+)(?: \([^)]*\))?: (.*)$")


@dataclass
class Doc:
    """A docstring in parts: free text, and per section its entries (name, text)."""

    text: str = ""
    sections: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))


def parse_docstring(docstring: str | None) -> Doc:
    """Split a docstring of Google's form."""
    doc, section, indent = Doc(), None, 0
    text: list[str] = []
    for line in inspect.cleandoc(docstring or "").splitlines():
        heading = _SECTION.match(line)
        if heading:
            section, indent = heading[1], 0
            doc.sections[section] = []
        elif section is None:
            text.append(line)
        elif line and not line.startswith(" "):
            section = None
            text.append(line)
        elif line.strip():
            _add_line(doc.sections[section], line, indent or (indent := len(line) - len(line.lstrip())))
    doc.text = "\n".join(text).strip()
    return doc


def _add_line(entries: list[tuple[str, str]], line: str, indent: int) -> None:
    """A line of a section begins an entry, or continues the last one."""
    found = _ENTRY.match(line.strip()) if len(line) - len(line.lstrip()) == indent else None
    if found:
        entries.append((found[1], found[2]))
    elif entries:
        name, text = entries[-1]
        entries[-1] = (name, f"{text} {line.strip()}")
    else:
        entries.append(("", line.strip()))


def cell(text: str) -> str:
    """Text of a table's cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Code in a table's cell, where a bar needs no escape."""
    return f"`{' '.join(text.split())}`" if text else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def described(docstring: str | None) -> str:
    """A docstring in Markdown, its sections as lists."""
    doc = parse_docstring(docstring)
    parts = [doc.text]
    for title, entries in doc.sections.items():
        lines = [f"* {code(name) + ': ' if name else ''}{cell(text)}" for name, text in entries]
        parts.append(f"**{title}**\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)
