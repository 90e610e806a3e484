"""Local attribution maps: which LR pixels a network uses for a window of its SR image.

Gu, Dong, "Interpreting Super-Resolution Networks with Local Attribution Maps", CVPR 2021, arXiv:2011.11036;
settings and details as in the notebooks of DRCT (Hsu et al., arXiv:2404.00722). Integrated gradients along a
path from a blurred image to the image. Differences: the steps run in batches, padding and value range of
the network are taken care of, and flat pixels have slope zero (see `edge_strength`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import paddle
from paddle import Tensor, nn

from ppsr.analysis.batches import MEMORY_MIB, OnStep, fitting_batch, in_batches
from ppsr.analysis.layers import frozen
from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import apply_generator

__all__ = [
    "Lam",
    "LamSettings",
    "PathSteps",
    "blur_kernels",
    "blur_path",
    "edge_strength",
    "gini",
    "lam",
    "magnitude_map",
    "path_steps",
    "signed_map",
]


def edge_strength(sr: Tensor, window: tuple[int, int, int] | None = None) -> Tensor:
    """Sum of the lengths of the gradient vectors, per sample.

    Args:
        sr: (N, C, H, W).
        window: top, left and side in pixels of `sr`; None is the whole image. The last row and column of
            the image have no gradient.

    Returns:
        (N,).
    """
    if window is not None:
        top, left, side = window
        sr = sr[:, :, top : top + side + 1, left : left + side + 1]
    down = sr[:, :, 1:, :-1] - sr[:, :, :-1, :-1]
    right = sr[:, :, :-1, 1:] - sr[:, :, :-1, :-1]
    square = down * down + right * right
    sloped = square > 0
    length = paddle.sqrt(paddle.where(sloped, square, paddle.ones_like(square)))
    return (length * sloped.astype(length.dtype)).sum([1, 2, 3])


def signed_map(gradient: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W) in [-1, 1]: the sum over channels by its largest magnitude."""
    total = gradient.sum(axis=0)
    return total / max(float(np.abs(total).max()), np.finfo(np.float32).tiny)


def magnitude_map(gradient: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W) in [0, 1]: magnitude of `signed_map`."""
    return np.abs(signed_map(gradient))


_ROUNDING = 1e-6
_FAINT = 0.01  # edge strength per value of the window; where there is less, rounding is compared with this


@dataclass(frozen=True)
class LamSettings:
    """Settings of a LAM; the defaults are the published ones.

    Attributes:
        window: side of the explained window, in SR pixels.
        top: its first row; None centres it.
        left: its first column; None centres it.
        sigma: deviation of the blur at the start of the path, in LR pixels.
        fold: number of steps from the blurred image to the image, over which gradients are integrated.
        kernel_size: side of the blur kernels, at least 3.
    """

    window: int = 16
    top: int | None = None
    left: int | None = None
    sigma: float = 1.2
    fold: int = 50
    kernel_size: int = 9

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("fold", 1), ("kernel_size", 3)):
            if getattr(self, name) < least:
                raise ConfigError(f"LAM: {name} must be at least {least}, got {getattr(self, name)}")
        if self.kernel_size % 2 == 0:  # it would shift the image by half a pixel
            raise ConfigError(f"LAM: kernel_size must be odd, got {self.kernel_size}")
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ConfigError(f"LAM: sigma must be a positive number, got {self.sigma}")

    def place(self, height: int, width: int) -> tuple[int, int, int]:
        """Top, left and side of the window in an SR image of this size."""
        top = (height - self.window) // 2 if self.top is None else self.top
        left = (width - self.window) // 2 if self.left is None else self.left
        if min(top, left) < 0 or top + self.window > height or left + self.window > width:
            raise ConfigError(
                f"LAM: a window of {self.window} pixels at row {top}, column {left} leaves the SR image of "
                f"{height} x {width}"
            )
        return top, left, self.window


@dataclass(frozen=True)
class PathSteps:
    """Some steps of the path.

    Attributes:
        start: index of the first.
        attributions: (K, C, H, W), gradient of the objective times derivative of the path.
        objectives: (K,).
        sr: (C, sH, sW), SR of the last of them.
    """

    start: int
    attributions: np.ndarray
    objectives: np.ndarray
    sr: np.ndarray


@dataclass(frozen=True)
class Lam:
    """A local attribution map.

    Attributes:
        lq: (C, H, W), the image.
        sr: (C, sH, sW), not clipped.
        gradient: (C, H, W), mean attribution over the path.
        objectives: (fold,), edge strength of the window along the path.
        window: top, left, side in SR pixels.
    """

    lq: np.ndarray
    sr: np.ndarray
    gradient: np.ndarray
    objectives: np.ndarray
    window: tuple[int, int, int]

    @cached_property
    def attributed(self) -> bool:
        """Whether any pixel contributes more than rounding does: 1e-6 of the objective, or of a faint one
        (0.01 per value of the window) where the SR image is flat.

        None does where the image is flat, or where the window does not depend on it.
        """
        faint = _FAINT * len(self.sr) * self.window[2] ** 2
        largest = float(np.abs(self.gradient.sum(axis=0)).max())
        return largest > _ROUNDING * max(float(np.abs(self.objectives).max()), faint)

    @property
    def _significant(self) -> np.ndarray:
        return self.gradient if self.attributed else np.zeros_like(self.gradient)

    @cached_property
    def map(self) -> np.ndarray:
        """(H, W) in [0, 1]: how much each LR pixel contributes; zero without attribution."""
        return magnitude_map(self._significant)

    @cached_property
    def signed(self) -> np.ndarray:
        """(H, W) in [-1, 1]: the same with direction."""
        return signed_map(self._significant)

    @property
    def diffusion_index(self) -> float:
        """(1 - Gini) * 100: 0 where one pixel contributes all, 100 where all contribute alike.

        NaN where nothing is attributed.
        """
        return (1 - gini(self.map)) * 100 if self.attributed else math.nan

    def contributing_pixels(self, share: float = 0.95) -> int:
        """How many of the strongest pixels stay below this share of the whole contribution."""
        strongest = np.sort(self.map.ravel().astype(np.float64))[::-1]
        return int((np.cumsum(strongest) < share * strongest.sum()).sum())


def gini(values: np.ndarray) -> float:
    """Gini coefficient of non-negative values: 0 for equal ones, towards 1 where one holds all.

    Negative values are shifted to start at zero; 1e-7 is added to all, as published.
    """
    ordered = np.sort(values.ravel().astype(np.float64))
    ordered += max(0.0, -float(ordered[0])) + 1e-7
    weights = 2 * np.arange(1, ordered.size + 1) - ordered.size - 1
    return float(weights @ ordered / (ordered.size * ordered.sum()))


def blur_kernels(sigma: float, fold: int, size: int) -> np.ndarray:
    """(fold + 1, size, size) float64 Gaussians whose deviation falls linearly from sigma to zero."""
    reach = np.arange(-size // 2 + 1, size // 2 + 1)
    square = reach[:, None] ** 2 + reach[None] ** 2
    deviations = np.linspace(sigma, 0, fold + 1)
    kernels = np.exp(-square / (2 * (deviations[:, None, None] + 1e-5) ** 2))
    return kernels / kernels.sum(axis=(1, 2), keepdims=True)


def blur_path(lq: np.ndarray, kernels: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and derivatives at the steps start..stop-1 of the path.

    Args:
        lq: (C, H, W) float32.
        kernels: from `blur_kernels`; step i is blurred by kernel i + 1, the last step is the image itself.

    Returns:
        Two arrays (K, C, H, W) float32.
    """
    fold = len(kernels) - 1
    images = [[cv2.filter2D(plane, -1, kernels[i + 1]) for plane in lq] for i in range(start, stop)]
    slopes = [
        [cv2.filter2D(plane, -1, (kernels[i + 1] - kernels[i]) * fold) for plane in lq]
        for i in range(start, stop)
    ]
    return np.asarray(images, np.float32), np.asarray(slopes, np.float32)


def path_steps(
    net: nn.Layer,
    lq: np.ndarray,
    settings: LamSettings,
    *,
    memory_mib: int = MEMORY_MIB,
    on_step: OnStep | None = None,
) -> Iterator[PathSteps]:
    """The steps of a LAM in order, as many at once as the memory budget allows.

    Args:
        lq: (C, H, W) in [0, 1].

    Raises:
        ConfigError: the window leaves the image.
        DataError: not an image, or the network gives values that are not finite.
    """
    lq = _checked(lq)
    _, height, width = lq.shape
    window = settings.place(height * net.scale, width * net.scale)
    kernels = blur_kernels(settings.sigma, settings.fold, settings.kernel_size)

    def work(start: int, stop: int) -> PathSteps:
        images, slopes = blur_path(lq, kernels, start, stop)
        x = paddle.to_tensor(images, stop_gradient=False)
        sr = apply_generator(net, x)
        strengths = edge_strength(sr, window)
        strengths.sum().backward()
        gradients = x.grad.numpy()
        objectives = strengths.numpy().astype(np.float64)
        if not (np.isfinite(gradients).all() and np.isfinite(objectives).all()):
            raise DataError("the network gave values that are not finite; its weights are broken")
        return PathSteps(start, gradients * slopes, objectives, sr[-1].numpy())

    with frozen(net):
        batch = fitting_batch(net, paddle.to_tensor(lq[None]), memory_mib=memory_mib, most=settings.fold)
        for _, _, steps in in_batches(work, settings.fold, batch, on_step=on_step):
            yield steps


def _checked(lq: np.ndarray) -> np.ndarray:
    if lq.ndim != 3 or not np.isfinite(lq).all():
        raise DataError(f"an image (C, H, W) of finite values is needed, got an array of shape {lq.shape}")
    return np.ascontiguousarray(lq, dtype=np.float32)


def lam(
    net: nn.Layer,
    lq: np.ndarray,
    settings: LamSettings | None = None,
    *,
    memory_mib: int = MEMORY_MIB,
    on_step: OnStep | None = None,
) -> Lam:
    """Local attribution map of a generator on one image; arguments and errors as `path_steps`."""
    settings = settings or LamSettings()
    lq = _checked(lq)
    total = np.zeros(lq.shape, np.float64)
    objectives: list[float] = []
    sr = np.empty((0, 0, 0), np.float32)
    for steps in path_steps(net, lq, settings, memory_mib=memory_mib, on_step=on_step):
        total += steps.attributions.sum(axis=0, dtype=np.float64)
        objectives.extend(steps.objectives)
        sr = steps.sr
    gradient = (total / settings.fold).astype(np.float32)
    return Lam(lq, sr, gradient, np.asarray(objectives), settings.place(*sr.shape[-2:]))
