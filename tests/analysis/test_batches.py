"""Batches that memory can hold."""

from __future__ import annotations

import paddle
import pytest

from ppsr.analysis.batches import fitting_batch, in_batches
from ppsr.errors import ConfigError
from ppsr.registry import build_generator


def test_every_item_is_done_once_and_in_order():
    parts = list(in_batches(lambda a, b: list(range(a, b)), 11, 4))
    assert [(a, b) for a, b, _ in parts] == [(0, 4), (4, 8), (8, 11)]
    assert [item for _, _, items in parts for item in items] == list(range(11))


def test_batches_shrink_where_memory_runs_out(caplog):
    def work(start, stop):
        if stop - start > 2:
            raise MemoryError
        return list(range(start, stop))

    parts = list(in_batches(work, 7, 7))
    assert [item for _, _, items in parts for item in items] == list(range(7))
    assert "batches of 3" in caplog.text


def test_a_single_item_that_does_not_fit_is_an_error():
    def work(start, stop):
        raise MemoryError

    with pytest.raises(MemoryError):
        list(in_batches(work, 3, 3))


def test_the_batch_follows_the_budget():
    net = build_generator("SRVGGNetCompact", num_feat=8, num_conv=2, upscale=2)
    x = paddle.zeros([1, 3, 32, 32])
    small, large = (fitting_batch(net, x, memory_mib=m, most=1000) for m in (4, 8))
    assert 1 <= small < large <= 2 * small + 1
    assert fitting_batch(net, x, memory_mib=8, most=2) == 2
    assert fitting_batch(net, paddle.zeros([1, 3, 512, 512]), memory_mib=1, most=50) == 1
    with pytest.raises(ConfigError, match="positive"):
        fitting_batch(net, x, memory_mib=0, most=1)
