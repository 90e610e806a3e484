"""What one phase of a step has computed, and how it is read from the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import paddle
from paddle import Tensor

from ppsr.errors import ConfigError
from ppsr.models.base import Phase

__all__ = ["Optimizers", "PhaseResult", "all_values", "read_numbers", "scalar_loss", "total_loss"]

Optimizers = Mapping[str, tuple[paddle.optimizer.Optimizer, tuple[str, ...]]]


@dataclass
class PhaseResult:
    """What a phase has computed, while it waits for the decision on its update.

    Attributes:
        optimizers: those that update its networks.
        losses: values of each loss in the micro-batches that have it.
        logs: the same of what a phase notes beside its losses.
        squares: squared norm of each network's gradient, times the squared loss scale.
        flags: see `GradientBuckets.finish`, which counts ranks with a loss that is not finite; None for one
            process.
    """

    phase: Phase
    optimizers: Optimizers
    losses: dict[str, list[Tensor]] = field(default_factory=dict)
    logs: dict[str, list[Tensor]] = field(default_factory=dict)
    squares: dict[str, Tensor] = field(default_factory=dict)
    flags: Tensor | None = None

    @property
    def numbers(self) -> list[Tensor]:
        """Everything that is read from the device, in order."""
        numbers = [*all_values(self.losses), *all_values(self.logs), *self.squares.values()]
        return numbers if self.flags is None else [*numbers, self.flags]


def scalar_loss(name: str, value: Tensor) -> Tensor:
    """A loss as a float32 scalar."""
    if value.size != 1:
        raise ConfigError(
            f"the loss {name} is an array of shape {list(value.shape)}, not a number; "
            "its criterion needs another `reduction`, or is one of another kind"
        )
    return value.astype("float32").reshape([])


def total_loss(values: list[Tensor]) -> Tensor:
    return paddle.add_n(values) if len(values) > 1 else values[0]


def all_values(found: Mapping[str, list[Tensor]]) -> list[Tensor]:
    return [tensor for tensors in found.values() for tensor in tensors]


def read_numbers(numbers: list[Tensor]) -> list[float]:
    """Numbers of the device, in one transfer."""
    return paddle.concat([n.astype("float32").flatten() for n in numbers]).tolist() if numbers else []
