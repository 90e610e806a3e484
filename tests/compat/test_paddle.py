"""Switches of Paddle that a build may have or not."""

import pytest
from paddle.base import core

from ppsr.compat.paddle import full_precision


@pytest.mark.skipif(not hasattr(core, "get_cudnn_switch"), reason="this build of Paddle has no such switch")
def test_low_precision_is_off_inside_and_as_before_outside():
    before = core.get_cublas_switch(), core.get_cudnn_switch()
    with pytest.raises(ValueError, match="inside"), full_precision():
        assert (core.get_cublas_switch(), core.get_cudnn_switch()) == (False, False)
        raise ValueError("a failure inside")
    assert (core.get_cublas_switch(), core.get_cudnn_switch()) == before


@pytest.mark.smoke
def test_full_precision_works_where_there_are_no_switches(monkeypatch):
    for name in ("get_cublas_switch", "get_cudnn_switch"):
        monkeypatch.delattr(core, name, raising=False)
    with full_precision():
        entered = True
    assert entered
