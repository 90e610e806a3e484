"""What differs between versions and builds of Paddle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from paddle.base import core

__all__ = ["full_precision"]


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute matrix products and convolutions in float32 inside, also on GPUs that have TF32.

    There, Paddle by default rounds the factors to 11 bits, which moves JPEG coefficients to other levels. CPU
    builds of 2.6 lack the switches.
    """
    names = [name for name in ("cublas", "cudnn") if hasattr(core, f"get_{name}_switch")]
    before = {name: getattr(core, f"get_{name}_switch")() for name in names}
    for name in names:
        getattr(core, f"set_{name}_switch")(False)
    try:
        yield
    finally:
        for name, value in before.items():
            getattr(core, f"set_{name}_switch")(value)
