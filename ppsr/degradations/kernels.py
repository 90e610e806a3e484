"""Blur kernels: (generalised) Gaussian, plateau, sinc; float64, normalised to sum 1.

Formulas: Liu et al., "Estimating generalized Gaussian blur kernels", BMVC 2020; Real-ESRGAN (Wang et al.,
2021, arXiv:2107.10833) for the mixture and the sinc filter. With g the offset from the centre and q = g^T
Sigma^-1 g: Gaussian exp(-q/2), generalised exp(-q^beta / 2), plateau 1 / (1 + q^beta).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from ppsr.errors import ConfigError

__all__ = [
    "FILTER_RADIUS",
    "KERNEL_SHAPES",
    "KERNEL_SIZE",
    "Kernel",
    "circular_lowpass",
    "covariance",
    "gaussian",
    "generalized_gaussian",
    "mesh_grid",
    "mixed_kernel",
    "pad_kernel",
    "plateau",
    "sinc_kernel",
    "unit_pulse",
]

KERNEL_SIZE = 21  # of padded kernels
FILTER_RADIUS = KERNEL_SIZE // 2


@dataclass
class Kernel:
    """A kernel with the parameters that describe it.

    Attributes:
        values: k x k.
        size: side before padding; 0 for the unit pulse.
        sigma_x: standard deviation along the first axis of the ellipse, pixels.
        sigma_y: along the second; equal for isotropic kernels.
        rotation: angle of the ellipse in radians.
        cutoff: cutoff frequency of a sinc kernel in radians per pixel; 0 otherwise.
    """

    values: np.ndarray
    size: int
    sigma_x: float = 0.0
    sigma_y: float = 0.0
    rotation: float = 0.0
    cutoff: float = 0.0


def mesh_grid(kernel_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets from the centre: (k, k, 2) as (x, y), then x and y alone; x runs along columns."""
    axis = np.arange(-kernel_size // 2 + 1.0, kernel_size // 2 + 1.0)
    xx, yy = np.meshgrid(axis, axis)
    return np.stack([xx, yy], axis=-1), xx, yy


def covariance(sig_x: float, sig_y: float, theta: float) -> np.ndarray:
    """Covariance of a rotated ellipse, 2 x 2."""
    U = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    return U @ np.diag([sig_x**2, sig_y**2]) @ U.T


def _form(kernel_size: int, sig_x: float, sig_y: float, theta: float, isotropic: bool) -> np.ndarray:
    """q = g^T Sigma^-1 g on the grid."""
    grid, _, _ = mesh_grid(kernel_size)
    sigma = np.diag([sig_x**2, sig_x**2]) if isotropic else covariance(sig_x, sig_y, theta)
    return np.sum((grid @ np.linalg.inv(sigma)) * grid, axis=2)


def _normalised(kernel: np.ndarray) -> np.ndarray:
    return kernel / kernel.sum()


def gaussian(
    kernel_size: int, sig_x: float, sig_y: float, theta: float, *, isotropic: bool = True
) -> np.ndarray:
    """Gaussian; isotropic uses sig_x alone."""
    return _normalised(np.exp(-0.5 * _form(kernel_size, sig_x, sig_y, theta, isotropic)))


def generalized_gaussian(
    kernel_size: int, sig_x: float, sig_y: float, theta: float, beta: float, *, isotropic: bool = True
) -> np.ndarray:
    """Generalised Gaussian of shape `beta`."""
    return _normalised(np.exp(-0.5 * _form(kernel_size, sig_x, sig_y, theta, isotropic) ** beta))


def plateau(
    kernel_size: int, sig_x: float, sig_y: float, theta: float, beta: float, *, isotropic: bool = True
) -> np.ndarray:
    """Plateau-shaped kernel of shape `beta`."""
    return _normalised(1 / (1 + _form(kernel_size, sig_x, sig_y, theta, isotropic) ** beta))


def circular_lowpass(cutoff: float, kernel_size: int, pad_to: int = 0) -> np.ndarray:
    """Two-dimensional sinc filter with a circular pass band.

    Args:
        cutoff: radians per pixel, up to pi.
        pad_to: side to pad to with zeros; 0 for none.
    """
    axis = np.arange(kernel_size) - (kernel_size - 1) / 2
    radius = np.hypot(axis[:, None], axis[None])
    with np.errstate(divide="ignore", invalid="ignore"):
        kernel = cutoff * special.j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[(kernel_size - 1) // 2, (kernel_size - 1) // 2] = cutoff**2 / (4 * np.pi)
    return pad_kernel(_normalised(kernel), max(pad_to, kernel_size))


def pad_kernel(kernel: np.ndarray, size: int) -> np.ndarray:
    """Surround a kernel by zeros up to an odd side."""
    margin = (size - kernel.shape[0]) // 2
    return np.pad(kernel, margin)


KERNEL_SHAPES = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


def mixed_kernel(
    rng: np.random.Generator,
    *,
    kernel_list: Sequence[str],
    kernel_prob: Sequence[float],
    kernel_size: int,
    sigma_x_range: Sequence[float],
    sigma_y_range: Sequence[float],
    rotation_range: Sequence[float] = (-np.pi, np.pi),
    betag_range: Sequence[float] = (0.5, 4),
    betap_range: Sequence[float] = (1, 2),
    noise_range: Sequence[float] | None = None,
) -> Kernel:
    """Draw a kernel of a random family.

    The order of the draws is that of the published code: family, sigma_x, then sigma_y and rotation if
    anisotropic, then whether beta is below 1, beta, and the multiplicative noise.
    """
    shape = str(rng.choice(kernel_list, p=kernel_prob))
    if shape not in KERNEL_SHAPES:
        raise ConfigError(f"kernel family '{shape}' is unknown; valid: {', '.join(KERNEL_SHAPES)}")
    isotropic = not shape.endswith("aniso")
    sigma_x = rng.uniform(sigma_x_range[0], sigma_x_range[1])
    sigma_y, rotation = sigma_x, 0.0
    if not isotropic:
        sigma_y = rng.uniform(sigma_y_range[0], sigma_y_range[1])
        rotation = rng.uniform(rotation_range[0], rotation_range[1])
    arguments = (kernel_size, sigma_x, sigma_y, rotation)
    if shape.startswith("generalized"):
        kernel = generalized_gaussian(*arguments, _beta(rng, betag_range), isotropic=isotropic)
    elif shape.startswith("plateau"):
        kernel = plateau(*arguments, _beta(rng, betap_range), isotropic=isotropic)
    else:
        kernel = gaussian(*arguments, isotropic=isotropic)
    if noise_range is not None and not shape.startswith("plateau"):  # as published
        low, high = noise_range
        noise = np.array([rng.uniform(low, high) for _ in range(kernel.size)]).reshape(kernel.shape)
        kernel = _normalised(kernel * noise)
    return Kernel(kernel, kernel_size, sigma_x, sigma_y, rotation)


def _beta(rng: np.random.Generator, limits: Sequence[float]) -> float:
    """Half of the draws are below 1, half above."""
    return rng.uniform(limits[0], 1) if rng.uniform() < 0.5 else rng.uniform(1, limits[1])


def sinc_kernel(
    rng: np.random.Generator, *, sizes: Sequence[int], probability: float, pad_to: int = KERNEL_SIZE
) -> Kernel:
    """The final sinc filter, or (with 1 - probability) a unit pulse, recorded with size and cut-off 0."""
    if rng.uniform() < probability:
        size = int(rng.choice(sizes))
        cutoff = rng.uniform(np.pi / 3, np.pi)
        return Kernel(circular_lowpass(cutoff, size, pad_to), size, cutoff=cutoff)
    return unit_pulse(pad_to)


def unit_pulse(size: int = KERNEL_SIZE) -> Kernel:
    """The kernel that changes nothing."""
    pulse = np.zeros((size, size))
    pulse[size // 2, size // 2] = 1
    return Kernel(pulse, 0)
