"""Checkpoints that survive kill -9 and a full disk.

A checkpoint is a folder, written under a temporary name: every file is flushed, the manifest with lengths and
SHA-256 sums comes last, then one rename makes it visible. Only after that are older ones deleted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from ppsr.files import atomic_write, read_regular

__all__ = ["CheckpointError", "CheckpointStore", "Content"]

logger = logging.getLogger(__name__)

_MANIFEST = "manifest.json"
_BEST = "best.json"
_REPLACED = ".old"  # suffix of a checkpoint that one of the same step is about to replace
_FORMAT = 1


Content = bytes | Callable[[IO[bytes]], object]  # bytes, or what writes them to a stream


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; older ones are intact."""


class _HashedStream:
    """A file that is hashed while it is written."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._digest = hashlib.sha256()
        self._length = 0

    def write(self, content: Any) -> int:
        self._digest.update(content)
        self._length += memoryview(content).nbytes
        return self._handle.write(content)

    def entry(self) -> dict[str, Any]:
        return {"bytes": self._length, "sha256": self._digest.hexdigest()}


def _write(path: Path, content: Content) -> dict[str, Any]:
    """Write a file durably; returns its entry in the manifest."""
    with path.open("wb") as handle:
        stream = _HashedStream(handle)
        if isinstance(content, bytes):
            stream.write(content)
        else:
            content(stream)  # type: ignore[arg-type]
        handle.flush()
        os.fsync(handle.fileno())
    return stream.entry()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; some file systems do not offer this."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        logger.debug("folder %s cannot be flushed on this file system", folder)
    finally:
        os.close(descriptor)


def _serial(folder: Path) -> int:
    """How many checkpoints were written before; 0 if the manifest does not say."""
    try:
        return int(json.loads(read_regular(folder / _MANIFEST)).get("serial", 0))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return 0


def _age(folder: Path) -> tuple[int, str]:
    """Order of writing. Not by step, because a run that went back writes smaller ones than it left."""
    return _serial(folder), folder.name


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: parent of the folders `step_000000123`.
        keep: number of newest checkpoints to keep, at least one; the best is always kept.
    """

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = max(1, keep)

    def save(self, step: int, files: Mapping[str, Content], meta: Mapping[str, Any] | None = None) -> Path:
        """Write a checkpoint and delete the oldest.

        Args:
            step: its number; one of the same number is replaced.

        Raises:
            CheckpointError: it could not be written (full disk, no permission); older ones are intact.
        """
        target = self.folder / f"step_{step:09d}"
        temporary = self.folder / f"{target.name}.tmp-{os.getpid()}"
        replaced = self.folder / f"{target.name}{_REPLACED}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_stale()
            temporary.mkdir()
            manifest = {
                "format": _FORMAT,
                "step": step,
                "serial": 1 + max(map(_serial, self.all()), default=0),
                "meta": dict(meta or {}),
                "files": {name: _write(temporary / name, content) for name, content in files.items()},
            }
            _write(temporary / _MANIFEST, json.dumps(manifest, indent=1).encode())
            _sync_folder(temporary)
            if target.exists():
                shutil.rmtree(replaced, ignore_errors=True)
                target.rename(replaced)
            temporary.rename(target)
            _sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(f"cannot write {target}: {error.strerror or error}") from error
        for old in self.folder.glob(f"step_*{_REPLACED}"):
            shutil.rmtree(old, ignore_errors=True)
        self._prune()
        return target

    def _prune(self) -> None:
        """Delete all but the newest and the best."""
        best = self.best()
        checkpoints = sorted(self.all(), key=_age)
        for old in checkpoints[: max(0, len(checkpoints) - self.keep)]:
            if old != best:
                shutil.rmtree(old, ignore_errors=True)

    def record(self, validated: int, best: float | None, best_step: int | None, basis: Any = None) -> None:
        """Note the outcome of a validation; the checkpoint of the best step outlives newer ones.

        Args:
            basis: what the best step is chosen by, as JSON values.
        """
        entry = {"step": best_step, "value": best, "validated": validated, "basis": basis}
        atomic_write(self.folder / _BEST, json.dumps(entry))
        self._prune()

    def recorded(self) -> dict[str, Any]:
        """The last entry of `record`, with keys `step`, `value`, `validated` and `basis`."""
        try:
            entry = json.loads((self.folder / _BEST).read_bytes())
        except (OSError, ValueError):
            return {}
        return entry if isinstance(entry, dict) else {}

    def best(self) -> Path | None:
        """The checkpoint of the best step, if there is one."""
        step = self.recorded().get("step")
        folder = self.folder / f"step_{step:09d}" if isinstance(step, int) else None
        return folder if folder is not None and folder.is_dir() else None

    def all(self) -> list[Path]:
        """Folders that look like checkpoints, by step."""
        return sorted(p for p in self.folder.glob("step_*") if re.fullmatch(r"step_\d+", p.name))

    def latest(self) -> Path | None:
        """The checkpoint that was written last and verifies; damaged ones are logged and skipped."""
        replaced = [p for p in self.folder.glob(f"step_*{_REPLACED}") if p.with_suffix("") not in self.all()]
        for folder in sorted([*self.all(), *replaced], key=_age, reverse=True):
            try:
                self.load(folder)
            except CheckpointError as error:
                logger.warning("checkpoint skipped: %s", error)
                continue
            return folder
        return None

    def load(self, folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Contents and meta data, after checking every byte."""
        try:
            manifest = json.loads(read_regular(folder / _MANIFEST))
            files = {}
            for name, facts in manifest["files"].items():
                content = read_regular(folder / Path(name).name, facts["bytes"])
                if len(content) != facts["bytes"] or hashlib.sha256(content).hexdigest() != facts["sha256"]:
                    raise CheckpointError(f"{folder / name} is damaged")
                files[name] = content
            return files, manifest["meta"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{folder} is incomplete or damaged: {error}") from None

    def _remove_stale(self) -> None:
        """Temporary folders of processes that are gone."""
        for path in self.folder.glob("step_*.tmp-*"):
            pid = path.name.rpartition("-")[2]
            if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
                shutil.rmtree(path, ignore_errors=True)
