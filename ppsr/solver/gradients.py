"""Norms and factors of many gradients, in few kernels and without waiting for the device; the loss scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from paddle import Tensor

from ppsr.compat.paddle import scale_tensors

__all__ = ["LossScale", "scale_gradients", "squared_norm"]


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


class LossScale:
    """Dynamic loss scaling: halved when a gradient overflows, doubled after many steps without.

    The rule and its numbers are those of `paddle.amp.GradScaler`. That one reads from the device, once per
    optimizer, whether a gradient overflowed; the step reads all its numbers at once and passes the answer on.

    Args:
        enabled: whether there is a scale at all; otherwise it stays 1.
    """

    initial = 2.0**15
    steps_to_double = 2000

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self.value = self.initial if enabled else 1.0
        self.steps = 0

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale."""
        return loss * self.value if self.enabled else loss

    def update(self, *, overflowed: bool) -> bool:
        """Count a step and adapt the scale.

        Returns:
            Whether the scale could be lowered where a gradient overflowed: at 1, the gradient itself is not
            finite.
        """
        self.steps = 0 if overflowed else self.steps + 1
        lowered = overflowed and self.value > 1
        if lowered:
            self.value /= 2
        elif self.enabled and self.steps == self.steps_to_double:
            self.value, self.steps = self.value * 2, 0
        return lowered

    def state_dict(self) -> dict[str, Any]:
        """State as JSON values, under the names of `paddle.amp.GradScaler`; empty without a scale."""
        return {"scale": [self.value], "incr_count": self.steps} if self.enabled else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put a state back; one without a scale, or for a step without, changes nothing."""
        if self.enabled and state:
            self.value, self.steps = float(state["scale"][0]), int(state["incr_count"])
