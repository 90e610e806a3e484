"""Settings of the process that make Paddle's CPU kernels faster: threads, and memory that is kept.

Importing paddle leaves OpenMP at one thread unless the user set OMP_NUM_THREADS, and its CPU tensors are fresh pages of
the system each time. Both are settings of the running process; neither changes a result's meaning.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
from pathlib import Path

__all__ = ["accelerated", "enable"]

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_done = False


def accelerated() -> bool:
    """Whether acceleration is wanted: the variable PPSR_ACCELERATE=0 switches all of it off."""
    return os.environ.get("PPSR_ACCELERATE", "1").lower() not in ("0", "false", "off", "no")


def enable() -> None:
    """Set threads and memory once, at the start of a command. Without glibc or OpenMP it only logs a line."""
    global _done  # noqa: PLW0603 - the process has one state
    if _done or not accelerated():
        return
    _done = True
    _keep_memory()
    if not _user_chose_threads():
        _set_threads(max(1, _cores() // _local_ranks()))


def _user_chose_threads() -> bool:
    """Whether OMP_NUM_THREADS was set when the process started; importing paddle sets it as well."""
    try:
        return b"OMP_NUM_THREADS=" in Path("/proc/self/environ").read_bytes()
    except OSError:
        return False


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _local_ranks() -> int:
    """Processes of this job on this machine, as paddle.distributed.launch tells."""
    return max(1, int(os.environ.get("PADDLE_LOCAL_SIZE") or os.environ.get("PADDLE_TRAINERS_NUM") or 1))


def _keep_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the system after each operation."""
    if platform.libc_ver()[0] != "glibc":
        logger.info("memory settings are for glibc only; left as they are")
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _set_threads(count: int) -> None:
    """Threads of the OpenMP runtime that Paddle's kernels use."""
    import paddle

    library = Path(paddle.__file__).parent / "libs" / "libiomp5.so"
    try:
        ctypes.CDLL(str(library)).omp_set_num_threads(count)
    except OSError:
        logger.info("no OpenMP runtime of Paddle's at %s; threads are left as they are", library)
