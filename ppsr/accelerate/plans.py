"""Operations prepared for oneDNN: a bounded number of plans, one scratch area; and the convolutions."""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ppsr.accelerate.onednn import (
    BIAS,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    SRC,
    TRAINING,
    WEIGHTS,
    OneDnn,
    OneDnnError,
    dims,
)
from ppsr.accelerate.steps import Steps

__all__ = ["DIRECT", "Convolution", "Operation", "Plan", "Plans"]

logger = logging.getLogger(__name__)

DIRECT = 1  # algorithm of oneDNN
_ALIGNMENT = 64


class Operation(Protocol):
    """A key of the plans: the forward pass of an operation, or its backward pass for some gradients.

    Attributes:
        needs_grad: gradients to be computed; none: the forward pass, whose result is DST.
        inputs: keys of the tensors that the forward pass takes.
        kept: inputs that the backward pass reads beside the gradient DIFF_DST.
        extras: keys and shapes of what the forward pass leaves to the backward pass beside them.
    """

    @property
    def needs_grad(self) -> frozenset[int]: ...

    @property
    def inputs(self) -> tuple[int, ...]: ...

    @property
    def kept(self) -> tuple[int, ...]: ...

    @property
    def extras(self) -> tuple[tuple[int, list[int]], ...]: ...

    def build(self, steps: Steps) -> None:
        """Append what is to be computed."""

    @property
    def _replace(self) -> Callable[..., Any]: ...

    def __hash__(self) -> int: ...


class Convolution(NamedTuple):
    """Shapes and geometry of one convolution; sequences are tuples so that it can be a key."""

    x: tuple[int, ...]  # N, C, H, W
    weight: tuple[int, ...]  # O, C / groups, kH, kW
    bias: bool
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]  # top, bottom, left, right
    dilation: tuple[int, int]
    groups: int

    @property
    def y(self) -> tuple[int, int, int, int]:
        """Shape of the result; not positive where the kernel does not fit."""
        top, bottom, left, right = self.padding
        high, wide = (
            (length + pad - dilation * (kernel - 1) - 1) // stride + 1
            for length, pad, dilation, kernel, stride in zip(
                self.x[2:],
                (top + bottom, left + right),
                self.dilation,
                self.weight[2:],
                self.stride,
                strict=True,
            )
        )
        return self.x[0], self.weight[0], high, wide


class Plan(NamedTuple):
    """A pass of a convolution: the forward pass where `needs_grad` is empty, else these gradients."""

    convolution: Convolution
    needs_grad: frozenset[int]
    threads: int

    @property
    def inputs(self) -> tuple[int, ...]:
        """Keys of the tensors that it takes."""
        return (SRC, WEIGHTS, BIAS) if self.convolution.bias else (SRC, WEIGHTS)

    @property
    def kept(self) -> tuple[int, ...]:
        """What the backward pass reads of them."""
        return SRC, WEIGHTS

    @property
    def extras(self) -> tuple[tuple[int, list[int]], ...]:
        """Nothing."""
        return ()

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC, WEIGHTS, BIAS -> DST, or the gradients from DIFF_DST."""
        (_backward if self.needs_grad else _forward)(steps, self)


def _geometry(conv: Convolution) -> tuple:
    top, bottom, left, right = conv.padding
    sparse = [d - 1 for d in conv.dilation]
    return dims(conv.stride), dims(sparse), dims([top, left]), dims([bottom, right])


def _prepare(library: OneDnn, operation: Operation) -> Steps:
    """Steps of an operation; nothing is left behind where the library refuses one."""
    steps = Steps(library)
    try:
        operation.build(steps)
    except OneDnnError:
        steps.close()
        raise
    return steps


def _weight_shape(conv: Convolution) -> list[int]:
    o, *rest = conv.weight
    return [conv.groups, o // conv.groups, *rest] if conv.groups > 1 else [o, *rest]


def _forward_desc(steps: Steps, conv: Convolution) -> int:
    return steps.primitive(
        "convolution_forward_primitive_desc_create",
        TRAINING,
        DIRECT,
        steps.any_layout(conv.x),
        steps.any_layout(_weight_shape(conv)),
        steps.plain(conv.weight[:1]) if conv.bias else None,
        steps.any_layout(conv.y),
        *_geometry(conv),
        steps.library.attributes,
    )


def _forward(steps: Steps, plan: Plan) -> None:
    conv = plan.convolution
    inputs = {SRC: steps.array(SRC, conv.x), WEIGHTS: steps.array(WEIGHTS, _weight_shape(conv))}
    if conv.bias:
        inputs[BIAS] = steps.array(BIAS, conv.weight[:1])
    steps.add(_forward_desc(steps, conv), inputs, {DST: steps.array(DST, conv.y)})


def _backward(steps: Steps, plan: Plan) -> None:
    conv, needs_grad = plan.convolution, plan.needs_grad
    hint = _forward_desc(steps, conv)
    grad = steps.array(DIFF_DST, conv.y)
    last = (*_geometry(conv), hint, steps.library.attributes)
    if DIFF_SRC in needs_grad:
        layouts = [steps.any_layout(shape) for shape in (conv.x, _weight_shape(conv), conv.y)]
        desc = steps.primitive("convolution_backward_data_primitive_desc_create", DIRECT, *layouts, *last)
        inputs = {DIFF_DST: grad, WEIGHTS: steps.array(WEIGHTS, _weight_shape(conv))}
        steps.add(desc, inputs, {DIFF_SRC: steps.array(DIFF_SRC, conv.x)})
    if needs_grad & {DIFF_WEIGHTS, DIFF_BIAS}:
        outputs = {DIFF_WEIGHTS: steps.gradient(DIFF_WEIGHTS, _weight_shape(conv), needs_grad)}
        if DIFF_BIAS in needs_grad:
            outputs[DIFF_BIAS] = steps.array(DIFF_BIAS, conv.weight[:1])
        desc = steps.primitive(
            "convolution_backward_weights_primitive_desc_create",
            DIRECT,
            steps.any_layout(conv.x),
            steps.any_layout(_weight_shape(conv)),
            steps.plain(conv.weight[:1]) if DIFF_BIAS in needs_grad else None,
            steps.any_layout(conv.y),
            *last,
        )
        steps.add(desc, {SRC: steps.array(SRC, conv.x), DIFF_DST: grad}, outputs)


class Plans:
    """The least recently used plans are released; one scratch area serves all, so calls take turns.

    Args:
        library: the loaded library.
        entries: plans kept.
        scratch_bytes: the largest scratch area that is kept between calls; a larger one lives for its call.
    """

    def __init__(self, library: OneDnn, *, entries: int = 512, scratch_bytes: int = 512 << 20) -> None:
        self._library = library
        self._entries = entries
        self._scratch_limit = scratch_bytes
        self._known: OrderedDict[Operation, Steps | None] = OrderedDict()
        self._scratch = np.empty(0, np.uint8)
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def __len__(self) -> int:
        return len(self._known)

    def supports(self, plan: Operation) -> bool:
        """Prepare a plan; False where the library refuses it, which is logged once."""
        with self._lock:
            return self._steps(plan) is not None

    def run(self, plan: Operation, addresses: dict[int, int]) -> None:
        """Execute a plan that `supports` accepted.

        Args:
            plan: what to compute.
            addresses: of contiguous float32 arrays by argument number.

        Raises:
            OneDnnError: the library refuses the plan or fails.
        """
        with self._lock:
            steps = self._steps(plan)
            if steps is None:
                raise OneDnnError(f"oneDNN cannot compute {plan}")
            scratch = self._scratch_of(steps.scratch_bytes)
            steps.run(-(-scratch.ctypes.data // _ALIGNMENT) * _ALIGNMENT, addresses)

    def _steps(self, plan: Operation) -> Steps | None:
        if plan in self._known:
            self._known.move_to_end(plan)
            return self._known[plan]
        try:
            steps = _prepare(self._library, plan)
        except OneDnnError as error:
            logger.info("Paddle's own operator is used for %s: %s", plan, error)
            steps = None
        self._known[plan] = steps
        if len(self._known) > self._entries:
            _, oldest = self._known.popitem(last=False)
            if oldest is not None:
                oldest.close()
        return steps

    def _scratch_of(self, size: int) -> np.ndarray:
        if size + _ALIGNMENT <= self._scratch.nbytes:
            return self._scratch
        if size > self._scratch_limit:
            return np.empty(size + _ALIGNMENT, np.uint8)
        self._scratch = np.empty(0, np.uint8)  # the old area goes before the new one comes
        # outside the heap, where areas that grow layer by layer would leave holes
        area = mmap.mmap(-1, size + _ALIGNMENT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._scratch = np.frombuffer(area, np.uint8)
        return self._scratch

    def _unlock(self) -> None:
        """A forked process may have been born while another thread held the lock."""
        self._lock = threading.RLock()
