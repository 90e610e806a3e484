"""Colours under full transparency: the nearest visible one, whatever is read at once, in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ppsr.inference.transparent import AlphaFilledImage, filling_memory
from ppsr.inference.upscaler import Upscaler
from tests.inference.helpers import Repeat


def _image(rng, height, width, channels, dtype=np.uint8):
    image = rng.integers(0, 256, (height, width, channels)).astype(dtype)
    image[..., -1] = np.where(rng.random((height, width)) < 0.7, 0, image[..., -1] | 1)
    return image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_hidden_pixels_take_the_colour_of_one_of_the_nearest(channels, dtype, rng):
    image = _image(rng, 200, 11, channels, np.uint16).astype(dtype)
    filled = AlphaFilledImage(image)[0:200, 0:11]
    visible = image[..., -1] > 0
    np.testing.assert_array_equal(filled[visible], image[visible])
    np.testing.assert_array_equal(filled[..., -1], image[..., -1])
    places = np.argwhere(visible)
    for y, x in np.argwhere(~visible):
        distance = np.hypot(*(places - [y, x]).T)
        near = places[distance <= 1.1 * distance.min() + 0.1]  # OpenCV's distances are approximate
        assert (image[near[:, 0], near[:, 1], :-1] == filled[y, x, :-1]).all(axis=1).any()


def test_what_is_read_does_not_depend_on_how_it_is_cut(rng):
    image = _image(rng, 300, 40, 4)
    image[100:280] = 0
    whole = AlphaFilledImage(image)[0:300, 0:40]
    cut = AlphaFilledImage(image)
    for top in range(0, 300, 37):
        for left in range(0, 40, 16):
            region = slice(top, min(300, top + 50)), slice(left, min(40, left + 20))
            np.testing.assert_array_equal(cut[region], whole[region])


def test_far_from_all_that_is_visible_its_mean_stands_in():
    image = np.zeros((400, 8, 4), np.uint8)
    image[0, :, :] = [10, 20, 31, 255]
    image[1, :, :] = [20, 20, 32, 255]
    filled = AlphaFilledImage(image)[0:400, 0:8]
    assert (filled[399] == [15, 20, 32, 0]).all()
    assert (filled[60] == [20, 20, 32, 0]).all()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_height_and_stays_below_what_is_planned(rng):
    """The search over a whole image takes 25 bytes a pixel."""
    peaks = []
    for height in (1000, 4000):
        image = np.tile(_image(rng, 100, 500, 4), (height // 100, 1, 1))
        tracemalloc.start()
        for _ in Upscaler(Repeat(1), tile=50, overlap=8).bands(image):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del image
    assert peaks[1] < 1.1 * peaks[0]
    # beside it, bands of a few copies: rows of tiles as float32
    assert peaks[1] < filling_memory(66, 500, 4) + 66 * 500 * 4 * 4 * 3


def test_a_plan_counts_what_alpha_takes():
    from ppsr.inference.network_info import NetworkInfo
    from ppsr.inference.tiling import largest_tiles

    info = NetworkInfo(network="Net", scale=2, receptive_radius=10)
    common = {"per_pixel": 2000, "budget": 200_000_000}
    plain, _ = largest_tiles(info, (3000, 4000, 3), **common)
    clear, needed = largest_tiles(info, (3000, 4000, 4), **common)
    assert clear.size < plain.size
    assert needed > filling_memory(clear.size + 20, 4000, 4)
