"""How results were made: noted in `prepare.json` beside them, so that two makes are never mixed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ppsr.errors import ConfigError
from ppsr.files import atomic_write

__all__ = ["Record", "claim"]

_NAME = "prepare.json"


class Record:
    """The note of one command in `<folder>/prepare.json`.

    Args:
        folder: that holds the file.
        command: that made the result; with the result's name where a folder may hold several.
        options: everything that decides what a result of the same name holds.
        source: folder that is read, noted relative to `folder`, so that both may be moved together.
    """

    def __init__(self, folder: Path, command: str, options: Mapping[str, Any], *, source: str | Path) -> None:
        self.folder = folder
        self.file = folder / _NAME
        self.command = command
        self.source = Path(source)
        self.wanted = {"source": _relative(self.source, folder), **json.loads(json.dumps(options))}

    def check(self, result: Path, remedy: str) -> bool:
        """Compare with what was noted.

        Args:
            result: named in the message.
            remedy: what to do about a difference.

        Returns:
            Whether there is a note.

        Raises:
            ConfigError: the result was made with other options or of another source, or the file is broken.
        """
        before = self._read().get(self.command)
        if before is None:
            return False
        wanted = dict(self.wanted)
        noted = before.get("source")
        # without a source: by an earlier version; of another name: perhaps a link to the same folder
        if noted is None or (self.folder / noted).resolve() == self.source.resolve():
            before = {**before, "source": wanted["source"]}
        if before != wanted:
            keys = [key for key in {**wanted, **before} if before.get(key) != wanted.get(key)]
            old, new = ({key: values.get(key) for key in keys} for values in (before, wanted))
            hint = f" (if the source was only moved, correct {self.file})" if "source" in keys else ""
            raise ConfigError(f"{result} was made with {old}, now {new} is asked for; {remedy}{hint}")
        return True

    def require(self, result: Path, remedy: str) -> None:
        """As `check`, for a result that is there already.

        Raises:
            ConfigError: also where there is no note.
        """
        if not self.check(result, remedy):
            raise ConfigError(f"{result} is there, and {self.file} does not say how it was made; {remedy}")

    def write(self) -> None:
        """Note how the result is made, beside the notes of other commands."""
        atomic_write(self.file, json.dumps({**self._read(), self.command: self.wanted}, indent=1))

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            notes = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.file} is not readable: {error}; remove it") from None
        if not isinstance(notes, dict) or not all(isinstance(note, dict) for note in notes.values()):
            raise ConfigError(f"{self.file} is not the record of ppsr prepare; remove it")
        return notes


def _relative(source: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:  # on another drive
        return source.absolute().as_posix()


def claim(
    target: Path,
    command: str,
    options: Mapping[str, Any],
    *,
    source: str | Path,
    outputs: Iterable[Path],
    recursive: bool = False,
) -> None:
    """Note in `<target>/prepare.json` how its images are made, so that one folder never holds two makes.

    Args:
        target: folder of all results.
        command: that makes them.
        options: everything that decides what a file of the same name holds.
        source: folder that is read.
        outputs: folders that are written.
        recursive: the source is searched with its sub-folders.

    Raises:
        ConfigError: they were made with other options or of another source, or would be written where the
            source is read.
    """
    read = Path(source).resolve()
    for output in outputs:
        written = output.resolve()
        if written == read or (recursive and read in written.parents):
            raise ConfigError(
                f"{output} lies in the source {source}, whose images would be mixed with the new "
                "ones; give another folder"
            )
    record = Record(target, command, options, source=source)
    if not record.check(target, "remove that folder or give another"):
        record.write()
