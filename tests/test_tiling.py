"""Tiles: equal to the whole image, without seams, halved when memory is short, planned by memory."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsr.errors import ConfigError, DataError
from ppsr.generators.network_info import NetworkInfo
from ppsr.inference.published_tiles import upscale_as_published
from ppsr.inference.upscaler import Upscaler
from ppsr.tiling import Tiler, Tiles, default_overlap, largest_tiles, make_tiles
from tests.inference.helpers import Repeat, ShortOfMemory, small_network


def _info(**more):
    return NetworkInfo(network="Net", scale=4, **more)


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["SRVGGNetCompact", "MSRResNet", "RRDBNet"])
@pytest.mark.parametrize("size", [(37, 53), (64, 31)])
def test_tiles_equal_the_whole_image_where_the_receptive_field_fits(name, size, rng):
    net = small_network(name)
    image = rng.random((*size, 3), dtype=np.float32)
    overlap = -(-net.receptive_radius // net.size_multiple) * net.size_multiple
    whole = Upscaler(net, tile=0)(image)
    tiled = Upscaler(net, tile=16, overlap=overlap)(image)
    assert np.abs(whole - whole.mean()).max() > 0.1  # not a flat image
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


@pytest.mark.parametrize("tiles", [4, 0], ids=["tiles", "halves of what memory does not hold"])
def test_blending_leaves_no_seam_where_cutting_does(tiles, rng):
    """Windows see without bound: a cut without mixing shows as a step."""
    net = small_network("SwinIR", upscale=2)
    image = np.repeat(np.repeat(rng.random((12, 12, 3), dtype=np.float32), 8, 0), 8, 1)
    multiple = net.size_multiple
    whole = Upscaler(net, tile=0)(image)
    backend = net if tiles else _limited(net, (96 * 96) * 3 // 4)
    errors = {}
    for overlap in (0, 2 * multiple):
        sr = Upscaler(backend, tile=tiles * multiple, overlap=overlap)(image)
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
        OSError("(External) CUBLAS error(3). [Hint: 'CUBLAS_STATUS_ALLOC_FAILED'.]"),
    ],
)
@pytest.mark.parametrize("tile", [0, 20])
def test_a_tile_without_memory_is_halved_and_right(error, tile, rng):
    image = rng.random((50, 70, 3), dtype=np.float32)
    backend = ShortOfMemory(300, error, radius=2)
    sr = Upscaler(backend, tile=tile, overlap=2)(image)
    np.testing.assert_array_equal(sr, image.repeat(2, 0).repeat(2, 1))
    assert max(shape[2] * shape[3] for shape in backend.seen) <= 300


def _limited(net, limit):
    """A backend that has no memory for more pixels."""
    backend = Upscaler(net).backend
    run = backend.run

    def limited(x):
        if x.shape[2] * x.shape[3] > limit:
            raise MemoryError
        return run(x)

    backend.run = limited
    return backend


@pytest.mark.parametrize("size", [(40, 30), (100, 120)])
def test_halves_of_an_uncut_image_have_the_default_overlap(size, rng):
    """Also where images are too small to be measured."""
    net = small_network()
    image = rng.random((*size, 3), dtype=np.float32)
    whole = Upscaler(net, tile=0)(image)
    backend = _limited(net, size[0] * size[1] * 4 // 5)
    np.testing.assert_allclose(Upscaler(backend)(image), whole, atol=1e-5)


@pytest.mark.parametrize("mode", ["published", "published-inference", "published-onnx"])
def test_a_published_tile_mode_never_computes_other_tiles(mode, rng):
    backend = ShortOfMemory(300, MemoryError(), multiple=4)
    image = rng.random((64, 64, 3), dtype=np.float32)
    with pytest.raises(DataError, match="smaller --tile"):
        Upscaler(backend, tile_mode=mode, tile=32, overlap=4)(image)
    fits = ShortOfMemory(1100, MemoryError(), multiple=4)
    sr = Upscaler(fits, tile_mode=mode, tile=16, overlap=4)(image)
    np.testing.assert_allclose(sr, image.repeat(2, 0).repeat(2, 1), atol=1e-3)


def test_narrow_tiles_of_the_onnx_script_are_mirrored_as_opencv_does(rng):
    image = rng.random((1, 3, 17, 5), dtype=np.float32)
    tiles = []

    def run(tile):
        tiles.append(tile)
        return tile

    info = NetworkInfo("Net", 1, size_multiple=8)
    upscale_as_published("published-onnx", run, image, info, 16, 0)
    assert [tile.shape[2:] for tile in tiles] == [(16, 16), (16, 16)]
    for tile, part in zip(tiles, (image[0, :, :16], image[0, :, 16:]), strict=True):
        margins = (0, 16 - part.shape[1], 0, 11)
        padded = cv2.copyMakeBorder(part.transpose(1, 2, 0), *margins, cv2.BORDER_REFLECT_101)
        np.testing.assert_array_equal(tile[0].transpose(1, 2, 0), padded.astype(np.float16))


def test_rows_are_handed_on_a_few_at_a_time(rng):
    image = rng.random((200, 20, 3), dtype=np.float32)
    bands = list(Upscaler(Repeat(), tile=0).bands(image))
    assert max(len(band) for band in bands) <= 64
    assert all(band.base is None for band in bands)  # a view would keep the whole row of tiles alive
    np.testing.assert_array_equal(np.concatenate(bands), image.repeat(2, 0).repeat(2, 1))


def test_a_network_on_a_gpu_counts_against_its_memory_and_rows_against_that_of_the_machine():
    info = _info(receptive_radius=10)
    sizes = {"shape": (3000, 4000, 3), "per_pixel": 2000}
    tiles, _ = largest_tiles(info, **sizes, budget=10**9, device_budget=10**8)
    side = tiles.size + 2 * tiles.overlap
    assert 0.7e8 < 2000 * side**2 <= 1e8
    with pytest.raises(DataError, match="and 1 MB are left"):
        largest_tiles(info, **sizes, budget=10**9, device_budget=10**6)


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


@pytest.mark.parametrize(("limit", "times"), [(None, 2), (10**10, 2 + 9)])
def test_the_heap_is_trimmed_between_rows_and_where_memory_is_limited(rng, monkeypatch, limit, times):
    released = []
    monkeypatch.setattr("ppsr.tiling.trim_heap", lambda: released.append(1))
    upscaler = Upscaler(Repeat(), tile=16, max_memory=limit)
    upscaler(rng.random((48, 48, 3), dtype=np.float32))
    assert len(released) == times


def test_memory_that_never_suffices_is_an_error_and_not_an_image(rng):
    upscaler = Upscaler(ShortOfMemory(4, MemoryError()), tile=32)
    with pytest.raises(DataError, match="memory is short even for a tile"):
        upscaler(rng.random((64, 64, 3), dtype=np.float32))


def test_overlap_follows_the_network():
    assert default_overlap(_info(receptive_radius=18)) == 18
    assert default_overlap(_info(receptive_radius=17, size_multiple=4)) == 20
    assert default_overlap(_info(receptive_radius=348)) == 64
    assert default_overlap(_info()) == 32
    assert default_overlap(_info(size_multiple=32)) == 64


def test_what_saw_a_tiles_border_is_thrown_away():
    exact = make_tiles(_info(receptive_radius=18), 100)
    assert exact == Tiles(100, 18, 0)
    assert make_tiles(_info(), 100) == Tiles(100, 32, 16)
    assert make_tiles(_info(), 4).size >= 32  # two fades fit into a tile
    with pytest.raises(ConfigError, match="must not be negative"):
        make_tiles(_info(), -1)


def test_the_largest_tiles_that_fit_are_chosen():
    info = _info(receptive_radius=10)
    budget = 200_000_000
    tiles, needed = largest_tiles(info, (3000, 4000, 3), per_pixel=2000, budget=budget)
    assert 0.7 * budget < needed <= budget
    rows, columns = (math.ceil(length / math.ceil(length / tiles.size)) for length in (3000, 4000))
    network = 2000 * (rows + 2 * tiles.overlap) * (columns + 2 * tiles.overlap)
    assert needed == pytest.approx(network + rows * 4000 * 16 * 12, rel=0.01)
    whole, needed = largest_tiles(info, (100, 100, 3), per_pixel=2000, budget=budget)
    assert whole.size == 0
    assert needed == 100 * 100 * (2000 + 16 * 12)
