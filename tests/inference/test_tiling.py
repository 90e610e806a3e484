"""Tiles: equal to the whole picture, without seams, halved when memory is short, planned by memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsr.errors import ConfigError, DataError
from ppsr.inference.facts import NetworkFacts
from ppsr.inference.tiling import Tiler, Tiles, default_overlap, largest_tiles, make_tiles
from ppsr.inference.upscaler import Upscaler
from tests.inference.helpers import Repeat, ShortOfMemory, small_network


def _facts(**more):
    return NetworkFacts(network="Net", scale=4, **more)


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["SRVGGNetCompact", "MSRResNet", "RRDBNet"])
@pytest.mark.parametrize("size", [(37, 53), (64, 31)])
def test_tiles_equal_the_whole_picture_where_the_receptive_field_fits(name, size, rng):
    net = small_network(name)
    image = rng.random((*size, 3), dtype=np.float32)
    overlap = -(-net.receptive_radius // net.size_multiple) * net.size_multiple
    whole = Upscaler(net, tile=0)(image)
    tiled = Upscaler(net, tile=16, overlap=overlap)(image)
    assert np.abs(whole - whole.mean()).max() > 0.1  # not a flat picture
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_folded_networks_are_cut_on_their_grid(rng):
    net = small_network("RRDBNet", scale=2)
    assert net.size_multiple == 2
    image = rng.random((41, 33, 3), dtype=np.float32)
    overlap = net.receptive_radius + net.receptive_radius % 2
    tiled = Upscaler(net, tile=10, overlap=overlap)(image)
    np.testing.assert_allclose(tiled, Upscaler(net, tile=0)(image), atol=1e-5)


def test_an_overlap_smaller_than_the_field_is_not_exact_so_the_test_above_means_something(rng):
    net = small_network()
    image = rng.random((40, 40, 3), dtype=np.float32)
    cut = Upscaler(net, tile=16, overlap=0)(image)
    assert np.abs(cut - Upscaler(net, tile=0)(image)).max() > 1e-3


def test_blending_leaves_no_seam_where_cutting_does(rng):
    """Windows see without bound: steps across tile edges are compared with those elsewhere."""
    net = small_network("SwinIR", upscale=2)
    image = np.repeat(np.repeat(rng.random((12, 12, 3), dtype=np.float32), 8, 0), 8, 1)
    multiple = net.size_multiple
    whole = Upscaler(net, tile=0)(image)
    errors = {}
    for overlap in (0, 2 * multiple):
        sr = Upscaler(net, tile=4 * multiple, overlap=overlap)(image)
        errors[overlap] = np.abs(sr - whole)
    assert errors[2 * multiple].max() < errors[0].max() / 3
    assert errors[2 * multiple].mean() < errors[0].mean() / 3


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.integers(0, 40),
    overlap=st.integers(0, 20),
    multiple=st.sampled_from([1, 2, 4, 8]),
    radius=st.sampled_from([None, 0, 3]),
    scale=st.integers(1, 4),
)
def test_every_pixel_is_written_once_whatever_the_sizes(
    height, width, tile, overlap, multiple, radius, scale
):
    image = np.random.default_rng(height * 71 + width).random((height, width, 3), dtype=np.float32)
    backend = Repeat(scale, multiple=multiple, radius=radius)
    sr = Upscaler(backend, tile=tile, overlap=overlap)(image)
    np.testing.assert_allclose(sr, image.repeat(scale, 0).repeat(scale, 1), atol=3e-7)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("(ResourceExhausted) Fail to alloc memory of 12 size, error code is 12"),
        RuntimeError("ResourceExhaustedError: Out of memory error on GPU 0"),
    ],
)
@pytest.mark.parametrize("tile", [0, 20])
def test_a_tile_without_memory_is_halved_and_right(error, tile, rng):
    image = rng.random((50, 70, 3), dtype=np.float32)
    backend = ShortOfMemory(300, error, radius=2)
    sr = Upscaler(backend, tile=tile, overlap=2)(image)
    np.testing.assert_array_equal(sr, image.repeat(2, 0).repeat(2, 1))
    assert max(shape[2] * shape[3] for shape in backend.seen) <= 300


def test_halved_tiles_of_a_real_network_equal_the_whole_picture(rng):
    net = small_network()
    image = rng.random((48, 60, 3), dtype=np.float32)
    upscaler = Upscaler(net, tile=0, overlap=net.receptive_radius)
    whole = upscaler(image)
    run, failed = upscaler.backend.run, []

    def limited(x):
        if x.shape[2] * x.shape[3] > 1500:
            failed.append(x.shape)
            raise MemoryError
        return run(x)

    upscaler.backend.run = limited
    for tile in (0, 48):
        halved = Upscaler(upscaler.backend, tile=tile, overlap=net.receptive_radius)(image)
        assert failed
        np.testing.assert_allclose(halved, whole, atol=1e-5)
        failed.clear()


def test_a_size_that_failed_is_not_tried_again(rng):
    attempts = []

    def run(tile):
        attempts.append(tile.shape[0] * tile.shape[1])
        if attempts[-1] > 700:
            raise MemoryError
        return tile

    tiler = Tiler(run, scale=1, multiple=1, tiles=Tiles(32))
    np.concatenate(list(tiler.bands(rng.random((64, 64, 3), dtype=np.float32))))
    assert sum(area > 700 for area in attempts) == 1


def test_memory_that_never_suffices_is_an_error_and_not_a_picture(rng):
    upscaler = Upscaler(ShortOfMemory(4, MemoryError()), tile=32)
    with pytest.raises(DataError, match="memory is short even for a tile"):
        upscaler(rng.random((64, 64, 3), dtype=np.float32))


def test_other_errors_are_not_taken_for_lack_of_memory(rng):
    upscaler = Upscaler(ShortOfMemory(4, RuntimeError("wrong shape")), tile=32)
    with pytest.raises(RuntimeError, match="wrong shape"):
        upscaler(rng.random((64, 64, 3), dtype=np.float32))


def test_overlap_follows_the_network():
    assert default_overlap(_facts(receptive_radius=18)) == 18
    assert default_overlap(_facts(receptive_radius=17, size_multiple=4)) == 20
    assert default_overlap(_facts(receptive_radius=348)) == 64
    assert default_overlap(_facts()) == 32
    assert default_overlap(_facts(size_multiple=32)) == 64


def test_what_saw_a_tiles_border_is_thrown_away():
    exact = make_tiles(_facts(receptive_radius=18), 100)
    assert exact == Tiles(100, 18, 0)
    assert make_tiles(_facts(), 100) == Tiles(100, 32, 16)
    assert make_tiles(_facts(), 4).size >= 32  # two fades fit into a tile
    with pytest.raises(ConfigError, match="not negative"):
        make_tiles(_facts(), -1)


def test_the_largest_tiles_that_fit_are_chosen():
    facts = _facts(receptive_radius=10)
    budget = 200_000_000
    tiles, needed = largest_tiles(facts, 3000, 4000, 3, per_pixel=2000, budget=budget)
    assert 0.7 * budget < needed <= budget
    side = tiles.size + 2 * tiles.overlap
    assert needed == pytest.approx(1.25 * 2000 * side**2 + tiles.size * 4000 * 16 * 12, rel=0.01)
    whole, needed = largest_tiles(facts, 100, 100, 3, per_pixel=2000, budget=budget)
    assert whole.size == 0
    assert needed == 100 * 100 * (2500 + 16 * 12)


def test_a_budget_for_which_no_tile_is_small_enough_is_refused_with_numbers():
    with pytest.raises(DataError, match=r"need \d+ MB and 1 MB are left"):
        largest_tiles(_facts(), 3000, 4000, 3, per_pixel=2000, budget=1_000_000)
