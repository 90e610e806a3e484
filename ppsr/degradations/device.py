"""The formulas of degradations for batches of tensors, on the device where a batch is.

The formulas are those of the host (`blur`, `jpeg`, `noise`, `ppsr.imaging.resize`), which has one image
at a time; the batch form is that of Real-ESRGAN (Wang et al., ICCVW 2021, arXiv:2107.10833) with
mlomnitz/DiffJPEG: one kernel, one noise level and one quality per image. Differences from the released
code: Gaussian and Poisson noise occur in the same batch, and gray noise has a pattern per image.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import cache

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppsr.accelerate import conv2d
from ppsr.degradations import blur
from ppsr.degradations.jpeg import BLOCK_DCT, CHROMA, LUMA, SUBSAMPLING, TO_RGB, TO_YCC, quality_factor
from ppsr.degradations.noise import LUMA_WEIGHTS
from ppsr.errors import DataError
from ppsr.imaging.resize import RESIZE_MODES, torch_matrix
from ppsr.memory import device_array


class TensorDraws:
    """Random tensors from Paddle's generator, which `seeded` seeds."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers."""
        return paddle.randn(list(shape), dtype="float32")

    def poisson(self, rate: Tensor) -> Tensor:
        """Counts with these means."""
        return paddle.poisson(rate)


@cache
def _constants(place: str) -> dict[str, Tensor]:
    """Tensors that never change, made once per device."""
    arrays = {
        "luma_weights": LUMA_WEIGHTS.reshape(1, -1, 1, 1),
        "powers": 2 ** np.arange(8),
        "photons": 2.0 ** np.arange(9, dtype=np.float32),
        "block_dct": BLOCK_DCT,
        "luma_table": LUMA.reshape(1, 1, 64),
        "chroma_table": CHROMA.reshape(1, 1, 64),
        "largest_byte": np.full([1], 255, np.float32),
        "largest_word": np.full([1], 65535, np.float32),
    }
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}


def _constant(name: str) -> Tensor:
    return _constants(paddle.get_device())[name]


@cache
def _usm_kernel(place: str, channels: int, radius: int, sigma: float) -> Tensor:
    line = blur.usm_kernel(radius, sigma).astype(np.float32)
    return paddle.to_tensor(np.tile(line, (channels, 1, 1, 1)))


def to_unit(x: Tensor) -> Tensor:
    """Images of any shape -> float32 in [0, 1], equal to the host's division bit for bit.

    Args:
        x: uint8; or int16, which stands for 16 bit less 32768.
    """
    values, largest = x.astype("float32"), "largest_byte"
    if x.dtype == paddle.int16:
        values, largest = values + 32768, "largest_word"
    return values / _constant(largest)  # by a number, Paddle multiplies with its reciprocal


def _per_sample(values: Sequence[float] | np.ndarray) -> Tensor:
    """(N,) numbers as (N, 1, 1, 1)."""
    return device_array(np.asarray(values, np.float32).reshape(-1, 1, 1, 1))


def _reflected(x: Tensor, reach: int) -> Tensor:
    if min(x.shape[2:]) <= reach:
        raise DataError(f"a {2 * reach + 1} pixel filter needs sides above {reach}, got {list(x.shape[2:])}")
    return F.pad(x, [reach] * 4, mode="reflect")


def filter2d(x: Tensor, kernels: np.ndarray) -> Tensor:
    """Cross-correlation of every image with its own kernel, borders by reflection.

    Args:
        kernels: (N, k, k), k odd.
    """
    if kernels.shape[1] % 2 == 0:
        raise DataError(f"a filter kernel must have an odd side, got {kernels.shape}")
    kernels = blur.trimmed(kernels)
    count, channels, height, width = x.shape
    reach = kernels.shape[1] // 2
    padded = _reflected(x, reach).reshape([1, count * channels, height + 2 * reach, width + 2 * reach])
    weight = device_array(kernels[:, None]).expand([count, channels, *kernels.shape[1:]])
    weight = weight.reshape([count * channels, 1, *kernels.shape[1:]])
    return conv2d(padded, weight, groups=count * channels).reshape([count, channels, height, width])


def usm_sharpen(
    x: Tensor, *, weight: float = 0.5, radius: int = 50, sigma: float = 0.0, threshold: float = 10.0
) -> Tensor:
    """Unsharp mask with a soft mask where the detail exceeds `threshold` (of 255).

    Args:
        x: (N, C, H, W) in [0, 1], sides above radius / 2.
    """
    channels = x.shape[1]
    kernel = _usm_kernel(paddle.get_device(), channels, radius, sigma)

    def smooth(image: Tensor) -> Tensor:
        across = conv2d(_reflected(image, kernel.shape[3] // 2), kernel, groups=channels)
        return conv2d(across, kernel.transpose([0, 1, 3, 2]), groups=channels)

    detail = x - smooth(x)
    soft = smooth((detail.abs() * 255 > threshold).astype(x.dtype))
    return soft * paddle.clip(x + weight * detail, 0, 1) + (1 - soft) * x


def interpolate(
    x: Tensor, *, mode: str, scale: float | None = None, size: tuple[int, int] | None = None
) -> Tensor:
    """Resize (N, C, H, W) as `ppsr.imaging.resize.interpolate`."""
    if mode not in RESIZE_MODES:
        raise DataError(f"resize mode '{mode}' is unknown; valid: {', '.join(RESIZE_MODES)}")
    old = list(x.shape[2:])
    if size is not None:
        new, steps = list(size), [before / after for before, after in zip(old, size, strict=True)]
    elif scale is not None:
        new, steps = [math.floor(side * scale) for side in old], [1 / scale] * 2
    else:
        raise DataError("give a scale or a size")
    if new == old and (mode == "bilinear" or steps == [1, 1]):
        return x
    if mode == "area":
        return F.adaptive_avg_pool2d(x, new)
    kept = mode == "bilinear" and any(map(operator.eq, new, old))
    if mode in ("nearest", "lanczos") or new == old or min(new) == 1 or kept:
        # Paddle has no antialiasing, copies where both sizes stay and only there, misplaces single samples
        rows, columns = (
            device_array(torch_matrix(*shape, mode).toarray()) for shape in zip(old, new, steps, strict=True)
        )
        return paddle.matmul(paddle.matmul(rows, x), columns, transpose_y=True)
    by_size = {"size": new} if size is not None else {"scale_factor": scale}
    return F.interpolate(x, mode=mode, align_corners=False, **by_size)


def round_to_8bit(x: Tensor) -> Tensor:
    """To the 256 levels of an 8-bit file, still float32 in [0, 1]."""
    return paddle.clip(paddle.round(x * 255), 0, 255) / 255


def gaussian_noise(x: Tensor, *, sigma: np.ndarray, gray: np.ndarray, draws: TensorDraws) -> Tensor:
    """Noise for (N, C, H, W) of deviation sigma / 255; one pattern for all channels where gray.

    Args:
        sigma: (N,).
        gray: (N,) flags.
    """
    drawn = draws.normal(x.shape)
    return _where(gray, drawn[:, :1], drawn) * _per_sample(sigma / 255)


def _where(flags: np.ndarray, one_channel: Tensor, channels: Tensor) -> Tensor:
    """Per image, one plane for all channels, or the channels."""
    chosen = device_array(np.asarray(flags, bool).reshape(-1, 1, 1, 1))
    return paddle.where(chosen.expand_as(channels), one_channel.expand_as(channels), channels)


def poisson_rate(x: Tensor, *, gray: np.ndarray) -> tuple[Tensor, Tensor]:
    """Rates (N, C, H, W) of the Poisson sampler, and the photon counts (N, 1, 1, 1) they were multiplied by.

    Photon counts are 2 ** ceil(log2(number of distinct values)) of the 8-bit image, where gray of its luma:
    that of RGB, or the mean of other channels.
    """
    luma = x[:, :1]
    if np.any(gray) and x.shape[1] != 1:
        weighted = x * _constant("luma_weights") if x.shape[1] == 3 else x / x.shape[1]
        luma = weighted.sum(axis=1, keepdim=True)
    levels = _where(gray, round_to_8bit(luma), round_to_8bit(x))
    count = x.shape[0]
    codes = paddle.round(levels * 255).astype("int64").reshape([count, -1])
    codes = codes + 256 * paddle.arange(count, dtype="int64").unsqueeze(1)
    codes = codes.flatten()
    # unlike bincount, writing ones where values occur does not wait for the device
    present = paddle.scatter(paddle.zeros([256 * count]), codes, paddle.ones(codes.shape))
    distinct = present.reshape([count, 256]).astype("int64").sum(axis=1, keepdim=True)
    # 2 ** (number of powers of two below the count), without a logarithm that may round
    exponent = (distinct > _constant("powers")).astype("int64").sum(axis=1)
    photons = paddle.gather(_constant("photons"), exponent).reshape([-1, 1, 1, 1])
    return levels * photons, photons


def poisson_noise(x: Tensor, *, scale: np.ndarray, gray: np.ndarray, draws: TensorDraws) -> Tensor:
    """Signal-dependent noise for (N, C, H, W): (Poisson(rate) - rate) / photons, times scale.

    Args:
        scale: (N,).
        gray: (N,) flags: noise of the luma for all channels.
    """
    rate, photons = poisson_rate(x, gray=gray)
    noise = draws.poisson(rate) - rate
    return _where(gray, noise[:, :1], noise) / photons * _per_sample(scale)


def _compressed(planes: Tensor, table: Tensor) -> Tensor:
    """(N, H, W) planes around 0, sides multiples of 8, through DCT and quantisation (N, 1, 64) and back."""
    count, height, width = planes.shape
    blocks = planes.reshape([count, height // 8, 8, width // 8, 8]).transpose([0, 1, 3, 2, 4])
    basis = _constant("block_dct")
    coefficients = paddle.matmul(blocks.reshape([count, -1, 64]), basis, transpose_y=True) / table
    blocks = paddle.matmul(paddle.round(coefficients) * table, basis)
    blocks = blocks.reshape([count, height // 8, width // 8, 8, 8]).transpose([0, 1, 3, 2, 4])
    return blocks.reshape([count, height, width])


def _mixed(planes: Sequence[Tensor], matrix: np.ndarray) -> list[Tensor]:
    """A 3 x 3 matrix times three planes."""
    return [sum(float(f) * plane for f, plane in zip(row, planes, strict=True)) for row in matrix]  # type: ignore[misc]


def jpeg(x: Tensor, quality: np.ndarray, subsampling: str = "4:2:0") -> Tensor:
    """Compress and decompress every image with its own quality.

    Args:
        x: (N, C, H, W) in [0, 1]: RGB, or other channels, each of which is compressed as gray.
        quality: (N,), 0 < q < 100.
    """
    down, across = SUBSAMPLING[subsampling]
    factor = device_array(np.array([[[quality_factor(float(q))]] for q in quality], np.float32))
    height, width = x.shape[2:]
    padded = F.pad(x, [0, -width % 16, 0, -height % 16]) * 255
    count, channels, rows, columns = padded.shape
    if channels != 3:
        table = _constant("luma_table") * factor
        coded = paddle.stack([_compressed(band - 128, table) + 128 for band in padded.unbind(1)], axis=1)
        return (paddle.clip(coded, 0, 255) / 255)[:, :, :height, :width]
    luma, *chroma = _mixed(paddle.unbind(padded, axis=1), TO_YCC)
    planes = [_compressed(luma - 128, _constant("luma_table") * factor) + 128]
    for plane in chroma:  # zero without colour, so the 128 that is added and subtracted again is left out
        parts = plane.reshape([count, rows // down, down, columns // across, across])
        coded = _compressed(parts.mean(axis=[2, 4]), _constant("chroma_table") * factor)
        coded = coded.reshape([count, rows // down, 1, columns // across, 1])
        planes.append(coded.expand_as(parts).reshape([count, rows, columns]))
    rgb = paddle.stack(_mixed(planes, TO_RGB), axis=1)
    return (paddle.clip(rgb, 0, 255) / 255)[:, :, :height, :width]
