"""Whether oneDNN may be used here and now, and running its plans on tensors, with their gradients."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import lru_cache

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer, PyLayerContext
from paddle.base.core import AmpLevel
from paddle.base.framework import _dygraph_tracer

from ppsr.accelerate.onednn import (
    BIAS,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    SCALE,
    SHIFT,
    SRC,
    WEIGHTS,
    OneDnn,
    OneDnnError,
)
from ppsr.accelerate.plans import Operation, Pass, Plans
from ppsr.accelerate.process import accelerated, openmp, paddle_libraries
from ppsr.compat.paddle import runs_eagerly

__all__ = [
    "autocast",
    "compute",
    "disabled",
    "gradient_of",
    "is_enabled",
    "keep",
    "kept",
    "readable",
    "run",
    "runs_eagerly",
    "threads",
    "usable",
    "usable_plans",
]

logger = logging.getLogger(__name__)

_GRADIENTS = {
    SRC: DIFF_SRC,
    WEIGHTS: DIFF_WEIGHTS,
    BIAS: DIFF_BIAS,
    SCALE: DIFF_SCALE,
    SHIFT: DIFF_SHIFT,
}
_disabled: ContextVar[bool] = ContextVar("disabled", default=False)


def gradient_of(key: int) -> int:
    """Key of the gradient of an input; the negative key for those beside oneDNN's own."""
    return _GRADIENTS.get(key, -key)


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Use Paddle's own operators inside, whose gradients `paddle.grad` can select and derive again."""
    token = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(token)


def is_enabled() -> bool:
    """Whether oneDNN is available and not disabled."""
    return usable_plans() is not None


def usable_plans() -> Plans | None:
    """The plans of this process, or None where Paddle's own operators are to be used."""
    return None if _disabled.get() else _plans()


@lru_cache(maxsize=1)
def _plans() -> Plans | None:
    """Made at the first operation; None where oneDNN is not to be used at all."""
    if not accelerated():
        logger.info("PPSR_ACCELERATE switches acceleration off: Paddle's own operators are used")
        return None
    try:
        library = OneDnn(paddle_libraries() / "libdnnl.so.3")
    except OneDnnError as error:
        logger.info("Paddle's own operators are used: %s", error)
        return None
    logger.debug("convolutions and matrix products go through oneDNN %s", library.version)
    return Plans(library)


def readable(*tensors: Tensor | None) -> bool:
    """Whether every tensor's memory is what its address says: dense float32 on the CPU."""
    return all(
        t is None or (t.dtype == paddle.float32 and t.place.is_cpu_place() and t.is_dense()) for t in tensors
    )


def autocast() -> bool:
    """Whether Paddle would now choose another precision by itself; its tracer alone knows."""
    return _dygraph_tracer()._amp_level != AmpLevel.O0


def usable(*tensors: Tensor | None) -> bool:
    """Whether oneDNN may compute with these tensors here and now."""
    return runs_eagerly() and is_enabled() and readable(*tensors) and not autocast()


def threads() -> int:
    """Threads that a primitive made now would use for good."""
    runtime = openmp()
    return 0 if runtime is None else runtime.omp_get_max_threads()


def compute(operation: Operation, shape: Sequence[int], *tensors: Tensor | None) -> Tensor | None:
    """Result of an operation, through which `backward()` goes; None where Paddle's operators have to do it.

    Args:
        tensors: the inputs in the order of `operation.inputs`; None among them is left out.
    """
    plans = usable_plans()
    given = [tensor for tensor in tensors if tensor is not None]
    if plans is None or not usable(*given):
        return None
    pairs = zip(operation.inputs, given, strict=True) if paddle.is_grad_enabled() else ()
    needs_grad = frozenset(gradient_of(key) for key, tensor in pairs if not tensor.stop_gradient)
    forward = Pass(operation, threads(), bool(needs_grad))
    if not plans.supports(forward):
        return None
    if not needs_grad:
        return _forward(forward, shape, given)[0]
    backward = forward._replace(needs_grad=needs_grad)
    return _Recorded.apply(forward, backward, shape, *given) if plans.supports(backward) else None


def _forward(forward: Pass, shape: Sequence[int], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The result, and what is left to the backward pass."""
    extras = forward.operation.extras if forward.recorded else {}
    results = [paddle.empty(size, paddle.float32) for size in (shape, *extras.values())]
    run(forward, [*forward.operation.inputs, DST, *extras], [*inputs, *results])
    return results


def run(plan: Pass, keys: Sequence[int], tensors: Sequence[Tensor]) -> None:
    """Execute a pass on tensors, each under its key."""
    plans = _plans()
    assert plans is not None, "an operation exists only where oneDNN does"
    dense = [tensor.contiguous() for tensor in tensors]
    plans.run(plan, {key: tensor.data_ptr() for key, tensor in zip(keys, dense, strict=True)})


def keep(ctx: PyLayerContext, *tensors: Tensor) -> None:
    """Save what a backward pass computes with, to be had back by `kept`."""
    ctx.save_for_backward(*tensors)
    ctx.versions = [tensor.inplace_version for tensor in tensors]


def kept(ctx: PyLayerContext) -> Sequence[Tensor]:
    """What the forward pass gave to `keep`, as it was then.

    Raises:
        RuntimeError: the backward pass is recorded, so a second derivative would take its result for a
            constant; or a tensor was changed in place since.
    """
    if paddle.is_grad_enabled():  # only under create_graph
        raise RuntimeError("no second derivative; run the forward pass inside ppsr.accelerate.disabled()")
    tensors = ctx.saved_tensor()
    if ctx.versions != [tensor.inplace_version for tensor in tensors]:
        raise RuntimeError("an input was changed in place between the forward and the backward pass")
    return tensors


class _Recorded(PyLayer):
    """An operation with the gradients that are needed; asking for a second derivative raises."""

    @staticmethod
    def forward(
        ctx: PyLayerContext, forward: Pass, backward: Pass, shape: Sequence[int], *inputs: Tensor
    ) -> Tensor:
        operation = forward.operation
        result, *extras = _forward(forward, shape, inputs)
        every = zip((*operation.inputs, DST), (*inputs, result), strict=True)
        keep(ctx, *(tensor for key, tensor in every if key in operation.kept), *extras)
        ctx.plan = backward
        ctx.shapes = [tensor.shape for tensor in inputs]
        return result

    @staticmethod
    def backward(ctx: PyLayerContext, grad: Tensor) -> tuple[Tensor | None, ...]:
        tensors, plan = kept(ctx), ctx.plan
        operation: Operation = plan.operation
        same = {gradient_of(key): grad for key in operation.same}
        gradients = {
            role: (paddle.zeros if role in operation.sums else paddle.empty)(shape, paddle.float32)
            for key, shape in zip(operation.inputs, ctx.shapes, strict=True)
            if (role := gradient_of(key)) in plan.needs_grad and role not in same
        }
        keys = [*(key for key in (*operation.inputs, DST) if key in operation.kept), *operation.extras]
        run(plan, [*keys, DIFF_DST, *gradients], [*tensors, grad, *gradients.values()])
        found = {key: value for key, value in (gradients | same).items() if key in plan.needs_grad}
        return tuple(found.get(gradient_of(key)) for key in operation.inputs)
