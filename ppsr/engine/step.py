"""One training step, for every algorithm: autocast, scaling, accumulation, backward, averaging over ranks,
clipping, skipping of non-finite steps, optimizer, moving average.

Losses and gradient norms stay on the device until all phases have run. Then they are read together, which is
the only time in a step that the host waits for the device.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import paddle
from paddle import Tensor

from ppsr.config.schema import Precision, StepOptions
from ppsr.datasets.batch_augment import augment_batches
from ppsr.engine.buckets import GradientBuckets
from ppsr.engine.distributed import Group
from ppsr.errors import ConfigError, PpsrError
from ppsr.memory import device_array
from ppsr.models.base import BaseModel, Batch, Phase
from ppsr.precision import half_dtype, in_float32
from ppsr.solver.ema import EMA
from ppsr.solver.gradients import LossScale, scale_gradients, squared_norm
from ppsr.solver.schedules import Schedule

__all__ = ["TooManySkipsError", "TrainStep"]

logger = logging.getLogger(__name__)

Optimizers = Mapping[str, tuple[paddle.optimizer.Optimizer, tuple[str, ...]]]


class TooManySkipsError(PpsrError):
    """Losses or gradients stayed non-finite."""

    exit_code = 1


@dataclass
class _PhaseResult:
    """Results of a phase whose update is pending."""

    phase: Phase
    optimizers: Optimizers
    losses: dict[str, list[Tensor]] = field(default_factory=dict)  # one of each micro-batch that has it
    logs: dict[str, list[Tensor]] = field(default_factory=dict)
    # gradient norm * loss scale, squared, by network
    squares: dict[str, Tensor] = field(default_factory=dict)
    flags: Tensor | None = None  # see `GradientBuckets.finish`; None for one process

    @property
    def numbers(self) -> list[Tensor]:
        """Everything that is read from the device, in order."""
        scalars = [*self.losses.values(), *self.logs.values()]
        numbers = [value for values in scalars for value in values]
        return [*numbers, *self.squares.values(), *([] if self.flags is None else [self.flags])]


@dataclass
class TrainStep:
    """Advances the networks of an algorithm.

    Attributes:
        schedules: learning rate schedules by optimizer name.
        skipped: number of steps whose loss or gradient was not finite.
        skipped_in_a_row: how many of these were the last ones.
        updating: whether the current step has begun to change parameters; after an error they belong to no
            step.
        requested: sums over ranks of the `requests` of the last step; None before the first one.
    """

    model: BaseModel
    optimizers: Optimizers
    schedules: Mapping[str, Schedule]
    options: StepOptions = field(default_factory=StepOptions)
    precision: Precision = field(default_factory=Precision)
    group: Group = field(default_factory=Group)
    ema: EMA | None = None
    skipped: int = 0
    skipped_in_a_row: int = 0
    updating: bool = False
    requests: Sequence[float] = ()
    requested: Sequence[float] | None = None
    scalers: dict[str, LossScale] = field(default_factory=dict)
    graphs: dict[tuple[str, bool], Callable] = field(default_factory=dict)
    buckets: dict[tuple[str, ...], GradientBuckets | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # stop_gradient is toggled from phase to phase, so what the networks themselves freeze is noted once
        self.trainable = {
            name: [p for p in net.parameters() if not p.stop_gradient]
            for name, net in self.model.nets.items()
        }
        self.amp = self.precision.amp and paddle.get_device() != "cpu"
        if self.precision.amp and not self.amp:
            logger.warning("mixed precision has no effect on CPU: training in float32")
        self.float32_nets = self._choose_half_type() if self.amp else []
        use_scaler = self.amp and self.precision.dtype == "float16"
        self.scalers = {name: LossScale(enabled=use_scaler) for name in self.optimizers}
        if self.amp and self.precision.level == "O2":
            for optimizer, names in self.optimizers.values():
                nets = [self.model.nets[name] for name in names if name not in self.float32_nets]
                if nets:
                    paddle.amp.decorate(nets, optimizer, level="O2", dtype=self.precision.dtype)
        if self.options.channels_last and not self.amp:
            logger.warning("step.channels_last has an effect on a GPU with precision.amp only")
        elif self.options.channels_last:
            paddle.incubate.autotune.set_config({"layout": {"enable": True}})

    def _choose_half_type(self) -> list[str]:
        """Switch to bfloat16 if a network is not safe in float16; returns those that stay in float32."""
        unsafe = [name for name, net in self.model.nets.items() if not getattr(net, "fp16_safe", True)]
        if self.precision.dtype != "float16" or not unsafe:
            return []
        names = ", ".join(unsafe)
        if half_dtype(fp16_safe=False) == "bfloat16":
            self.precision = self.precision.model_copy(update={"dtype": "bfloat16"})
            logger.info("training in bfloat16: activations of %s leave the range of float16", names)
            return []
        logger.warning(
            "%s stays in float32: it is not safe in float16, and the device has no bfloat16", names
        )
        return unsafe

    def rates(self, step: int) -> dict[str, float]:
        """The learning rate of every optimizer after `step` finished steps."""
        return {name: self.schedules[name](step) for name in self.optimizers}

    def run(
        self, batches: Sequence[Batch], step: int, seed: int, *, requests: Sequence[float] = ()
    ) -> dict[str, float]:
        """Run all phases on the micro-batches of one step.

        Args:
            seed: seed of the run; random numbers of a step depend only on (seed, step, rank).
            requests: flags of this rank, which are summed along with the step's own into `requested`.

        Returns:
            Every loss and logged scalar, averaged over the micro-batches.

        Raises:
            TooManySkipsError: `max_skips` steps in a row were not finite.
        """
        paddle.seed((seed * 1_000_003 + step * 1009 + self.group.rank) % (2**31 - 1))
        for name, rate in self.rates(step).items():
            self.optimizers[name][0].set_lr(rate)
        self.model.step = step
        self.requests, self.requested = requests, None
        if self.options.batch_augment is not None:
            augment_batches(batches, self.options.batch_augment.model_dump(), [seed, step, self.group.rank])
        batches = [self.model.prepare(batch) for batch in batches]
        waiting: list[_PhaseResult] = []
        scalars: dict[str, float] = {}
        problems: list[str] = []
        for phase in self.model.phases():
            if any(set(phase.nets) & set(earlier.phase.nets) for earlier in waiting):
                problems += self._update(waiting, scalars, len(batches))
                waiting = []
            waiting.append(self._backward(phase, batches))
        problems += self._update(waiting, scalars, len(batches))
        if problems:
            self._count_skip(step, problems)
        else:
            self.skipped_in_a_row = 0
            if self.ema is not None:
                self.ema.update(self._master_weights(), step + 1)
        self.updating = False
        if self.requested is None:  # one process, or a step without any loss
            self.requested = self.group.sum(requests)
        return scalars

    def _master_weights(self) -> dict[str, Tensor]:
        """The float32 values of parameters in half precision, by the parameters' names."""
        found: dict[str, Tensor] = {}
        for optimizer, _ in self.optimizers.values():
            found |= getattr(optimizer, "_master_weights", {})
        return found

    def _backward(self, phase: Phase, batches: Sequence[Batch]) -> _PhaseResult:
        """Forward and backward of one phase."""
        used = {k: v for k, v in self.optimizers.items() if set(v[1]) & set(phase.nets)}
        result = _PhaseResult(phase, used)
        self.train_only(phase.nets)
        if not used:  # nothing can learn, but later phases need what the forward pass leaves in the batches
            with paddle.no_grad():
                for batch in batches:
                    phase.losses(batch)
            return result
        scaler = self.scalers[next(iter(used))]
        parameters = [p for net in phase.nets for p in self.trainable[net]]
        if phase.nets not in self.buckets:
            self.buckets[phase.nets] = self.group.buckets(parameters)
        buckets = self.buckets[phase.nets]
        for index, batch in enumerate(batches):
            with (
                paddle.amp.auto_cast(self.amp, level=self.precision.level, dtype=self.precision.dtype),
                self._forwards(phase),
            ):
                losses = phase.losses(batch)
            if not losses:
                continue  # to the next micro-batch: later phases need what the forward pass leaves in each
            values = {name: _scalar(name, value) for name, value in losses.items()}
            first, *others = values.values()
            total = scaler.scale((paddle.add_n([first, *others]) if others else first) / len(batches))
            if buckets is not None and index == len(batches) - 1:
                buckets.start()
            total.backward()
            for noted, new in ((result.losses, values), (result.logs, batch.logs)):
                for name, value in new.items():
                    noted.setdefault(name, []).append(value.detach())
            batch.logs = {}
        if result.losses:
            if buckets is not None:
                found = [value for values in result.losses.values() for value in values]
                failed = ~paddle.stack(found).isfinite().all()
                flags = [failed.astype("float32").reshape([1])]
                if self.requests:
                    flags.append(device_array(np.array(self.requests, np.float32)))
                result.flags = buckets.finish(flags)
            result.squares = {net: squared_norm(self.trainable[net]) for net in phase.nets}
        return result

    @contextmanager
    def _forwards(self, phase: Phase) -> Iterator[None]:
        """A context in which networks that are not safe in float16 run in float32, and with `to_static` all
        networks run as graphs. There is one graph per network that is trained and one per network that is
        frozen, because tracing records which parameters are.
        """
        try:
            for name, net in self.model.nets.items():
                if self.options.to_static:
                    key = name, name in phase.nets
                    if key not in self.graphs:
                        self.graphs[key] = paddle.jit.to_static(net.forward, full_graph=True)
                    net.forward = self.graphs[key]
                if name in self.float32_nets:
                    net.forward = in_float32(net.forward)
            yield
        finally:
            for net in self.model.nets.values():
                net.__dict__.pop("forward", None)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """A context in which a network with parameters in half precision takes float32 images."""
        half = any(p.dtype != paddle.float32 for p in self.model.inference_net().parameters())
        with paddle.amp.auto_cast(half, level="O2", dtype=self.precision.dtype):
            yield

    def _update(self, passes: Sequence[_PhaseResult], scalars: dict[str, float], count: int) -> list[str]:
        """Update the networks of finite phases, add all means to `scalars`, return what is not finite."""
        numbers = [number.astype("float32").flatten() for result in passes for number in result.numbers]
        values = iter(paddle.concat(numbers).tolist() if numbers else [])  # in one transfer
        problems = []
        for result in passes:
            for found in (result.losses, result.logs):
                for name, tensors in found.items():
                    scalars[name] = sum(next(values) for _ in tensors) / count
            squares = {net: next(values) for net in result.squares}
            parameters = [p for net in result.phase.nets for p in self.trainable[net]]
            failed = False
            if result.flags is not None:
                used, failed = [next(values) for _ in parameters], next(values) > 0
                self.requested = [next(values) for _ in self.requests]
                # a gradient of zeros, unlike none, would let momentum move a parameter that no rank used; a
                # resumed run, which has no momentum for it yet, would differ
                _drop_gradients(p for p, ranks in zip(parameters, used, strict=True) if not ranks)
            if result.losses:
                problems += self._apply(result, scalars, squares, failed)
                _drop_gradients(parameters)
        return problems

    def _apply(
        self, result: _PhaseResult, scalars: Mapping[str, float], squares: Mapping[str, float], failed: bool
    ) -> list[str]:
        """Step the optimizers of one phase, or return what is not finite."""
        problems = [f"the loss {name}" for name in result.losses if not math.isfinite(scalars[name])]
        if problems or failed:
            return problems or ["a loss on another rank"]
        scaler = self.scalers[next(iter(result.optimizers))]
        overflowed = [net for net, value in squares.items() if not math.isfinite(value)]
        if overflowed and not scaler.update(overflowed=True):
            return [f"the gradient of {net}" for net in overflowed]
        if overflowed:
            logger.info("gradient of %s overflowed: loss scale %g", ", ".join(overflowed), scaler.value)
            return []
        for net in result.phase.nets:
            for parameter in self.trainable[net]:
                parameter.stop_gradient = False  # a later phase may have frozen it
        self.updating = True
        for optimizer, names in result.optimizers.values():
            norm = math.sqrt(sum(squares.get(net, 0.0) for net in names)) / scaler.value
            limit = self.options.clip_norm
            factor = 1.0 if limit is None else min(1.0, limit / (norm + 1e-6))
            scale_gradients([p for net in names for p in self.trainable[net]], factor / scaler.value)
            optimizer.step()
        scaler.update(overflowed=False)
        return []

    def train_only(self, names: Sequence[str]) -> None:
        """Freeze all other networks."""
        for name, parameters in self.trainable.items():
            for parameter in parameters:
                parameter.stop_gradient = name not in names

    def _count_skip(self, step: int, problems: Sequence[str]) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        what = ", ".join(problems)
        logger.warning("step %d skipped: not finite: %s (%d skipped in all)", step + 1, what, self.skipped)
        if self.skipped_in_a_row >= self.options.max_skips:
            raise TooManySkipsError(
                f"{self.skipped_in_a_row} steps in a row were not finite, in the last one {what}; lower the "
                "learning rate or the weight of that loss, or look at the data"
            )


def _scalar(name: str, value: Tensor) -> Tensor:
    """A loss as a float32 scalar."""
    if not isinstance(value, paddle.Tensor):
        raise ConfigError(f"the loss {name} is {value!r}, not a tensor of its criterion")
    if value.size != 1:
        raise ConfigError(
            f"the loss {name} is an array of shape {list(value.shape)}, not a number; "
            "set the criterion's `reduction` to mean or sum, or use another criterion"
        )
    return value.astype("float32").reshape([])


def _drop_gradients(parameters: Iterable[Tensor]) -> None:
    for parameter in parameters:
        parameter.clear_gradient(False)  # by position: Paddle ignores the name `set_to_zero` here
