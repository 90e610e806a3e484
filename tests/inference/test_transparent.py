"""Colours under full transparency: the nearest visible one, in little memory."""

import tracemalloc

import numpy as np
import pytest

from ppsr.generators.network_info import NetworkInfo
from ppsr.inference.transparent import fill_hidden
from ppsr.tiling import largest_tiles


def _image(rng, height, width, channels, dtype=np.uint8):
    image = rng.integers(0, 256, (height, width, channels)).astype(dtype)
    image[..., -1] = np.where(rng.random((height, width)) < 0.7, 0, image[..., -1] | 1)
    return image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_hidden_pixels_take_the_colour_of_one_of_the_nearest(channels, dtype, rng):
    image = _image(rng, 200, 11, channels, np.uint16).astype(dtype)
    before = image.copy()
    filled = fill_hidden(image)
    np.testing.assert_array_equal(image, before)
    visible = image[..., -1] > 0
    np.testing.assert_array_equal(filled[visible], image[visible])
    np.testing.assert_array_equal(filled[..., -1], image[..., -1])
    places = np.argwhere(visible)
    for y, x in np.argwhere(~visible):
        distance = np.hypot(*(places - [y, x]).T)
        near = places[distance <= 1.1 * distance.min() + 0.1]  # OpenCV's distances are approximate
        assert (image[near[:, 0], near[:, 1], :-1] == filled[y, x, :-1]).all(axis=1).any()


def test_far_from_all_that_is_visible_its_mean_stands_in():
    image = np.zeros((400, 8, 4), np.uint8)
    image[0, :, :] = [10, 20, 31, 255]
    image[1, :, :] = [20, 20, 32, 255]
    filled = fill_hidden(image)
    assert (filled[399] == [15, 20, 32, 0]).all()
    assert (filled[60] == [20, 20, 32, 0]).all()


@pytest.mark.slow
def test_filling_takes_a_copy_and_little_more(rng):
    """The search over a whole image takes 25 bytes a pixel."""
    image = np.tile(_image(rng, 100, 500, 4), (40, 1, 1))
    tracemalloc.start()
    fill_hidden(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < image.nbytes + 3 * 64 * 500 * 40


def test_a_plan_counts_what_alpha_takes():
    info = NetworkInfo(network="Net", scale=2, receptive_radius=10)
    common = {"per_pixel": 2000, "budget": 200_000_000}
    plain, _ = largest_tiles(info, (3000, 4000, 3), **common)
    clear, needed = largest_tiles(info, (3000, 4000, 4), **common)
    assert clear.size < plain.size
    assert needed > 3000 * 4000 * 4 * 2
