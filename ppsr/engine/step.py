"""One training step, for every algorithm: autocast, scaling, accumulation, backward, averaging over ranks,
clipping, skipping of non-finite steps, optimizer, moving average.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import paddle
from paddle import Tensor

from ppsr.config.schema import Precision, StepOptions
from ppsr.engine.distributed import Group
from ppsr.errors import ConfigError, PpsrError
from ppsr.models.base import BaseModel, Batch, Phase
from ppsr.precision import half_dtype
from ppsr.solver.ema import EMA
from ppsr.solver.schedules import Schedule

__all__ = ["TooManySkipsError", "TrainStep"]

logger = logging.getLogger(__name__)

Optimizers = Mapping[str, tuple[paddle.optimizer.Optimizer, tuple[str, ...]]]


class TooManySkipsError(PpsrError):
    """Losses or gradients stayed non-finite; the last good checkpoint is untouched."""

    exit_code = 1


@dataclass
class TrainStep:
    """Advances the networks of an algorithm.

    Attributes:
        skipped: steps whose loss or gradient was not finite, in all and in a row.
    """

    model: BaseModel
    optimizers: Optimizers
    schedule: Schedule
    options: StepOptions
    precision: Precision
    group: Group
    ema: EMA | None = None
    skipped: int = 0
    skipped_in_a_row: int = 0
    scalers: dict[str, paddle.amp.GradScaler] = field(default_factory=dict)
    graphs: dict[tuple[str, bool], Callable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # stop_gradient is toggled from phase to phase, so what the networks themselves freeze is noted once
        self.trainable = {
            name: [p for p in net.parameters() if not p.stop_gradient]
            for name, net in self.model.nets.items()
        }
        self.amp = self.precision.amp and paddle.get_device() != "cpu"
        if self.precision.amp and not self.amp:
            logger.warning("mixed precision has no effect on CPU: training in float32")
        self.in_float32 = self._choose_half_type() if self.amp else []
        use_scaler = self.amp and self.precision.dtype == "float16"
        for name in self.optimizers:
            self.scalers[name] = paddle.amp.GradScaler(enable=use_scaler, init_loss_scaling=2.0**15)
        if self.amp and self.precision.level == "O2":
            for optimizer, names in self.optimizers.values():
                nets = [self.model.nets[name] for name in names if name not in self.in_float32]
                if nets:
                    paddle.amp.decorate(nets, optimizer, level="O2", dtype=self.precision.dtype)
        if self.options.channels_last:
            self._choose_layout()

    def _choose_half_type(self) -> list[str]:
        """Take bfloat16 where a network is not safe in float16; names networks that stay in float32."""
        unsafe = [name for name, net in self.model.nets.items() if not getattr(net, "fp16_safe", True)]
        if self.precision.dtype != "float16" or not unsafe:
            return []
        names = ", ".join(unsafe)
        if half_dtype(fp16_safe=False) == "bfloat16":
            self.precision = self.precision.model_copy(update={"dtype": "bfloat16"})
            logger.info("training in bfloat16: activations of %s leave the range of float16", names)
            return []
        logger.warning(
            "%s stays in float32: its activations leave the range of float16, and the device has no bfloat16",
            names,
        )
        return unsafe

    def _choose_layout(self) -> None:
        """Paddle's layout tuning: NHWC where the tensor cores want it."""
        if not self.amp:
            logger.warning("step.channels_last has an effect on a GPU with precision.amp only")
            return
        paddle.incubate.autotune.set_config({"layout": {"enable": True}})

    def run(self, batches: Sequence[Batch], step: int, seed: int) -> dict[str, float]:
        """Run all phases on the micro-batches of one step.

        Args:
            batches: `accumulate` batches.
            step: number of finished steps.
            seed: of the run; the step draws its random numbers from (seed, step, rank) alone.

        Returns:
            Every loss and logged scalar, averaged over the micro-batches.

        Raises:
            TooManySkipsError: non-finite for `max_skips` steps in a row.
        """
        paddle.seed((seed * 1_000_003 + step * 1009 + self.group.rank) % (2**31 - 1))
        rate = self.schedule(step)
        for optimizer, _ in self.optimizers.values():
            optimizer.set_lr(rate)
        self.model.step = step
        scalars: dict[str, float] = {}
        finite = True
        batches = [self.model.prepare(batch) for batch in batches]
        for phase in self.model.phases():
            finite = self._phase(phase, batches, scalars) and finite
        if finite:
            self.skipped_in_a_row = 0
            if self.ema is not None:
                self.ema.update(self._master_weights())
        else:
            self._count_skip(step)
        return scalars

    def _master_weights(self) -> dict[str, Tensor]:
        """The float32 values of parameters in half precision, by the parameters' names."""
        found: dict[str, Tensor] = {}
        for optimizer, _ in self.optimizers.values():
            found |= getattr(optimizer, "_master_weights", {})
        return found

    def _phase(self, phase: Phase, batches: Sequence[Batch], scalars: dict[str, float]) -> bool:
        """Backward and update of one phase; False when it was skipped as non-finite."""
        used = {k: v for k, v in self.optimizers.items() if set(v[1]) & set(phase.nets)}
        self._freeze_all_but(phase.nets)
        if not used:  # nothing can learn, but later phases need what the forward pass leaves in the batches
            with paddle.no_grad():
                for batch in batches:
                    phase.losses(batch)
            return True
        scaler = self.scalers[next(iter(used))]
        finite, trained = True, False
        for batch in batches:
            with (
                paddle.amp.auto_cast(self.amp, level=self.precision.level, dtype=self.precision.dtype),
                self._forwards(phase),
            ):
                losses = phase.losses(batch)
            if not losses:
                continue  # to the next micro-batch: later phases need what the forward pass leaves in each
            trained = True
            total = self._total(losses)
            finite = finite and bool(paddle.isfinite(total))
            scaler.scale(total / len(batches)).backward()
            for name, value in {**losses, **batch.logs}.items():
                scalars[name] = scalars.get(name, 0.0) + float(value) / len(batches)
            batch.logs = {}
        if not trained:
            return True
        updated = [p for net in phase.nets for p in self.trainable[net]]
        self.group.average_gradients(updated)
        # With a loss scale an overflow is the scaler's business: it skips and lowers the scale by itself.
        norm = _gradient_norm(updated)
        finite = not self.group.any(not finite or (not scaler.is_enable() and not _is_finite(norm)))
        if finite:
            self._update(used, scaler)
        for optimizer, _ in used.values():
            # zeros instead of nothing would make a parameter without gradient drift on by its momentum; a
            # resumed run, where there is nothing yet, would not repeat that
            optimizer.clear_grad(set_to_zero=False)
        return finite

    @contextmanager
    def _forwards(self, phase: Phase) -> Iterator[None]:
        """Inside, networks that are not safe in float16 run in float32, and with `to_static` all as graphs.

        A graph keeps which parameters were frozen when it was traced, so a network that is trained in one
        phase and frozen in another has two.
        """
        try:
            for name, net in self.model.nets.items():
                if self.options.to_static:
                    key = name, name in phase.nets
                    if key not in self.graphs:
                        self.graphs[key] = paddle.jit.to_static(net.forward, full_graph=True)
                    net.forward = self.graphs[key]
                if name in self.in_float32:
                    net.forward = _without_autocast(net.forward)
            yield
        finally:
            for net in self.model.nets.values():
                net.__dict__.pop("forward", None)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Inside, a network whose parameters are in half precision takes float32 pictures."""
        half = any(p.dtype != paddle.float32 for p in self.model.inference_net().parameters())
        with paddle.amp.auto_cast(half, level="O2", dtype=self.precision.dtype):
            yield

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        for name, value in losses.items():
            if value.size != 1:
                raise ConfigError(
                    f"the loss {name} is an array of shape {list(value.shape)}, not a number; "
                    "its criterion needs another `reduction`, or is one of another kind"
                )
        values = [value.astype("float32") for value in losses.values()]
        return paddle.add_n(values) if len(values) > 1 else values[0]

    def _update(self, used: Optimizers, scaler: paddle.amp.GradScaler) -> None:
        """Step all optimizers of a phase, or none where a loss scale made a gradient overflow.

        Paddle's scaler judges by the optimizer that was stepped last: one which always overflows would never
        learn while another kept the scale up. So those that overflowed are then the only ones that it sees.
        """
        parameters = {
            key: [p for name in names for p in self.trainable[name]] for key, (_, names) in used.items()
        }
        overflowed = [
            key for key in used if scaler.is_enable() and not _is_finite(_gradient_norm(parameters[key]))
        ]
        for key in overflowed or used:
            optimizer, _ = used[key]
            scaler.unscale_(optimizer)
            if self.options.clip_norm is not None and not overflowed:
                _clip(parameters[key], self.options.clip_norm)
            scaler.step(optimizer)
        scaler.update()

    def _freeze_all_but(self, trained: Sequence[str]) -> None:
        for name, parameters in self.trainable.items():
            for parameter in parameters:
                parameter.stop_gradient = name not in trained

    def _count_skip(self, step: int) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        logger.warning("step %d skipped: loss or gradient not finite (%d in all)", step + 1, self.skipped)
        if self.skipped_in_a_row >= self.options.max_skips:
            raise TooManySkipsError(
                f"{self.skipped_in_a_row} steps in a row were not finite; lower the learning rate or look at "
                "the data. The last good checkpoint is kept."
            )


def _without_autocast(forward: Callable) -> Callable:
    """A forward pass in float32, whatever its inputs were computed in."""

    def run(*inputs: Any) -> Any:
        with paddle.amp.auto_cast(False):
            return forward(*(x.astype("float32") if isinstance(x, Tensor) else x for x in inputs))

    return run


def _gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    squares = [p.grad.astype("float32").square().sum() for p in parameters if p.grad is not None]
    return paddle.add_n(squares).sqrt() if squares else paddle.zeros([])


def _is_finite(value: Tensor) -> bool:
    return bool(paddle.isfinite(value))


@paddle.no_grad()
def _clip(parameters: Sequence[Tensor], limit: float) -> None:
    """Scale gradients so that their common norm is at most `limit`."""
    scale = paddle.clip(limit / (_gradient_norm(parameters) + 1e-6), max=1.0)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.set_value(parameter.grad * scale.astype(parameter.grad.dtype))
