"""Plans of the service's upscaler, and what stops it."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.errors import DataError
from ppsr.memory import resident_memory
from ppsr.serve.limits import RefusedError
from ppsr.serve.watched import WatchedUpscaler
from tests.inference.helpers import Repeat


@pytest.fixture
def upscaler():
    return WatchedUpscaler(Repeat(radius=1))


@pytest.mark.parametrize(("largest", "count"), [(16, 49), (32, 16), (100, 1)])
def test_a_tile_is_no_larger_than_the_client_chose(upscaler, largest, count):
    upscaler.largest = largest
    plan = upscaler.plan(100, 100)
    assert plan.count == count
    assert plan.tiles.size <= largest
    assert upscaler.tile is None


def test_a_tile_is_no_larger_than_memory_allows(upscaler):
    per_pixel = upscaler._measured()
    # a twelfth of the limit is kept free
    upscaler.max_memory = round(1.1 * ((resident_memory() or 0) + 100 * 100 * per_pixel + 40_000_000))
    size = upscaler.plan(6000, 6000).tiles.size
    assert 0 < size < 1024
    upscaler.largest = 16
    assert upscaler.plan(6000, 6000).tiles.size == 16
    upscaler.max_memory = 1
    with pytest.raises(DataError, match="allow more memory"):
        upscaler.plan(6000, 6000)
    assert upscaler.tile is None


def test_it_counts_tiles_and_stops_between_two(upscaler, rng):
    upscaler.largest = 16
    pixels = rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    bands = upscaler.bands(pixels)
    next(bands)
    assert (upscaler.watch.done, upscaler.watch.total) == (3, 12)
    upscaler.watch.cancel()
    with pytest.raises(RefusedError, match="cancelled"):
        list(bands)
    assert upscaler.watch.done == 4
