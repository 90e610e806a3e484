"""How much memory there is, and how much a network takes per pixel of a tile."""

from __future__ import annotations

import ctypes
import errno
import logging
import math
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from ppsr.errors import ConfigError, DataError, PpsrError

if TYPE_CHECKING:
    from paddle import Tensor

logger = logging.getLogger(__name__)

# An EDSR-like x4 network with 64 channels takes 41 kB per LR pixel (9 * 64 * 16 values in its last layer) if
# convolution copies patches, as Paddle's own kernels do. Only used where the real figure cannot be measured.
CAREFUL_BYTES_PER_PIXEL = 64_000
SHARE_OF_FREE = 0.7
_SHARE_OF_LIMIT = 0.92  # predictions have been up to 6 % too low
_SIDES = (32, 96)
_GROUP_FILES = {  # controller in version 2 and 1 of control groups: limit, use, cached files
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_OUT_OF_MEMORY = re.compile(
    r"resource_?exhausted"  # Paddle
    r"|out[ _]?of[ _]?(host[ _]|device[ _]|gpu[ _])?(memory|resources)"  # CUDA, oneDNN, OpenCL, TensorRT
    r"|alloc(ation)?[ _]fail|bad[ _]alloc|memory_?allocation"  # cuDNN, cuBLAS, C++, CUDA, OpenCL
    r"|fail(ed|ure)? to alloc|(can ?not|could not|unable to) (be )?allocate|insufficient memory"
    r"|smaller than requested bytes|exceeded max size of memory",  # ONNX Runtime, OpenVINO on a GPU
    re.I,
)


def parse_bytes(text: str) -> int:
    """Bytes from a text such as "2GB", "1.5g", "800 MB" or "2GiB"; ConfigError for any other."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmg]i?)?b?\s*", text, re.I)
    size = round(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else 0
    if size <= 0:
        raise ConfigError(f"'{text}' is not an amount of memory; write for example 2GB, 800MB or 1.5GiB")
    return size


def readable_size(size: int) -> str:
    """A number of bytes in a unit that leaves some digits.

    >>> readable_size(1_400_000), readable_size(27_706), readable_size(0)
    ('1.4 MB', '27.7 kB', '0 bytes')
    """
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def resident_memory() -> int:
    """Bytes that this process occupies now."""
    return psutil.Process().memory_info().rss


def available_memory() -> int:
    """Bytes that are free for this process: on the machine, in its container, by its own limit."""
    limits = [psutil.virtual_memory().available, _container(), _own_limit()]
    return max(0, min(limit for limit in limits if limit is not None))


def memory_budget(limit: int | None) -> int:
    """Bytes that may be allocated on top of what the process has.

    Args:
        limit: memory limit of the process; None: 70 % of the free memory.

    Raises:
        DataError: the process already takes more than the limit.
    """
    trim_heap()
    if limit is None:
        return round(SHARE_OF_FREE * available_memory())
    used, usable = resident_memory(), round(_SHARE_OF_LIMIT * limit)
    if used >= usable:
        raise DataError(
            f"the process already takes {used / 1e6:.0f} MB, of a limit of {limit / 1e6:.0f} MB "
            f"({usable / 1e6:.0f} MB without a reserve); raise the limit"
        )
    return usable - used


def _container(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Free memory in the control groups of this process, which psutil does not consider."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    places = dict.fromkeys(_GROUP_FILES, Path())
    for line in lines:
        _, controllers, place = line.split(":", 2)
        places |= {name: Path(place.lstrip("/")) for name in controllers.split(",") if name in places}
    left = [
        _left(root / name / group, *files)
        for name, files in _GROUP_FILES.items()
        for group in (places[name], *places[name].parents)
    ]
    return min((size for size in left if size is not None), default=None)


def _left(group: Path, limit: str, used: str, cached: str) -> int | None:
    """Free memory of one control group; the file cache does not count as used."""
    try:
        size = int((group / limit).read_text()) - int((group / used).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
    try:
        statistics = (group / "memory.stat").read_text(encoding="ascii")
    except OSError:
        return size
    match = re.search(rf"^{cached} (\d+)$", statistics, re.M)
    return size + (int(match[1]) if match else 0)


def _own_limit() -> int | None:
    """Free memory below the limit of the address space (ulimit -v)."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit - psutil.Process().memory_info().vms


def default_device() -> str:
    """gpu where this Paddle has one, else cpu."""
    import paddle

    return "gpu" if paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() else "cpu"


def gpu_free() -> int | None:
    """Bytes that may still be allocated on the current GPU; None: Paddle computes on the CPU."""
    import paddle

    from ppsr.compat.paddle import gpu_memory_free

    return gpu_memory_free() if paddle.device.get_device().startswith("gpu") else None


def release_memory() -> None:
    """Give cached memory back to the system, of a GPU and of the heap.

    On a GPU this waits for all work on the device and makes the next allocations slow: only for use after an
    allocation failed.
    """
    import paddle

    if paddle.device.is_compiled_with_cuda():
        paddle.device.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Give free memory of the heap back to the system; a GPU is left alone."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any runtime means out of memory.

    Paddle raises RuntimeError or MemoryError, and for cuDNN and cuBLAS its ExternalError, an OSError; ONNX
    Runtime and OpenVINO have classes of their own.

    Example:
        >>> is_out_of_memory(OSError("(External) CUDNN error(2), CUDNN_STATUS_ALLOC_FAILED."))
        True
    """
    if isinstance(error, PpsrError):  # has been judged already
        return False
    if isinstance(error, OSError) and error.errno is not None:  # its text may hold the name of a file
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def bytes_per_pixel(
    run: Callable[[int], object], multiple: int = 1, *, gpu: bool = False, budget: int | None = None
) -> float:
    """Memory that a network takes per LR pixel of a tile: growth of the peak / growth of the area.

    Args:
        run: computes a square tile of a side, a multiple of `multiple`.
        gpu: measure the memory of the current GPU instead of the process's.
        budget: bytes that measuring may take; where they are few the larger tile is smaller.
    """
    small, large = (-(-side // multiple) * multiple for side in _SIDES)
    large = max(large, small + multiple)
    run(small)  # what is set up once does not count
    before, peak = resident_memory(), _gpu_peak if gpu else _peak
    low = peak(run, small)
    if budget is not None and low is not None and low > before:
        fitting = math.isqrt(budget * small**2 // (low - before)) // multiple * multiple
        large = max(small + multiple, min(large, fitting))
    high = peak(run, large)
    if low is None or high is None or high <= low:
        logger.info("memory per pixel cannot be measured here; %d bytes are assumed", CAREFUL_BYTES_PER_PIXEL)
        return float(CAREFUL_BYTES_PER_PIXEL)
    return (high - low) / (large**2 - small**2)


def _peak(run: Callable[[int], object], side: int) -> int | None:
    """Largest size of the process while a tile is computed; psutil's peak cannot be reset."""
    trim_heap()
    try:  # without `run`, whose errors of memory may be an OSError
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from the present size
    except OSError:  # not on Linux
        return None
    run(side)
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    match = re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)
    return int(match[1]) * 1024 if match else None


def _gpu_peak(run: Callable[[int], object], side: int) -> int:
    """Largest use of the current GPU's memory while a tile is computed."""
    import paddle

    reset = getattr(paddle.device.cuda, "reset_max_memory_allocated", None)
    if reset is not None:  # not in Paddle 2.6, whose peak only rises; tiles are measured in rising order
        reset()
    run(side)
    return int(paddle.device.cuda.max_memory_allocated())


def device_array(values: np.ndarray) -> Tensor:
    """An array as a tensor on the current device, without waiting for it.

    `paddle.to_tensor` waits until a GPU has done all that was begun before. This copy, from pinned memory,
    takes its place in the order of that work instead.

    Args:
        values: array of any shape and of a dtype that Paddle supports.
    """
    import paddle

    from ppsr.compat.paddle import copy_from_pinned

    on_gpu = paddle.in_dynamic_mode() and paddle.get_device().startswith("gpu")
    return copy_from_pinned(values) if on_gpu else paddle.to_tensor(values)
