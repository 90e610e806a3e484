"""Processes that make training batches: how they start, report errors, and end with their trainer."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle

from ppsr.config.schema import LoaderOptions
from ppsr.errors import DataError, PpsrError
from ppsr.models.base import Batch

Make = Callable[[Sequence[Any]], dict[str, Any]]

_FAILURE = "worker failure"
_PADDLE_HANDLER = "paddle.io.multiprocess_utils"
_PR_SET_PDEATHSIG = 1
_CHECK_SECONDS = 5.0
_STOPPED_CHECKS = 6  # a worker that does not run in so many checks in a row is ended
_SHARED_MEMORY = Path("/dev/shm")
_SMALL_SHARED_MEMORY = 2**26


class WorkerError(PpsrError):
    """A loader worker did not survive."""

    exit_code = 1


def batches_of_workers(make: Make, sampler: Any, options: LoaderOptions) -> Iterator[Batch]:
    """Batches made by `options.num_workers` processes.

    Args:
        make: keys of samples -> batch of arrays.

    Raises:
        DataError: raised by `make`, as without workers.
        WorkerError: a worker was killed or crashed.
    """
    over = RawValue(ctypes.c_bool, False)
    atexit.register(setattr, over, "value", True)  # before multiprocessing ends its children
    loader = paddle.io.DataLoader(
        _Keys(),
        batch_sampler=sampler,
        collate_fn=partial(_guarded, make),
        num_workers=options.num_workers,
        use_shared_memory=options.use_shared_memory,
        return_list=True,
        worker_init_fn=_Start(over, os.getpid()),
    )
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # which ends OpenCV's threads: a copy of a process that has some crashes at a change
    on_child = signal.getsignal(signal.SIGCHLD)
    if getattr(on_child, "__module__", "") == _PADDLE_HANDLER:  # of another loader, as ppgan's trainer has
        on_child = signal.SIG_DFL
    batches = iter(loader)
    cv2.setNumThreads(threads)
    if threading.current_thread() is threading.main_thread():
        # Paddle's handler raises wherever the program happens to be, in the middle of a step too. Without it
        # the thread that collects batches notices a dead worker, and the next batch is an error.
        signal.signal(signal.SIGCHLD, on_child or signal.SIG_DFL)
    done = threading.Event()
    threading.Thread(target=_watch, args=(batches, done), daemon=True).start()
    try:
        for item in batches:
            if _FAILURE in item:
                _raise(*item[_FAILURE])
            yield Batch(item)
    except SystemError as error:
        raise WorkerError(_cause(batches._workers, options)) from error
    finally:
        done.set()
        _end(batches)


class _Keys(paddle.io.Dataset):
    """Hands keys on, because Paddle prints a traceback of what a dataset raises."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: Any) -> Any:
        return key


def _guarded(make: Make, keys: Sequence[Any]) -> dict[str, Any]:
    """A batch, or kind and text of the error that making it raised."""
    try:
        return make(keys)
    except PpsrError as error:
        failure = ["data", str(error)]
    except MemoryError as error:
        failure = ["memory", str(error)]
    except Exception:
        failure = ["other", traceback.format_exc()]
    return {_FAILURE: failure, "": np.zeros(1)}  # Paddle cannot pass on a batch without an array


def _raise(kind: str, text: str) -> None:
    if kind == "data":
        raise DataError(text)
    if kind == "memory":
        raise MemoryError(f"a loader worker: {text}; lower dataset.train.num_workers")
    raise RuntimeError(f"error in a loader worker:\n{text}")


class _Start:
    """Prepares a worker.

    It has one OpenCV thread, because there are as many workers as cores. It outlives signals: a scheduler
    signals the whole process group, but the run still needs its workers for the step it is in, saves, and
    ends them itself when it is `over`. It ends with its trainer, however that ends.
    """

    def __init__(self, over: Any, trainer: int) -> None:
        self.over = over
        self.trainer = trainer

    def __call__(self, _: int) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.trainer:  # it ended before the line above
            os._exit(0)
        if cv2.getNumThreads() != 1:  # in a spawned process; a forked one has one thread, and would crash
            cv2.setNumThreads(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, *_: object) -> None:
        if self.over.value:
            os._exit(0)


def _watch(batches: Any, done: threading.Event) -> None:
    """Kill workers that do not run any more, and wake the trainer when a worker has ended.

    Paddle's thread looks at its workers when no data arrives, but never after one that was killed in the
    middle of a batch: it waits for the rest of it.
    """
    stopped: dict[int, int] = {}
    while not done.wait(_CHECK_SECONDS):
        for worker in batches._workers:
            if worker.exitcode is not None:
                batches._blocking_queue.kill()
                return
            if _state(worker.pid) not in ("T", "t"):
                stopped.pop(worker.pid, None)
                continue
            stopped[worker.pid] = stopped.get(worker.pid, 0) + 1
            if stopped[worker.pid] >= _STOPPED_CHECKS:
                worker.kill()


def _end(batches: Any) -> None:
    """End the workers; a thread of Paddle's keeps those of a dropped iterator alive."""
    if all(worker.is_alive() for worker in batches._workers):
        batches._try_shutdown_all(timeout=5)
        return
    batches._exit_thread_unexpectedly()  # Paddle's own end waits for locks, which a killed worker may hold
    for worker in batches._workers:
        worker.kill()
        worker.join()
    paddle.base.core._erase_process_pids(id(batches))
    batches._shutdown = True


def _state(pid: int) -> str:
    """State of a process as Linux names it; "" where that is not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _cause(workers: Sequence[Any], options: LoaderOptions) -> str:
    """Why the workers make no more batches, and what to do."""
    ended = [(worker.pid, worker.exitcode) for worker in workers if worker.exitcode]
    if not ended:
        return "the loader workers stopped; set dataset.train.num_workers=0 to see the error itself"
    pid, code = ended[0]
    if code > 0:
        return f"loader worker {pid} ended with exit code {code}; set dataset.train.num_workers=0 to see why"
    number = -code
    name = signal.Signals(number).name
    message = f"loader worker {pid} was killed by signal {number} ({name})"
    if number == signal.SIGBUS or (options.use_shared_memory and _shared_memory_is_full()):
        return (
            f"{message}: the shared memory {_SHARED_MEMORY} is full; enlarge it (docker run --shm-size=8g), "
            "lower dataset.train.num_workers or batch_size, or set dataset.train.use_shared_memory=false"
        )
    if number == signal.SIGKILL:
        return (
            f"{message}, as the system does when memory is short; lower dataset.train.num_workers or "
            "batch_size"
        )
    return f"{message}; set dataset.train.num_workers=0 to see where"


def _shared_memory_is_full() -> bool:
    try:
        return shutil.disk_usage(_SHARED_MEMORY).free < _SMALL_SHARED_MEMORY
    except OSError:
        return False
