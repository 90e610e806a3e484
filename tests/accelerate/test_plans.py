"""Prepared convolutions: bounded in number and memory, refused ones fall back."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr import accelerate
from ppsr.accelerate.onednn import BIAS, DST, SRC, WEIGHTS, OneDnn, OneDnnError
from ppsr.accelerate.plans import Convolution, Pass, Plans
from ppsr.accelerate.process import paddle_libraries

pytestmark = pytest.mark.skipif(not accelerate.is_enabled(), reason="oneDNN is not usable or switched off")


@pytest.fixture(scope="module")
def library():
    return OneDnn(paddle_libraries() / "libdnnl.so.3")


def _plan(width, weight=(16, 16, 3, 3), padding=(1, 1, 1, 1)):
    x = (1, weight[1], 12, width)
    conv = Convolution(x, weight, True, (1, 1), padding, (1, 1), 1)
    return Pass(conv, 1)


def _run(plans, plan):
    conv = plan.operation
    x, weight, bias = np.ones(conv.x, "f4"), np.ones(conv.weight, "f4"), np.zeros(conv.weight[0], "f4")
    y = np.full(conv.y, np.nan, "f4")
    arrays = {SRC: x, WEIGHTS: weight, BIAS: bias, DST: y}
    plans.run(plan, {role: array.ctypes.data for role, array in arrays.items()})
    return y


def test_the_middle_of_a_sum_of_ones_is_the_size_of_the_kernel(library):
    assert (_run(Plans(library), _plan(9))[:, :, 1:-1, 1:-1] == 9 * 16).all()


def test_number_of_plans_is_bounded_and_released_ones_are_made_again(library):
    plans = Plans(library, entries=3)
    for width in (5, 6, 7, 8, 5):
        assert _run(plans, _plan(width)).shape[-1] == width
        assert len(plans) <= 3


def test_released_plans_give_their_memory_back(library):
    plans = Plans(library, entries=2)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for width in range(20, 60):
        _run(plans, _plan(width))
    before = resident()
    for _ in range(20):
        for width in range(20, 60):
            _run(plans, _plan(width))
    assert resident() - before < 30 << 20  # 800 plans; kept, they would hold far more


def test_large_scratch_areas_are_not_kept(library):
    plans = Plans(library, scratch_bytes=1 << 16)
    small, large = _plan(5), _plan(500)
    assert np.isfinite(_run(plans, large)).all()
    assert plans._scratch.nbytes <= (1 << 16) + 64
    first = _run(plans, small)
    assert np.array_equal(first, _run(plans, small))


def test_a_plan_that_the_library_refuses_is_reported_and_remembered(library, caplog):
    plans = Plans(library)
    wrong = _plan(9)
    wrong = wrong._replace(operation=replace(wrong.operation, weight=(16, 5, 3, 3)))
    with caplog.at_level("INFO"):
        assert not plans.supports(wrong)
        assert not plans.supports(wrong)
    assert len(caplog.records) == 1
    with pytest.raises(OneDnnError):
        plans.run(wrong, {})


def test_a_child_born_while_the_lock_was_held_does_not_hang(library):
    plans = Plans(library)
    _run(plans, _plan(9))
    held, release = threading.Event(), threading.Event()

    def hold():
        with plans._lock:
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        ok = plans._lock.acquire(timeout=5)
        os._exit(0 if ok else 1)
    release.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_missing_or_foreign_library_is_an_error_of_its_own(tmp_path):
    with pytest.raises(OneDnnError, match="cannot be loaded"):
        OneDnn(tmp_path / "libdnnl.so.3")
    with pytest.raises(OneDnnError, match="cannot be loaded"):
        OneDnn(paddle_libraries() / "libiomp5.so")


def test_a_refused_convolution_falls_back_to_paddle(monkeypatch):
    from ppsr.accelerate import conv

    monkeypatch.setattr(Plans, "supports", lambda _self, _plan: False)
    x, weight = paddle.rand([1, 3, 8, 8]), paddle.rand([2, 3, 3, 3])
    weight.stop_gradient = False
    y = conv.conv2d(x, weight)
    y.sum().backward()
    expected = paddle.nn.functional.conv2d(x, weight)
    assert y.numpy().tobytes() == expected.numpy().tobytes()
    assert weight.grad is not None
