"""The encoded frames of a video in parts, so that an interrupted run resumes after the last whole one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ppsr.errors import DataError
from ppsr.files import atomic_path, atomic_write, lock_file

PART_FRAMES = 100  # each part begins with a keyframe, where encoders would put one every 250 frames or so
_SETTINGS, _LOCK = "settings.json", "lock"
_LONGEST_NAME = 200  # bytes
_TOLERANCE = 257  # one level of 8 bits

Entry = tuple[int, bool, int]  # of a packet: time stamp, whether it is a keyframe, bytes
Frame = tuple[np.ndarray, Any, int]  # pixels, source, time stamp


class Parts:
    """A hidden folder next to the result, with the packets of every `PART_FRAMES` frames and what made them.

    As a context it keeps the folder for this run, and removes it where the block ends without an error or
    before the first whole part. Packets of other settings are removed.

    Args:
        settings: whatever the frames depend on, as JSON; `network` holds samples of its output.
    """

    def __init__(self, target: Path, settings: dict[str, Any]) -> None:
        self._folder = _folder_of(target)
        self._settings = settings
        self._parts: list[list[Entry]] = []

    def __enter__(self) -> Parts:
        """Raises DataError where another run writes the same result."""
        lock = _lock(self._folder)
        if lock is None:
            raise DataError(
                f"another run is computing this video, its frames are in {self._folder}; wait until it has "
                "ended, or give this one another output"
            )
        self._held = lock
        try:
            same = _are_same(json.loads((self._folder / _SETTINGS).read_bytes()), self._settings)
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if same:
            self._parts = list(self._whole())
        else:
            for file in self._folder.iterdir():
                if file.name != _LOCK:
                    file.unlink()
            atomic_write(self._folder / _SETTINGS, json.dumps(self._settings))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not self._parts:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._held.close()

    @property
    def frames(self) -> int:
        """Number of frames in the parts, the last of which may have fewer than are counted."""
        return len(self._parts) * PART_FRAMES

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06}.bin"

    def _whole(self) -> Iterator[list[Entry]]:
        """The lists of the parts that an interrupted run has finished, up to the first damaged one."""
        for number in count():
            file = self._file(number)
            try:
                entries = [(pts, key, size) for pts, key, size in json.loads(_index(file).read_bytes())]
                if not entries or file.stat().st_size != sum(size for _, _, size in entries):
                    return
            except (OSError, ValueError, TypeError):
                return
            yield entries

    def write(self, frames: Iterator[Frame], encode: Callable[[Iterable[Frame]], Iterable[Any]]) -> None:
        """Add parts.

        Args:
            frames: those after the ones that are there.
            encode: frames -> packets, which begin with a keyframe.
        """
        for first in frames:
            file = self._file(len(self._parts))
            entries: list[Entry] = []
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                for packet in encode(chain([first], islice(frames, PART_FRAMES - 1))):
                    entries.append((packet.pts, packet.is_keyframe, stream.write(bytes(packet))))
            atomic_write(_index(file), json.dumps(entries))
            self._parts.append(entries)

    def packets(self, stream: Any, time_base: Fraction) -> Iterator[Any]:
        """Packets of all parts in the order in which they are decoded.

        A packet is decoded when the frame that stands `delay` places earlier is shown, with the smallest
        delay by which each is decoded before it is shown. The encoder's times need not rise between parts.
        """
        import av

        shown = [pts for entries in self._parts for pts, _, _ in entries]
        ordered = sorted(shown)
        rank = {pts: number for number, pts in enumerate(ordered)}
        delay = max(number - rank[pts] for number, pts in enumerate(shown))
        step = ordered[-1] - ordered[-2] if len(ordered) > 1 else 1
        end = dict(zip(ordered, [*ordered[1:], ordered[-1] + step], strict=True))
        decoded = chain((ordered[0] - number * step for number in range(delay, 0, -1)), ordered)
        for number, entries in enumerate(self._parts):
            with self._file(number).open("rb") as part:
                for pts, is_keyframe, size in entries:
                    packet = av.Packet(part.read(size))
                    packet.pts, packet.dts, packet.duration = pts, next(decoded), end[pts] - pts
                    packet.is_keyframe, packet.time_base, packet.stream = is_keyframe, time_base, stream
                    yield packet


def _are_same(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether settings are the same; a GPU may give slightly other values for the network's samples."""
    old, new = np.array(before["network"]), np.array(now["network"])
    near = old.shape == new.shape and bool(np.all(np.abs(old - new) <= _TOLERANCE))
    return near and all(before[key] == value for key, value in now.items() if key != "network")


def remove_parts(target: Path) -> None:
    """Remove the parts of a result, which a run that was killed at its very end has left."""
    folder = _folder_of(target)
    if folder.is_dir() and (lock := _lock(folder)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _folder_of(target: Path) -> Path:
    name = os.fsdecode(os.fsencode(target.name)[:_LONGEST_NAME])
    return target.with_name(f".{name}.parts")


def _lock(folder: Path) -> TextIO | None:
    """Make a folder and lock it, until the file is closed; None: another run has it."""
    path = folder / _LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # removed by a run that has just ended, as below
            lock = path.open("w")
            if lock_file(lock) is False:
                lock.close()
                return None
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
            lock.close()


def _index(file: Path) -> Path:
    return file.with_suffix(".json")
