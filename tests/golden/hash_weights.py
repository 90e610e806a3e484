"""Weights by an integer hash, for goldens of full-size networks that store none."""

import math

import numpy as np


def hash_array(index: int, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Entry number `index` (from 0) of a state dict, uniform in +-scale."""
    i = np.arange(math.prod(shape), dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    x = (i * np.uint64(2654435761) + np.uint64((index + 1) * 40503 + 12345)) & mask
    for _ in range(2):
        x ^= x >> np.uint64(16)
        x = (x * np.uint64(0x45D9F3B)) & mask
    x ^= x >> np.uint64(16)
    return ((x.astype(np.float64) / 2**32 * 2 - 1) * scale).astype(np.float32).reshape(shape)
