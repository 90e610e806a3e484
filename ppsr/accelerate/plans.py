"""Operations prepared for oneDNN: a bounded number of plans, one scratch area; and the convolutions."""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ppsr.accelerate.descriptions import Array
from ppsr.accelerate.onednn import (
    BIAS,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    SRC,
    WEIGHTS,
    OneDnn,
    OneDnnError,
    dims,
)
from ppsr.accelerate.steps import Steps

logger = logging.getLogger(__name__)

_ALIGNMENT = 64


class Operation:
    """What is computed, a key of the plans; subclasses are frozen dataclasses of shapes and options.

    A forward pass takes the tensors of `inputs` and gives DST, and `extras` where a backward pass may follow.
    That one takes `kept`, `extras` and the gradient DIFF_DST.
    """

    @property
    def inputs(self) -> tuple[int, ...]:
        """Keys of the tensors that the forward pass takes."""
        raise NotImplementedError

    @property
    def kept(self) -> tuple[int, ...]:
        """Those of them that the backward pass reads, and DST if it does."""
        return tuple(key for key in self.inputs if key != BIAS and key not in self.same)

    @property
    def same(self) -> tuple[int, ...]:
        """Those whose gradient is that of the result."""
        return ()

    @property
    def sums(self) -> frozenset[int]:
        """Gradients to which the backward pass adds; they begin as zeros."""
        return frozenset()

    @property
    def extras(self) -> dict[int, list[int]]:
        """Keys and shapes of what the forward pass leaves to the backward pass beside them."""
        return {}

    def build(self, steps: Steps) -> None:
        """Append the forward pass, or the backward pass for the gradients of `steps.needs_grad`."""
        raise NotImplementedError


class Pass(NamedTuple):
    """One pass of an operation."""

    operation: Operation
    threads: int  # that its primitives use for good
    recorded: bool = False  # whether a backward pass may follow, or this is one
    needs_grad: frozenset[int] = frozenset()  # gradients to be computed; none: the forward pass


@dataclass(frozen=True)
class Convolution(Operation):
    """Shapes and geometry of one convolution; sequences are tuples so that it can be a key."""

    x: tuple[int, ...]  # N, C, H, W
    weight: tuple[int, ...]  # O, C / groups, kH, kW
    bias: bool
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]  # top, bottom, left, right
    dilation: tuple[int, int]
    groups: int
    tokens: bool = False  # whether x and the result are (N, H, W, C) in memory

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

    @property
    def inputs(self) -> tuple[int, ...]:
        return (SRC, WEIGHTS, BIAS) if self.bias else (SRC, WEIGHTS)

    def build(self, steps: Steps) -> None:
        (_backward if steps.needs_grad else _forward)(steps, self)

    def map(self, steps: Steps, key: int, shape: Sequence[int]) -> Array:
        """An array of the caller, x or the result."""
        _, c, h, w = shape
        return steps.array(key, shape, [h * w * c, 1, w * c, c] if self.tokens else None)


def _geometry(conv: Convolution) -> tuple:
    top, bottom, left, right = conv.padding
    sparse = [d - 1 for d in conv.dilation]
    return dims(conv.stride), dims(sparse), dims([top, left]), dims([bottom, right])


def _prepare(library: OneDnn, plan: Pass) -> Steps:
    """Steps of a pass; nothing is left behind where the library refuses one."""
    extras = frozenset(plan.operation.extras) if plan.recorded else frozenset()
    steps = Steps(library, plan.needs_grad, extras)
    try:
        plan.operation.build(steps)
    except OneDnnError:
        steps.close()
        raise
    return steps


def _weight_shape(conv: Convolution) -> list[int]:
    o, *rest = conv.weight
    return [conv.groups, o // conv.groups, *rest] if conv.groups > 1 else [o, *rest]


def _layouts(steps: Steps, conv: Convolution, bias: bool) -> list[int | None]:
    x, weight, y = (steps.any_layout(shape) for shape in (conv.x, _weight_shape(conv), conv.y))
    return [x, weight, steps.plain(conv.weight[:1]) if bias else None, y]


def _forward_desc(steps: Steps, conv: Convolution) -> int:
    return steps.convolution("forward", _layouts(steps, conv, conv.bias), _geometry(conv))


def _forward(steps: Steps, conv: Convolution) -> None:
    inputs = {SRC: conv.map(steps, SRC, conv.x), WEIGHTS: steps.array(WEIGHTS, _weight_shape(conv))}
    if conv.bias:
        inputs[BIAS] = steps.array(BIAS, conv.weight[:1])
    steps.add(_forward_desc(steps, conv), inputs, {DST: conv.map(steps, DST, conv.y)})


def _backward(steps: Steps, conv: Convolution) -> None:
    needs_grad, hint = steps.needs_grad, _forward_desc(steps, conv)
    grad = conv.map(steps, DIFF_DST, conv.y)
    if DIFF_SRC in needs_grad:
        x, weight, _, y = _layouts(steps, conv, False)
        desc = steps.convolution("backward_data", [x, weight, y], _geometry(conv), hint)
        inputs = {DIFF_DST: grad, WEIGHTS: steps.array(WEIGHTS, _weight_shape(conv))}
        steps.add(desc, inputs, {DIFF_SRC: conv.map(steps, DIFF_SRC, conv.x)})
    if needs_grad & {DIFF_WEIGHTS, DIFF_BIAS}:
        outputs = {DIFF_WEIGHTS: steps.wanted(DIFF_WEIGHTS, _weight_shape(conv))}
        if DIFF_BIAS in needs_grad:
            outputs[DIFF_BIAS] = steps.array(DIFF_BIAS, conv.weight[:1])
        layouts = _layouts(steps, conv, DIFF_BIAS in needs_grad)
        desc = steps.convolution("backward_weights", layouts, _geometry(conv), hint)
        steps.add(desc, {SRC: conv.map(steps, SRC, conv.x), DIFF_DST: grad}, outputs)


class Plans:
    """The least recently used plans are released; one scratch area serves all, so calls take turns.

    Args:
        entries: plans kept.
        scratch_bytes: the largest scratch area that is kept between calls; a larger one lives for its call.
    """

    def __init__(self, library: OneDnn, *, entries: int = 512, scratch_bytes: int = 512 << 20) -> None:
        self._library = library
        self._entries = entries
        self._scratch_limit = scratch_bytes
        self._known: OrderedDict[Pass, Steps | None] = OrderedDict()
        self._scratch = np.empty(0, np.uint8)
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def __len__(self) -> int:
        return len(self._known)

    def supports(self, plan: Pass) -> bool:
        """Prepare a plan; False where the library refuses it, which is logged once."""
        with self._lock:
            return self._steps(plan) is not None

    def run(self, plan: Pass, addresses: dict[int, int]) -> None:
        """Execute a plan that `supports` accepted.

        Args:
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

    def _steps(self, plan: Pass) -> Steps | None:
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
