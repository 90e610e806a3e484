"""bfloat16, which numpy lacks: files hold its bits as 16-bit integers, and so does Paddle's `numpy()`."""

from __future__ import annotations

import numpy as np

__all__ = ["from_bits"]


def from_bits(bits: np.ndarray) -> np.ndarray:
    """uint16 of any shape -> the float32 of the same value, which every bfloat16 has."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
