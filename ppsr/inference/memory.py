"""How much memory there is, and how much a network takes per pixel of a tile.

Linux states both in /proc and in the control groups of containers. Elsewhere the sizes are unknown: then a
fixed, careful figure per pixel is used, and a picture is cut only when asked to or after a failure.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import re
from collections.abc import Callable
from pathlib import Path

from ppsr.errors import ConfigError

__all__ = [
    "available_memory",
    "bytes_per_pixel",
    "gpu_free",
    "is_out_of_memory",
    "parse_size",
    "release_memory",
    "resident_memory",
]

logger = logging.getLogger(__name__)

# An EDSR-like x4 network with 64 channels takes 41 kB per LR pixel (9 * 64 * 16 values in its last layer) if
# convolution copies patches, as Paddle's own kernels do. Only used where the real figure cannot be measured.
CAREFUL_BYTES_PER_PIXEL = 64_000
_SIDES = (32, 96)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_OUT_OF_MEMORY = re.compile(
    r"resourceexhausted|out of memory|fail(ed)? to alloc|bad_alloc|cannot allocate|could not allocate", re.I
)


def parse_size(text: str) -> int:
    """Bytes from a text such as "2GB", "1.5g", "800 MB" or "2GiB".

    Raises:
        ConfigError: not such a text, or not positive.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmg]i?)?b?\s*", text, re.I)
    size = round(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else 0
    if size <= 0:
        raise ConfigError(f"'{text}' is no amount of memory; write for example 2GB, 800MB or 1.5GiB")
    return size


def _status(name: str) -> int | None:
    """A size of /proc/self/status in bytes."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.M)
    return int(match[1]) * 1024 if match else None


def resident_memory() -> int | None:
    """Bytes that this process occupies now; None where the system does not tell."""
    return _status("VmRSS")


def available_memory() -> int | None:
    """Bytes that are free for this process: on the machine, in its container, by its limit; None: unknown."""
    limits = [_free(), _container(), _own_limit()]
    known = [limit for limit in limits if limit is not None]
    return max(0, min(known)) if known else None


def _free() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.M)
    return int(match[1]) * 1024 if match else None


def _container(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """What the control groups of this process leave, versions 2 and 1; those above it count as well."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    places = {"": Path(), "memory": Path()}
    for line in lines:
        _, controllers, place = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in places:
                places[controller] = Path(place.lstrip("/"))
    left = []
    for group in (places[""], *places[""].parents):
        left.append(_left(root / group, "memory.max", "memory.current", "inactive_file"))
    for group in (places["memory"], *places["memory"].parents):
        names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        left.append(_left(root / "memory" / group, *names))
    known = [size for size in left if size is not None]
    return min(known) if known else None


def _left(group: Path, limit: str, used: str, cached: str) -> int | None:
    """What one control group leaves; files that the kernel merely remembers do not count as used."""
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
    """What the limit of the address space (ulimit -v) leaves."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    limit, used = resource.getrlimit(resource.RLIMIT_AS)[0], _status("VmSize")
    return None if limit == resource.RLIM_INFINITY or used is None else limit - used


def gpu_free() -> int | None:
    """Bytes of the current GPU that this process does not use; None: Paddle computes on the processor."""
    import paddle

    if not paddle.device.get_device().startswith("gpu"):
        return None
    total = int(paddle.device.cuda.get_device_properties().total_memory)
    return max(0, total - int(paddle.device.cuda.memory_allocated()))


def release_memory() -> None:
    """Give memory that is kept for reuse back: of a GPU, and of the C library."""
    import paddle

    if paddle.device.is_compiled_with_cuda():
        paddle.device.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any runtime means that memory was short."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def bytes_per_pixel(run: Callable[[int], object], multiple: int = 1, *, gpu: bool = False) -> float:
    """Memory that a network takes per LR pixel of a tile, measured on two small tiles.

    Args:
        run: computes a square tile of a side.
        multiple: sides are multiples of it.
        gpu: measure the memory of the current GPU instead of the process's.

    Returns:
        The growth of the peak divided by that of the area.
    """
    sides = [-(-side // multiple) * multiple for side in _SIDES]
    if sides[1] <= sides[0]:
        sides[1] = sides[0] + multiple
    run(sides[0])  # what is set up once does not count
    peaks = [_gpu_peak(run, side) if gpu else _peak(run, side) for side in sides]
    if peaks[0] is None or peaks[1] is None or peaks[1] <= peaks[0]:
        logger.info("memory per pixel cannot be measured here; %d bytes are assumed", CAREFUL_BYTES_PER_PIXEL)
        return float(CAREFUL_BYTES_PER_PIXEL)
    return (peaks[1] - peaks[0]) / (sides[1] ** 2 - sides[0] ** 2)


def _peak(run: Callable[[int], object], side: int) -> int | None:
    """Largest size of the process while a tile is computed."""
    release_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from the present size
    except OSError:
        return None
    run(side)
    return _status("VmHWM")


def _gpu_peak(run: Callable[[int], object], side: int) -> int:
    """Largest use of the current GPU's memory while a tile is computed."""
    import paddle

    release_memory()
    reset = getattr(paddle.device.cuda, "reset_max_memory_allocated", None)
    if reset is not None:  # not in Paddle 2.6, whose peak only rises; tiles are measured in rising order
        reset()
    run(side)
    return int(paddle.device.cuda.max_memory_allocated())
