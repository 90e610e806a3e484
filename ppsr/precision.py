"""Half precision: the type that a network takes on a device, and float32 where half would lose the result."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import paddle
from paddle import Tensor, nn

from ppsr.compat.paddle import half_types

__all__ = ["at_least_float32", "autocast_off", "float32_parameters", "half_dtype", "in_float32"]

Function = TypeVar("Function", bound=Callable[..., Any])

_HALF = (paddle.float16, paddle.bfloat16)


def half_dtype(fp16_safe: bool, *, wanted: str = "float16", device: str | None = None) -> str:
    """The half-precision type of a computation.

    Args:
        fp16_safe: whether the network's activations stay within float16, whose largest number is 65504.
        wanted: "float16" or "bfloat16", taken where the network and the device allow it.
        device: as in `paddle.set_device`; the current one by default.

    Returns:
        "float16", "bfloat16", or "float32" where neither is possible, as on every CPU.

    Example:
        >>> half_dtype(fp16_safe=False, device="gpu:0")  # compute capability 8.0 or higher
        'bfloat16'
    """
    possible = [name for name in half_types(device or paddle.get_device()) if fp16_safe or name == "bfloat16"]
    return wanted if wanted in possible else next(iter(possible), "float32")


def at_least_float32(x: Tensor) -> Tensor:
    """Half-precision tensors as float32; others as they are (tests run losses in float64)."""
    return x.astype("float32") if x.dtype in _HALF else x


def autocast_off() -> Any:
    """A context in which operators compute in the type of their inputs."""
    return paddle.amp.auto_cast(enable=False)


def _raised(value: Any) -> Any:
    if isinstance(value, Tensor):
        return at_least_float32(value)
    return [_raised(item) for item in value] if isinstance(value, (list, tuple)) else value


def in_float32(function: Function) -> Function:
    """Decorator: autocast is off inside, and half-precision tensors, alone or in lists, come as float32.

    For what sums squares or divides by a small number: float16 ends at 65504, and rounds below 6e-8 to 0.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with autocast_off():
            return function(
                *(_raised(value) for value in args),
                **{name: _raised(value) for name, value in kwargs.items()},
            )

    return run  # type: ignore[return-value]


@contextmanager
def float32_parameters(net: nn.Layer) -> Iterator[None]:
    """Inside, layers compute with float32 copies of half-precision parameters; gradients reach these."""
    replaced = []
    try:
        for layer in net.sublayers(include_self=True):
            for name, parameter in layer._parameters.items():
                if parameter is not None and parameter.dtype in _HALF:
                    replaced.append((layer, name, parameter))
                    layer._parameters[name] = parameter.astype("float32")
        yield
    finally:
        for layer, name, parameter in replaced:
            layer._parameters[name] = parameter
