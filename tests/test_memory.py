"""Sizes of memory: what is written, what is free, what counts as its lack."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from ppsr import memory
from ppsr.errors import ConfigError, DataError
from ppsr.inference.upscaler import Upscaler
from ppsr.memory import available_memory, bytes_per_pixel, is_out_of_memory, parse_bytes
from tests.inference.helpers import Repeat, ShortOfMemory


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5g", 1_500_000_000), ("800 MB", 8 * 10**8), ("2GiB", 2**31), ("5000", 5000)],
)
def test_amounts_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-2GB", "0", "2 TB", "1e9"])
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError, match="not an amount of memory"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("groups", "free"),
    [  # folder of a group: its limit, what it uses, and what of that the kernel only remembers
        ({".": ("1000000", 400_000)}, 600_000),
        ({".": ("max", 400_000)}, None),
        ({"memory": ("500", 200)}, 300),
        ({".": ("1000", 990, "anon 100\ninactive_file 800\nactive_file 90\n")}, 810),
        ({"slice/job": ("900", 200)}, 700),
        ({"slice/job": ("900", 200), "slice": ("500", 200)}, 300),
        ({"slice/job": ("900", 200), "memory/jobs/one": ("100", 90)}, 10),
    ],
)
def test_the_groups_of_a_container_limit_what_is_free(tmp_path, groups, free):
    (tmp_path / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/jobs/one\n0::/slice/job\n")
    for name, (limit, used, *stat) in groups.items():
        old, folder = name.startswith("memory"), tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(f"{limit}\n")
        (folder / ("memory.usage_in_bytes" if old else "memory.current")).write_text(f"{used}\n")
        (folder / "memory.stat").write_text("".join(stat))
    assert memory._container(tmp_path, tmp_path / "cgroup") == free


class _Cuda:
    """A GPU of 1000 bytes of which this process uses 300 and keeps 50 more for reuse."""

    peak = 0
    emptied = 0

    @staticmethod
    def get_device_properties():
        return type("Properties", (), {"total_memory": 1000})

    @staticmethod
    def memory_allocated():
        return 300

    @staticmethod
    def memory_reserved():
        return 350

    def max_memory_allocated(self):
        return self.peak

    def empty_cache(self):
        self.emptied += 1


@pytest.fixture
def cuda(monkeypatch):
    fake = _Cuda()
    monkeypatch.setattr(paddle.device, "cuda", fake)
    monkeypatch.setattr(paddle.device, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device, "get_device", lambda: "gpu:0")
    return fake


def test_a_gpu_counts_with_its_own_memory(cuda, monkeypatch):
    monkeypatch.delattr(paddle, "cuda", raising=False)
    assert memory.gpu_free() == 700

    def run(side):
        cuda.peak = max(cuda.peak, 300 + 10 * side**2)

    assert bytes_per_pixel(run, gpu=True) == pytest.approx(10)
    monkeypatch.setattr(paddle.device, "get_device", lambda: "cpu")
    assert memory.gpu_free() is None


def test_what_other_processes_use_of_a_gpu_is_not_free(cuda):
    cuda.mem_get_info = lambda: (200, 1000)  # 450 are in use elsewhere
    assert memory.gpu_free() == 250


def test_memory_of_a_gpu_is_released_only_after_running_out(cuda, rng):
    image = rng.random((48, 48, 3), dtype=np.float32)
    for limit in (None, 10**10):
        upscaler = Upscaler(Repeat(), tile=16, max_memory=limit)
        for _ in range(3):  # as frames of a video
            upscaler(image)
    assert cuda.emptied == 0
    Upscaler(ShortOfMemory(1000, RuntimeError("Out of memory error on GPU 0.")), tile=0)(image)
    assert cuda.emptied == 2  # a tile of 2304 pixels and one of 1152 did not fit


def test_the_smallest_limit_counts(monkeypatch):
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    monkeypatch.setattr(memory, "_container", lambda: 70)
    monkeypatch.setattr(memory, "_own_limit", lambda: None)
    assert available_memory() == 70
    monkeypatch.setattr(memory, "_own_limit", lambda: -5)
    assert available_memory() == 0


_SHORT = [
    MemoryError(),
    RuntimeError("ResourceExhaustedError: \n\nOut of memory error on GPU 0."),
    RuntimeError("(ResourceExhausted) Fail to alloc memory of 123 size, error code is 12."),
    OSError("(External) CUDA error(2), out of memory. [Hint: 'cudaErrorMemoryAllocation'.]"),
    OSError("(External) CUDNN error(2), CUDNN_STATUS_ALLOC_FAILED. (at conv_kernel.cu:1)"),
    OSError("(External) CUDNN error(4002), CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED."),
    OSError("(External) CUBLAS error(3). [Hint: 'CUBLAS_STATUS_ALLOC_FAILED'.]"),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("bad allocation"),
    RuntimeError("could not create a primitive: out_of_memory"),
    RuntimeError("Failed to allocate memory for requested buffer of size 123"),
    RuntimeError("BFCArena: Available memory of 1 is smaller than requested bytes of 2"),
    RuntimeError("[GPU] CL_OUT_OF_RESOURCES, error code: -5"),
    RuntimeError("[GPU] CL_MEM_OBJECT_ALLOCATION_FAILURE"),
    RuntimeError("[GPU] Exceeded max size of memory object allocation: requested 2 bytes, max is 1"),
    RuntimeError("OpenCV(4.10.0) error: (-4:Insufficient memory) Failed to allocate 123 bytes"),
]


@pytest.mark.parametrize("error", _SHORT, ids=str)
def test_running_out_of_memory_is_recognised_in_every_form(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        OSError(2, "No such file or directory", "out of memory.png"),
        OSError(28, "No space left on device"),
        OSError("(External) CUDNN error(8), CUDNN_STATUS_EXECUTION_FAILED."),
        DataError("the process already takes 1 MB, out of memory"),
    ],
    ids=str,
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


def test_growth_of_the_peak_is_what_a_pixel_takes():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks are measured on Linux alone")
    held = []

    def run(side):
        held[:] = [bytearray(side * side * 20_000)]
        held.clear()

    assert bytes_per_pixel(run) == pytest.approx(20_000, rel=0.15)


def test_errors_of_the_network_are_not_taken_for_those_of_the_measurement():
    def run(side):
        if side > 64:
            raise OSError("(External) CUDNN error(2), CUDNN_STATUS_ALLOC_FAILED.")

    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks are measured on Linux alone")
    with pytest.raises(OSError, match="ALLOC_FAILED"):
        bytes_per_pixel(run)


def test_a_careful_figure_is_taken_where_nothing_can_be_measured(monkeypatch):
    monkeypatch.setattr(memory, "_peak", lambda run, side: None)
    assert bytes_per_pixel(lambda side: None) == memory.CAREFUL_BYTES_PER_PIXEL


def test_a_limit_below_what_the_process_takes_names_both():
    with pytest.raises(DataError, match=r"already takes \d\d+ MB, of a limit of 10 MB"):
        Upscaler(Repeat(), max_memory=10_000_000)(np.zeros((8, 8, 3), np.uint8))


def test_arrays_go_to_a_gpu_from_pinned_memory_by_a_copy_that_does_not_wait(monkeypatch):
    class Pinned:
        def __init__(self, values, place):
            self.made_of = values, place

        def _copy_to(self, place, blocking):
            return self, place, blocking

    monkeypatch.setattr(paddle, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(paddle, "to_tensor", Pinned)
    monkeypatch.setattr(paddle, "CUDAPinnedPlace", lambda: "pinned")  # which the CPU's build refuses to make
    values = np.zeros(100_000, np.uint8)
    pinned, place, blocking = memory.device_array(values)
    assert pinned.made_of == (values, "pinned")
    assert place.is_cpu_place()  # where this test computes
    assert blocking is False


def test_measuring_a_network_stays_within_its_budget(monkeypatch):
    sides: list[int] = []
    monkeypatch.setattr(memory, "resident_memory", lambda: 1000)
    monkeypatch.setattr(memory, "_peak", lambda run, side: run(side) or 1000 + 10 * side**2)
    assert bytes_per_pixel(sides.append, 8, budget=40_000) == pytest.approx(10)
    assert sides == [32, 32, 56]  # 64 would take 40,960 bytes
