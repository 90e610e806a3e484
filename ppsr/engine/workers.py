"""Processes that make training batches: how they start, report errors, and end with their trainer.

Each has a pipe of its own and shares nothing else, so that one that is killed at whatever moment shows as the
end of its pipe and holds up nobody.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import cv2

from ppsr.errors import DataError, PpsrError
from ppsr.inference.pipeline import read_ahead

Make = Callable[[Sequence[Any]], dict[str, Any]]

_ASKED = 2  # batches of each worker that were asked for and have not come


class WorkerError(PpsrError):
    """A loader worker did not survive."""

    exit_code = 1


class _Worker:
    """A process that makes batches; `earlier` ones exist already."""

    def __init__(self, make: Make, earlier: Sequence[_Worker]) -> None:
        # copies of a process that has imported and read everything start at once
        context = multiprocessing.get_context("fork")
        self.pipe, end = context.Pipe()
        foreign = [worker.pipe for worker in (*earlier, self)]
        self.process: BaseProcess = context.Process(target=_work, args=(make, end, foreign), daemon=True)
        self.process.start()
        end.close()

    def receive(self) -> dict[str, Any]:
        """The batch that was asked for first.

        Raises:
            Exception: what making it raised, or `WorkerError` where the process has ended.
        """
        try:
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise WorkerError(_cause(self.process.pid, self.process.exitcode or 0)) from None
        if kind == "data":
            raise DataError(value)
        if kind == "memory":
            raise MemoryError(f"a loader worker: {value}; lower dataset.train.num_workers")
        if kind == "other":
            raise RuntimeError(f"error in a loader worker:\n{value}")
        return value


def batches_of_workers(make: Make, keys: Iterable[Sequence[Any]], count: int) -> Iterator[dict[str, Any]]:
    """Batches made by `count` processes, in the order of their keys.

    Args:
        make: keys of samples -> batch of arrays.

    Raises:
        DataError: raised by `make`, as without workers.
        WorkerError: a worker was killed or crashed.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # which ends OpenCV's threads: a copy of a process that has some crashes at a change
    workers: list[_Worker] = []

    def end() -> None:
        for worker in workers:
            worker.process.kill()

    atexit.register(end)  # before multiprocessing waits for its children
    try:
        try:
            for _ in range(count):
                workers.append(_Worker(make, workers))
        finally:
            cv2.setNumThreads(threads)
        with closing(read_ahead(_received(workers, iter(keys)), count)) as batches, ExitStack() as stack:
            stack.callback(end)  # or the thread that reads ahead would wait for its batch
            yield from batches
    finally:
        end()
        atexit.unregister(end)
        for worker in workers:
            worker.process.join()
            worker.pipe.close()


def _received(workers: Sequence[_Worker], keys: Iterator[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Ask the workers in turn, and receive in the same order."""
    asked: deque[_Worker] = deque()

    def ask(worker: _Worker) -> None:
        for key in keys:
            with suppress(OSError):  # it has ended, which receiving says
                worker.pipe.send(key)
            asked.append(worker)
            return

    for worker in [*workers] * _ASKED:
        ask(worker)
    while asked:
        worker = asked.popleft()
        batch = worker.receive()
        ask(worker)
        yield batch


def _work(make: Make, pipe: Connection, foreign: Sequence[Connection]) -> None:
    """Make batches until the other end of the pipe is closed, as when the trainer has ended, however it did.

    A scheduler signals the whole process group, but the run still needs its workers for the step it is in.
    """
    for other in foreign:  # as long as a copy is open, the end of a pipe does not show
        other.close()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_guarded(make, pipe.recv()))
    os._exit(0)  # without the ends of what was copied


def _guarded(make: Make, keys: Sequence[Any]) -> tuple[str, Any]:
    """A batch, or kind and text of the error that making it raised."""
    try:
        return "batch", make(keys)
    except PpsrError as error:
        return "data", str(error)
    except MemoryError as error:
        return "memory", str(error)
    except Exception:
        return "other", traceback.format_exc()


def _cause(pid: int | None, code: int) -> str:
    """Why a worker makes no more batches, and what to do."""
    if code >= 0:
        return f"loader worker {pid} ended with exit code {code}; set dataset.train.num_workers=0 to see why"
    message = f"loader worker {pid} was killed by signal {-code} ({signal.Signals(-code).name})"
    if code == -signal.SIGKILL:
        return (
            f"{message}, as the system does when memory is short; lower dataset.train.num_workers or "
            "batch_size"
        )
    return f"{message}; set dataset.train.num_workers=0 to see where"
