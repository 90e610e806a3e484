"""Learning rate as a pure function of the step, so that a resumed run needs no scheduler state.

Names and options are PaddleGAN's and BasicSR's. `step` counts finished optimizer steps: the first update uses
`schedule(0)`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
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


class Schedule:
    """Base: linear warm-up from zero over `warmup_iters` steps, then `rate(step)`."""

    def __init__(self, *, learning_rate: float, warmup_iters: int = 0) -> None:
        if not 0 < learning_rate < math.inf:
            raise ConfigError(f"learning_rate must be positive, got {learning_rate}")
        if warmup_iters < 0:
            raise ConfigError(f"warmup_iters must be 0 or more, got {warmup_iters}")
        self.learning_rate = learning_rate
        self.warmup_iters = warmup_iters

    def rate(self, step: int) -> float:
        """Learning rate without warm-up."""
        raise NotImplementedError

    def __call__(self, step: int) -> float:
        if step < self.warmup_iters:
            return self.learning_rate * (step + 1) / self.warmup_iters
        return self.rate(step)


class ConstantLR(Schedule):
    """The same rate for ever."""

    def rate(self, step: int) -> float:
        return self.learning_rate


class MultiStepDecay(Schedule):
    """Multiply by `gamma` at every milestone (steps)."""

    def __init__(
        self, *, learning_rate: float, milestones: Sequence[int], gamma: float = 0.1, warmup_iters: int = 0
    ) -> None:
        super().__init__(learning_rate=learning_rate, warmup_iters=warmup_iters)
        if list(milestones) != sorted(milestones):
            raise ConfigError(f"milestones must increase, got {list(milestones)}")
        if gamma < 0:
            raise ConfigError(f"gamma must be 0 or more, got {gamma}")
        self.milestones = list(milestones)
        self.gamma = gamma

    def rate(self, step: int) -> float:
        return self.learning_rate * self.gamma ** bisect_right(self.milestones, step)


class CosineAnnealingRestartLR(Schedule):
    """Cosine from the (weighted) rate to `eta_min` in each period; a step on a boundary ends the earlier one.

    Beyond the last period the rate stays where that period ended.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        eta_min: float = 0.0,
        warmup_iters: int = 0,
    ) -> None:
        super().__init__(learning_rate=learning_rate, warmup_iters=warmup_iters)
        if len(periods) != len(restart_weights):
            raise ConfigError(
                f"periods ({len(periods)}) and restart_weights ({len(restart_weights)}) must be equally many"
            )
        if not periods or min(periods) < 1:
            raise ConfigError(f"periods must be one or more numbers of steps above 0, got {list(periods)}")
        self.periods = list(periods)
        self.ends = list(accumulate(periods))
        self.restart_weights = list(restart_weights)
        self.eta_min = eta_min

    def rate(self, step: int) -> float:
        step = min(step, self.ends[-1])
        cycle = bisect_left(self.ends, step)
        start = self.ends[cycle - 1] if cycle else 0
        amplitude = self.restart_weights[cycle] * 0.5 * (self.learning_rate - self.eta_min)
        return self.eta_min + amplitude * (1 + math.cos(math.pi * (step - start) / self.periods[cycle]))


class LinearDecay(Schedule):
    """Constant for `start_epoch` epochs, then linearly to zero over `decay_epochs`."""

    def __init__(
        self,
        *,
        learning_rate: float,
        start_epoch: int,
        decay_epochs: int,
        iters_per_epoch: int = 1,
        warmup_iters: int = 0,
    ) -> None:
        super().__init__(learning_rate=learning_rate, warmup_iters=warmup_iters)
        if decay_epochs < 0 or iters_per_epoch < 1:
            raise ConfigError(
                "decay_epochs must be 0 or more and iters_per_epoch 1 or more, "
                f"got {decay_epochs} and {iters_per_epoch}"
            )
        self.start_epoch = start_epoch
        self.decay_epochs = decay_epochs
        self.iters_per_epoch = iters_per_epoch

    def rate(self, step: int) -> float:
        epoch = step // self.iters_per_epoch
        past = max(0, epoch + 1 - self.start_epoch)
        return self.learning_rate * max(0.0, 1 - past / (self.decay_epochs + 1))


class NonLinearDecay(Schedule):
    """learning_rate / (1 + lr_decay * step)."""

    def __init__(self, *, learning_rate: float, lr_decay: float, warmup_iters: int = 0) -> None:
        super().__init__(learning_rate=learning_rate, warmup_iters=warmup_iters)
        if lr_decay < 0:
            raise ConfigError(f"lr_decay must be 0 or more, got {lr_decay}")
        self.lr_decay = lr_decay

    def rate(self, step: int) -> float:
        return self.learning_rate / (1 + self.lr_decay * step)
