"""Importing PaddleGAN's package, whose last release (ppgan 2.1.0) was written for Paddle 2.4.

Its `starganv2_model` takes one function from `paddle.fluid`, which later versions of Paddle lack, and by that
`import ppgan.models` fails as a whole. A stand-in for that function is there during the import, and gone
afterwards, so that nothing else takes this Paddle for an old one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import paddle
from paddle import Tensor

from ppsr.errors import ConfigError

__all__ = ["INSTALL", "MissingPpganError", "load_ppgan"]

# ppgan asks for numba 0.53.1, librosa 0.8.1 and imageio 2.9.0, which Python 3.10 has no wheels of; its
# super-resolution needs none of them.
INSTALL = "pip install munch && pip install --no-deps ppgan==2.1.0"

_FLUID = ("paddle.fluid", "paddle.fluid.layers", "paddle.fluid.layers.nn")


class MissingPpganError(ConfigError, ImportError):
    """PaddleGAN's package is not installed, or lacks something."""


def soft_relu(x: Tensor, threshold: float = 40.0) -> Tensor:
    """log(1 + exp(x)), with x limited to +-threshold."""
    return paddle.log(1 + paddle.exp(paddle.clip(x, -threshold, threshold)))


@contextmanager
def _fluid_stand_in() -> Iterator[None]:
    """`paddle.fluid.layers.nn.soft_relu` can be imported inside."""
    if find_spec("paddle.fluid") is not None:
        yield
        return
    modules = {name: ModuleType(name) for name in _FLUID}
    vars(modules[_FLUID[-1]])["soft_relu"] = soft_relu
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)


def load_ppgan() -> None:
    """Import PaddleGAN's models, data sets and metrics, which fills its registries.

    Raises:
        MissingPpganError: it is not installed; the message holds the commands that install it.
    """
    try:
        with _fluid_stand_in():
            for name in ("models", "datasets", "metrics"):
                import_module(f"ppgan.{name}")
    except ImportError as error:
        raise MissingPpganError(
            f"PaddleGAN's package ppgan cannot be imported ({error}); install it by: {INSTALL}"
        ) from error
