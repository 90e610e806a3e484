"""Saving a run in the background: checkpoints and weight files are written in a thread."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ppsr.engine.checkpoint import CheckpointError, CheckpointStore
from ppsr.engine.loggers import log_errors
from ppsr.engine.run import CHECKPOINTS, mark_latest
from ppsr.files import atomic_path
from ppsr.weights import stream_state, write_state
from ppsr.weights.identify import NetworkSpec

logger = logging.getLogger(__name__)


class Saver:
    """Writes what it is given in order, at most one checkpoint at a time.

    The caller hands over copies of the state, so training continues at once. An error of the disk is logged
    and counted; any other error of the thread is raised by the next call.

    Args:
        background: False writes in the calling thread.

    Attributes:
        failed: how many checkpoints could not be written.
        written: step of the last one, None where writing it failed or there is none yet.

    Example:
        >>> saver = Saver(Path("output/run"), keep=2, total=1000)
        >>> saver.save(10, {"weights.pdparams": {"generator": arrays}, "state.json": b"{}"}, networks={})
        >>> saver.close()  # waits for it
    """

    def __init__(self, folder: Path, *, keep: int, total: int, background: bool = True) -> None:
        self.folder = folder
        self.total = total
        self.store = CheckpointStore(folder / CHECKPOINTS, keep=keep)
        self.failed = 0
        self.written: int | None = None
        self.background = background
        self._thread: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []

    def save(
        self, step: int, files: Mapping[str, Any], *, networks: Mapping[str, NetworkSpec | None]
    ) -> None:
        """Write a checkpoint and `iter_<step>_weight.pdparams`; returns before they are on the disk.

        Args:
            files: contents by name: bytes, or nested dictionaries of arrays.
            networks: what the weight file states of each network, see `ppsr.weights.write_state`.
        """
        self.wait()  # or copies of the state would pile up where the disk is slower than training
        self._do(partial(self._save, step, files, networks))

    def record(self, validated: int, best: float | None, best_step: int | None, basis: Any = None) -> None:
        """Note a validation, see `CheckpointStore.record`; where it was the best so far,
        `best_weight.pdparams` becomes a copy of its weights."""
        self._do(partial(self._record, validated, best, best_step, basis))

    def wait(self) -> None:
        """Wait until everything is written."""
        pending, self._pending = self._pending, []
        for job in pending:
            job.result()

    def close(self) -> None:
        """Wait until everything is written, and end the thread."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None

    def _do(self, job: Callable[[], None]) -> None:
        if not self.background:
            job()
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending.append(self._thread.submit(job))

    def _save(self, step: int, files: Mapping[str, Any], networks: Mapping[str, NetworkSpec | None]) -> None:
        contents = {k: v if isinstance(v, bytes) else partial(stream_state, v) for k, v in files.items()}
        self.written = None
        try:
            self.store.save(step, contents, {"total": self.total})
            write_state(self._weights(step), files["weights.pdparams"], networks=networks)
            self._drop_old_weights()
            mark_latest(self.folder)
            self.written = step
        except (CheckpointError, OSError) as error:
            self.failed += 1
            logger.error("checkpoint of step %d not written, training continues: %s", step, error)

    def _drop_old_weights(self) -> None:
        """Keep the weight files of those steps whose checkpoint is kept."""
        kept = {int(folder.name.removeprefix("step_")) for folder in self.store.all()}
        for path in self.folder.glob("iter_*_weight.pdparams"):
            match = re.fullmatch(r"iter_(\d+)_weight", path.stem)
            if match and int(match[1]) not in kept:
                path.unlink()

    def _record(self, validated: int, best: float | None, best_step: int | None, basis: Any) -> None:
        with log_errors(f"validation of step {validated}"):
            self.store.record(validated, best, best_step, basis)
            if best_step == validated:
                with atomic_path(self.folder / "best_weight.pdparams") as temporary:
                    shutil.copyfile(self._weights(validated), temporary)
            self._drop_old_weights()

    def _weights(self, step: int) -> Path:
        return self.folder / f"iter_{step}_weight.pdparams"
