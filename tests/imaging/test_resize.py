"""MATLAB's resizing of whole numbers."""

import math

import numpy as np
import paddle
import pytest
from PIL import Image

from ppsr.degradations import device
from ppsr.errors import DataError
from ppsr.imaging.resize import interpolate, matlab_resize, matlab_resize_integers


def _keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def _line(line, scale):
    """One line of numbers, sample by sample, by the formula in MATLAB's documentation."""
    size, stretch = len(line), min(scale, 1.0)
    result = []
    for index in range(math.ceil(size * scale)):
        centre = (index + 0.5) / scale - 0.5
        taps = range(math.floor(centre - 2 / stretch), math.ceil(centre + 2 / stretch) + 1)
        weights = [_keys((centre - tap) * stretch) for tap in taps]
        mirrored = [tap % (2 * size) for tap in taps]
        values = [line[tap if tap < size else 2 * size - 1 - tap] for tap in mirrored]
        result.append(float(np.dot(weights, values)) / sum(weights))
    return np.array(result)


def _expected(image, scale):
    largest = np.iinfo(image.dtype).max
    for axis in (0, 1):
        lines = np.apply_along_axis(_line, axis, image.astype(float), scale)
        image = np.clip(np.floor(lines + 0.5), 0, largest)
    return image


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 1 / 8, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.smoke
def test_rows_are_rounded_before_columns(rng, scale, dtype):
    image = rng.integers(0, np.iinfo(dtype).max, (24, 31, 3), dtype=dtype, endpoint=True)
    made = matlab_resize_integers(image, scale)
    assert made.dtype == dtype
    difference = np.abs(made.astype(int) - _expected(image, scale))
    # an exact half may fall to either side, as the sums have other orders
    assert difference.max() <= 1
    assert (difference > 0).mean() < 2e-3


def test_overshoot_saturates():
    edge = np.zeros((16, 16), np.uint8)
    edge[:, 8:] = 255
    made = matlab_resize_integers(edge, 2)
    assert matlab_resize(edge, 2).max() > 255
    assert (made.min(), made.max()) == (0, 255)


def test_other_types_and_factors_are_refused():
    with pytest.raises(DataError, match="got float64"):
        matlab_resize_integers(np.zeros((4, 4)), 2)
    with pytest.raises(DataError, match="positive, got 0"):
        matlab_resize_integers(np.zeros((4, 4), np.uint8), 0)
    for factor in (-1, np.nan, np.inf):
        with pytest.raises(DataError, match=f"positive, got {factor}"):
            matlab_resize(np.zeros((4, 4)), factor)
    with pytest.raises(DataError, match="without pixels"):
        matlab_resize(np.zeros((0, 4, 3)), 2)


# what stays: both axes, the short one, none
CASES = [(1.0001, (8, 30)), (1.04, (8, 30)), (1.12, (30, 8)), (1.5, (7, 9)), (0.7, (12, 5)), (0.29, (100, 7))]


def cubic(distance: float) -> float:
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def sample(line: np.ndarray, index: int, scale: float, length: int, mode: str) -> np.ndarray:
    """Element `index` of `length` from the rows of `line`."""
    size = len(line)
    if mode == "area":
        first, last = math.floor(index * size / length), math.ceil((index + 1) * size / length)
        return line[first:last].mean(0)
    place = (index + 0.5) / scale - 0.5
    if mode == "nearest":
        return line[min(math.floor(place + 0.5), size - 1)]
    if mode == "bilinear":
        if size == length:
            return line[index]  # torch's rule: nothing moves along an axis whose size stays
        place = max(place, 0.0)
        reach, weight = (0, 1), lambda distance: 1 - abs(distance)
    else:
        reach, weight = (-1, 0, 1, 2), cubic
    base = math.floor(place)
    return sum(weight(place - base - k) * line[min(max(base + k, 0), size - 1)] for k in reach)


def expected(image: np.ndarray, scale: float, mode: str) -> np.ndarray:
    for _ in range(2):
        length = math.floor(image.shape[0] * scale)
        image = np.stack([sample(image, i, scale, length, mode) for i in range(length)])
        image = image.transpose(1, 0, 2)
    return image


@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize(("scale", "shape"), CASES)
def test_every_factor_samples_where_torch_does(rng, scale, shape, mode):
    image = rng.random((*shape, 2), dtype=np.float32)
    wanted = expected(image.astype(np.float64), scale, mode)
    # positions are float32 on the device: 100 * 2 ** -24, times slopes of up to 3
    np.testing.assert_allclose(interpolate(image, mode=mode, scale=scale), wanted, atol=2e-5)
    batch = device.interpolate(paddle.to_tensor(image.transpose(2, 0, 1)[None]), mode=mode, scale=scale)
    np.testing.assert_allclose(batch.numpy()[0].transpose(1, 2, 0), wanted, atol=2e-5)


@pytest.mark.parametrize("size", [(9, 30), (23, 14), (40, 61), (21, 33)])
def test_lanczos_equals_pillows(rng, size):
    image = rng.random((21, 33, 1), dtype=np.float32)
    wanted = np.asarray(Image.fromarray(image[..., 0]).resize(size[::-1], Image.Resampling.LANCZOS))
    np.testing.assert_allclose(interpolate(image, mode="lanczos", size=size)[..., 0], wanted, atol=2e-6)
    batch = device.interpolate(paddle.to_tensor(image.transpose(2, 0, 1)[None]), mode="lanczos", size=size)
    np.testing.assert_allclose(batch.numpy()[0, 0], wanted, atol=2e-6)
