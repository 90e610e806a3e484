"""Settings of the process that make Paddle's CPU kernels faster: threads, kept memory, no strided views.

Importing paddle leaves OpenMP at one thread unless the user set OMP_NUM_THREADS, its CPU tensors are fresh
pages of the system each time, and copies out of strided views are slow. All are settings of the running
process.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
from functools import lru_cache
from pathlib import Path

logger = logging.getLogger(__name__)

_SPIN = 1  # milliseconds
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_done = False


def accelerated() -> bool:
    """Whether acceleration is wanted: the variable PPSR_ACCELERATE=0 switches all of it off."""
    return os.environ.get("PPSR_ACCELERATE", "1").lower() not in ("0", "false", "off", "no")


def enable(threads: int | None = None) -> None:
    """Set threads, memory and views once, at the start of a command. Without glibc or OpenMP it only logs a
    line.

    Args:
        threads: number of them; None: see `cpu_threads`.
    """
    global _done  # noqa: PLW0603 - the process has one state
    if _done or not accelerated():
        return
    _done = True
    keep_memory()
    _copy_when_transposing()
    _release_idle_cores()
    if threads is not None or not _user_chose_threads():
        _set_threads(threads or cpu_threads())


def cpu_threads() -> int:
    """Threads that this process should use: OMP_NUM_THREADS where the user set it, else its share of the
    cores."""
    if _user_chose_threads():
        chosen = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
        if chosen.isdigit() and int(chosen):
            return int(chosen)
    return max(1, _cores() // _local_ranks())


def _user_chose_threads() -> bool:
    """Whether OMP_NUM_THREADS was set when the process started; importing paddle sets it as well."""
    try:
        return b"OMP_NUM_THREADS=" in Path("/proc/self/environ").read_bytes()
    except OSError:
        return False


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _local_ranks() -> int:
    """Processes of this job on this machine, as set by paddle.distributed.launch."""
    return max(1, int(os.environ.get("PADDLE_LOCAL_SIZE") or os.environ.get("PADDLE_TRAINERS_NUM") or 1))


def keep_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the system after each operation, where
    acceleration is wanted."""
    if not accelerated():
        return
    if platform.libc_ver()[0] != "glibc":
        logger.info("memory settings are for glibc only; left as they are")
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def return_memory() -> None:
    """Let glibc return arrays of 128 kB and more to the system as soon as they are freed.

    What a network takes is then what its arrays need; kept memory becomes up to twice as much, by holes that
    depend on the history of the process. Computing takes up to twice the time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 65536)
        libc.mallopt(_M_MMAP_THRESHOLD, 128 << 10)


def _copy_when_transposing() -> None:
    """Let transpose and slices copy at once, by kernels that are 20 to 30 times faster on a CPU than the
    later copy out of a strided view. A GPU is left alone."""
    import paddle

    if paddle.get_device() == "cpu":
        paddle.set_flags({"FLAGS_use_stride_kernel": False})


def _release_idle_cores() -> None:
    """Let threads that wait for the next operation give up their core after a millisecond, not after 200:
    those that read, write and encode need it. KMP_BLOCKTIME is left as the user set it."""
    runtime = openmp()
    if runtime is not None and "KMP_BLOCKTIME" not in os.environ:
        runtime.kmp_set_blocktime(_SPIN)


def _set_threads(count: int) -> None:
    runtime = openmp()
    if runtime is None:
        logger.info("no OpenMP runtime of Paddle's in %s; threads are left as they are", paddle_libraries())
    else:
        runtime.omp_set_num_threads(count)


def paddle_libraries() -> Path:
    """Folder of the shared libraries inside Paddle's wheel."""
    import paddle

    return Path(paddle.__file__).parent / "libs"


@lru_cache(maxsize=1)
def openmp() -> ctypes.CDLL | None:
    """The OpenMP runtime that Paddle's kernels use, None where its wheel has none."""
    try:
        return ctypes.CDLL(str(paddle_libraries() / "libiomp5.so"))
    except OSError:
        return None
