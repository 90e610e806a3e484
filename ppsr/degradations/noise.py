"""Gaussian and Poisson noise on one image; the draws come from the caller."""

from __future__ import annotations

import numpy as np

__all__ = ["LUMA_WEIGHTS", "add_noise", "gaussian_noise", "poisson_noise", "poisson_rate", "round_to_8bit"]

LUMA_WEIGHTS = np.array([0.2989, 0.587, 0.114], np.float32)


def round_to_8bit(image: np.ndarray) -> np.ndarray:
    """To the 256 levels of an 8-bit file, still float32 in [0, 1]."""
    levels = np.rint(image * 255).astype(np.float32, copy=False)
    np.clip(levels, 0, 255, out=levels)
    levels /= np.float32(255)
    return levels


def gaussian_noise(
    shape: tuple[int, ...], *, sigma: float, gray: bool, rng: np.random.Generator
) -> np.ndarray:
    """Noise of H x W x C with standard deviation sigma / 255; one pattern for all channels if gray."""
    height, width, channels = shape
    drawn = rng.standard_normal((height, width, 1 if gray else channels), dtype=np.float32)
    return np.broadcast_to(drawn * np.float32(sigma / 255), shape)


def poisson_rate(image: np.ndarray, *, gray: bool) -> tuple[np.ndarray, float]:
    """Rates handed to the Poisson sampler, and the photon count they were multiplied by.

    The count is 2 ** ceil(log2(number of distinct values)) of the 8-bit image, if gray of its luma: that of
    RGB, or the mean of other channels.
    """
    plane = image
    if gray:
        plane = image @ LUMA_WEIGHTS if image.shape[2] == 3 else image.mean(axis=2)
        plane = plane[..., None]
    plane = round_to_8bit(plane)
    levels = np.unique(np.rint(plane * 255).astype(np.uint8))  # bytes are sorted faster than floats
    photons = float(2 ** np.ceil(np.log2(len(levels))))
    return (plane * photons).astype(np.float32), photons


def poisson_noise(image: np.ndarray, *, scale: float, gray: bool, rng: np.random.Generator) -> np.ndarray:
    """Signal-dependent noise: (Poisson(rate) - rate) / photons, times scale; of luma, repeated, if gray."""
    rate, photons = poisson_rate(image, gray=gray)
    noise = (rng.poisson(rate).astype(np.float32) - rate) / np.float32(photons) * np.float32(scale)
    return np.broadcast_to(noise, image.shape)


def add_noise(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Sum, clipped to [0, 1]."""
    return np.clip(image + noise, 0, 1)
