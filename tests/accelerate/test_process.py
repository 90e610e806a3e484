"""Settings of the process: set by `enable`, never by an import, never against the user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppsr.accelerate import process

_REPORT = """
import paddle
from ppsr import accelerate
from ppsr.accelerate.process import openmp
before = openmp().omp_get_max_threads()
{call}
print(int(accelerate.is_enabled()), before, openmp().omp_get_max_threads(), openmp().kmp_get_blocktime())
"""

_PAGE_FAULTS = """
import resource
import paddle
from ppsr import accelerate
{call}
x = paddle.ones([1, 64, 256, 256])
for _ in range(12):
    y = x + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    y = x + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _run(program, call, **environment):
    """The numbers that a program prints in a process of its own."""
    ours = ("OMP_NUM_THREADS", "KMP_BLOCKTIME", "PPSR_ACCELERATE")
    env = {k: v for k, v in os.environ.items() if k not in ours}
    command, folder = [sys.executable, "-c", program.format(call=call)], Path(__file__).parents[2]
    options = {"env": env | environment, "cwd": folder, "capture_output": True, "text": True}
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 0, done.stderr
    return [int(v) for v in done.stdout.splitlines()[-1].split()]


linux = pytest.mark.skipif(process.openmp() is None, reason="Paddle's wheel has no OpenMP runtime here")


@pytest.mark.slow
@linux
@pytest.mark.smoke
def test_enable_uses_every_core_and_importing_does_not():
    assert _run(_REPORT, "accelerate.enable()")[1:] == [1, process._cores(), 1]


@pytest.mark.slow
@linux
def test_the_users_threads_and_their_time_of_waiting_stand():
    user = {"OMP_NUM_THREADS": "3", "KMP_BLOCKTIME": "7"}
    assert _run(_REPORT, "accelerate.enable()", **user)[1:] == [3, 3, 7]


@pytest.mark.slow
@linux
def test_variable_switches_acceleration_off():
    assert _run(_REPORT, "accelerate.enable()", PPSR_ACCELERATE="0") == [0, 1, 1, 200]


def test_cores_are_shared_by_the_ranks_of_the_machine(monkeypatch):
    chosen = []
    monkeypatch.setattr(process, "_done", False)
    monkeypatch.setattr(process, "_cores", lambda: 8)
    monkeypatch.setattr(process, "_user_chose_threads", lambda: False)
    monkeypatch.setattr(process, "keep_memory", lambda: None)
    monkeypatch.setattr(process, "_set_threads", chosen.append)
    monkeypatch.setenv("PPSR_ACCELERATE", "1")
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "4")
    process.enable()
    process.enable()
    assert chosen == [2]
    monkeypatch.setattr(process, "_done", False)
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "16")
    process.enable()
    assert chosen == [2, 1]


def test_another_c_library_is_left_alone_with_a_line_in_the_log(monkeypatch, caplog):
    monkeypatch.setattr(process.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(process.ctypes, "CDLL", None)
    with caplog.at_level("INFO"):
        process.keep_memory()
    assert len(caplog.records) == 1


@pytest.mark.slow
@pytest.mark.skipif(process.platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_used_again_instead_of_fresh_pages():
    faults = [_run(_PAGE_FAULTS, call)[0] for call in ("", "accelerate.enable()")]
    assert faults[0] > 20 * 4000  # 16 MB of pages of 4096 bytes each time
    assert faults[1] < faults[0] / 3
