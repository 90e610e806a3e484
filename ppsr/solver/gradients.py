"""Norms and factors of many gradients, in few kernels and without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import Tensor

from ppsr.compat.paddle import scale_tensors

__all__ = ["scale_gradients", "squared_norm"]


def _by_type(parameters: Sequence[Tensor]) -> list[list[Tensor]]:
    """Gradients of equal data type."""
    groups: dict[str, list[Tensor]] = {}
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None:
            groups.setdefault(str(gradient.dtype), []).append(gradient)
    return list(groups.values())


@paddle.no_grad()
def squared_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Squared norm of all gradients together, as a float32 number on the device.

    It is finite if all gradients are, unless their squares leave the range of float32.
    """
    flat = [paddle.concat([g.flatten() for g in group]) for group in _by_type(parameters)]
    squares = [values.astype("float32").square().sum() for values in flat]
    return sum(squares[1:], squares[0]) if squares else paddle.zeros([])


@paddle.no_grad()
def scale_gradients(parameters: Sequence[Tensor], factor: float) -> None:
    """Multiply gradients by a positive number, in place."""
    if factor != 1:
        for group in _by_type(parameters):
            scale_tensors(group, factor)
