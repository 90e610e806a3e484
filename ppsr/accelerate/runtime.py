"""Whether oneDNN may be used here and now, and running its plans on tensors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache

import paddle
from paddle import Tensor
from paddle.autograd import PyLayerContext
from paddle.base.core import AmpLevel
from paddle.base.framework import _dygraph_tracer

from ppsr.accelerate.onednn import OneDnn, OneDnnError
from ppsr.accelerate.plans import Operation, Plans
from ppsr.accelerate.process import accelerated, openmp, paddle_libraries

__all__ = [
    "autocast",
    "disabled",
    "is_enabled",
    "keep",
    "kept",
    "readable",
    "run",
    "threads",
    "usable_plans",
]

logger = logging.getLogger(__name__)

_disabled: ContextVar[bool] = ContextVar("disabled", default=False)


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


def threads() -> int:
    """Threads that a primitive made now would use for good."""
    runtime = openmp()
    return 0 if runtime is None else runtime.omp_get_max_threads()


def run(operation: Operation, arrays: Mapping[int, Tensor]) -> None:
    """Execute an operation on contiguous tensors by argument number."""
    plans = _plans()
    assert plans is not None, "an operation exists only where oneDNN does"
    plans.run(operation, {role: tensor.data_ptr() for role, tensor in arrays.items()})


def keep(ctx: PyLayerContext, *tensors: Tensor) -> None:
    """Save what a backward pass computes with, to be had back by `kept`."""
    ctx.save_for_backward(*tensors)
    ctx.versions = [t.inplace_version for t in tensors]


def kept(ctx: PyLayerContext) -> Sequence[Tensor]:
    """What the forward pass gave to `keep`, as it was then.

    Raises:
        RuntimeError: the backward pass is recorded, so a second derivative would take its result for a
            constant; or a tensor was changed in place since.
    """
    if paddle.is_grad_enabled():  # only under create_graph
        raise RuntimeError("no second derivative; run the forward pass inside ppsr.accelerate.disabled()")
    tensors = ctx.saved_tensor()
    if ctx.versions != [t.inplace_version for t in tensors]:
        raise RuntimeError("an input was changed in place between the forward and the backward pass")
    return tensors
