"""Gaussian and Poisson noise on one image; the draws come from the caller."""

from __future__ import annotations

import numpy as np

__all__ = ["LUMA_WEIGHTS", "add_noise", "gaussian_noise", "poisson_noise", "poisson_rate", "poisson_values"]

LUMA_WEIGHTS = np.array([0.2989, 0.587, 0.114], np.float32)


def gaussian_noise(
    shape: tuple[int, ...], *, sigma: float, gray: bool, rng: np.random.Generator
) -> np.ndarray:
    """Noise of H x W x C with standard deviation sigma / 255; one pattern for all channels if gray."""
    height, width, channels = shape
    drawn = rng.standard_normal((height, width, 1 if gray else channels), dtype=np.float32)
    return (
        np.repeat(drawn, channels, axis=2) * np.float32(sigma / 255)
        if gray
        else drawn * np.float32(sigma / 255)
    )


def _quantised(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image * 255), 0, 255) / np.float32(255)


def poisson_values(image: np.ndarray) -> float:
    """2 ** ceil(log2(number of distinct values)) of an 8-bit image: its photon count."""
    levels = len(np.unique(image))
    return float(2 ** np.ceil(np.log2(levels)))


def poisson_rate(image: np.ndarray, *, gray: bool) -> tuple[np.ndarray, float]:
    """Rates handed to the Poisson sampler, and the photon count they were multiplied by."""
    plane = _quantised((image @ LUMA_WEIGHTS)[..., None] if gray else image)
    values = poisson_values(plane)
    return (plane * values).astype(np.float32), values


def poisson_noise(image: np.ndarray, *, scale: float, gray: bool, rng: np.random.Generator) -> np.ndarray:
    """Signal-dependent noise: (Poisson(rate) - rate) / values, times scale; of luma, repeated, if gray."""
    rate, values = poisson_rate(image, gray=gray)
    noise = (rng.poisson(rate).astype(np.float32) - rate) / np.float32(values) * np.float32(scale)
    return np.repeat(noise, image.shape[2], axis=2) if gray else noise


def add_noise(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Sum, clipped to [0, 1]."""
    return np.clip(image + noise, 0, 1)
