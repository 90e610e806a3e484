"""Learning rate as a pure function of the step, so that a resumed run needs no scheduler state.

Names and options are PaddleGAN's and BasicSR's. `step` counts finished optimizer steps: the first update uses
`schedule(0)`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ppsr.errors import ConfigError

__all__ = [
    "ConstantLR",
    "CosineAnnealingRestartLR",
    "LinearDecay",
    "MultiStepDecay",
    "NonLinearDecay",
    "Schedule",
]


@dataclass(kw_only=True, eq=False)
class Schedule:
    """Base: linear warm-up from learning_rate / warmup_iters over `warmup_iters` steps, then `rate(step)`."""

    learning_rate: float
    warmup_iters: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.warmup_iters < 0:
            raise ConfigError(f"warmup_iters must be 0 or more, got {self.warmup_iters}")

    def rate(self, step: int) -> float:
        """Learning rate without warm-up."""
        raise NotImplementedError

    @property
    def end(self) -> int | None:
        """Step from which the schedule is over and its rate stays the same; None: it has no end."""
        return None

    def __call__(self, step: int) -> float:
        if step < self.warmup_iters:
            return self.learning_rate * (step + 1) / self.warmup_iters
        return self.rate(step)


class ConstantLR(Schedule):
    """A constant rate."""

    def rate(self, step: int) -> float:
        return self.learning_rate


@dataclass(kw_only=True, eq=False)
class MultiStepDecay(Schedule):
    """Multiply by `gamma` at every milestone (steps)."""

    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.milestones) != sorted(self.milestones):
            raise ConfigError(f"milestones must increase, got {list(self.milestones)}")
        if self.gamma < 0:
            raise ConfigError(f"gamma must be 0 or more, got {self.gamma}")

    def rate(self, step: int) -> float:
        return self.learning_rate * self.gamma ** bisect_right(self.milestones, step)


@dataclass(kw_only=True, eq=False)
class CosineAnnealingRestartLR(Schedule):
    """Cosine from the (weighted) rate to `eta_min` in each period; a step on a boundary belongs to the
    earlier period.

    Beyond the last period the rate stays where that period ended.
    """

    periods: Sequence[int]
    restart_weights: Sequence[float] = (1,)
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        periods, weights = list(self.periods), len(self.restart_weights)
        if len(periods) != weights:
            raise ConfigError(
                f"periods ({len(periods)}) and restart_weights ({weights}) must have the same length"
            )
        if not periods or min(periods) < 1:
            raise ConfigError(f"periods must be one or more numbers of steps above 0, got {periods}")
        self.ends = list(accumulate(periods))

    @property
    def end(self) -> int | None:
        return self.ends[-1]

    def rate(self, step: int) -> float:
        step = min(step, self.ends[-1])
        cycle = bisect_left(self.ends, step)
        start = self.ends[cycle - 1] if cycle else 0
        amplitude = self.restart_weights[cycle] * 0.5 * (self.learning_rate - self.eta_min)
        return self.eta_min + amplitude * (1 + math.cos(math.pi * (step - start) / self.periods[cycle]))


@dataclass(kw_only=True, eq=False)
class LinearDecay(Schedule):
    """Constant for `start_epoch` epochs, then linearly to zero over `decay_epochs`."""

    start_epoch: int
    decay_epochs: int
    iters_per_epoch: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.start_epoch, self.decay_epochs) < 0 or self.iters_per_epoch < 1:
            raise ConfigError(
                "start_epoch and decay_epochs must be 0 or more and iters_per_epoch 1 or more, got "
                f"{self.start_epoch}, {self.decay_epochs} and {self.iters_per_epoch}"
            )

    @property
    def end(self) -> int | None:
        return (self.start_epoch + self.decay_epochs) * self.iters_per_epoch

    def rate(self, step: int) -> float:
        epoch = step // self.iters_per_epoch
        past = max(0, epoch + 1 - self.start_epoch)
        return self.learning_rate * max(0.0, 1 - past / (self.decay_epochs + 1))


@dataclass(kw_only=True, eq=False)
class NonLinearDecay(Schedule):
    """learning_rate / (1 + lr_decay * step)."""

    lr_decay: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr_decay < 0:
            raise ConfigError(f"lr_decay must be 0 or more, got {self.lr_decay}")

    def rate(self, step: int) -> float:
        return self.learning_rate / (1 + self.lr_decay * step)
