"""The factor on the loss that keeps gradients in the range of float16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddle import Tensor

__all__ = ["LossScale"]


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
