"""LayerNorm, GELU and PReLU through oneDNN, else Paddle's own, which are up to fifteen times slower.

Guards and limits are those of `ppsr.accelerate.conv`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from paddle import Tensor
from paddle.nn import functional as F

from ppsr.accelerate import runtime
from ppsr.accelerate.descriptions import ADD, GELU, MULTIPLY, Array, PostOp
from ppsr.accelerate.onednn import (
    DIFF_DST,
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    MEAN,
    SCALE,
    SHIFT,
    SRC,
    TRAINING,
    VARIANCE,
    WEIGHTS,
)
from ppsr.accelerate.plans import Operation
from ppsr.accelerate.steps import Steps

_RESIDUAL = 1020  # key of the array beside those of every operation
_WORTHWHILE = 1 << 14  # elements; below, the calls cost more than they save
_BACKWARD, _USE_SCALE_AND_SHIFT = 128, 6


@dataclass(frozen=True)
class LayerNorm(Operation):
    """Rows normalised to mean 0 and variance 1, scaled and shifted."""

    rows: int
    columns: int
    epsilon: float

    inputs = SRC, SCALE, SHIFT

    @property
    def extras(self) -> dict[int, list[int]]:
        return {MEAN: [self.rows], VARIANCE: [self.rows]}

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC, SCALE, SHIFT -> DST, MEAN, VARIANCE, or the gradients from DIFF_DST."""
        rows, stats, row = [self.rows, self.columns], [self.rows], [self.columns]
        x, mean, variance = (steps.array(SRC, rows), steps.wanted(MEAN, stats), steps.wanted(VARIANCE, stats))
        inputs = {SRC: x, SCALE: steps.array(SCALE, row), SHIFT: steps.array(SHIFT, row)}
        last = (mean.description, self.epsilon, _USE_SCALE_AND_SHIFT)
        attributes = steps.library.attributes
        forward = steps.primitive(
            "layer_normalization_forward_primitive_desc_create",
            TRAINING,
            x.description,
            x.description,
            *last,
            attributes,
        )
        if not steps.needs_grad:
            steps.add(forward, inputs, {DST: steps.array(DST, rows), MEAN: mean, VARIANCE: variance})
            return
        desc = steps.primitive(
            "layer_normalization_backward_primitive_desc_create",
            _BACKWARD,
            x.description,
            x.description,
            x.description,
            *last,
            forward,
            attributes,
        )
        shapes = {DIFF_SRC: rows, DIFF_SCALE: row, DIFF_SHIFT: row}
        outputs = {key: steps.wanted(key, shape) for key, shape in shapes.items()}
        inputs |= {MEAN: mean, VARIANCE: variance, DIFF_DST: steps.array(DIFF_DST, rows)}
        steps.add(desc, inputs, outputs)


@dataclass(frozen=True)
class Gelu(Operation):
    """x times the normal distribution's probability of less than x."""

    elements: int

    inputs = (SRC,)

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC -> DST, or DIFF_DST -> DIFF_SRC."""
        x = steps.array(SRC, [self.elements])
        if steps.needs_grad:
            grad, result = (steps.array(key, [self.elements]) for key in (DIFF_DST, DIFF_SRC))
            function_gradient(steps, GELU, x, grad, result)
        else:
            function(steps, GELU, x, steps.array(DST, [self.elements]))


@dataclass(frozen=True)
class PReLU(Operation):
    """x, times the slope of its channel where it is negative."""

    shape: tuple[int, ...]

    inputs = SRC, WEIGHTS

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC, WEIGHTS -> DST, or DIFF_DST -> DIFF_SRC, DIFF_WEIGHTS."""
        slopes, attributes = [1, self.shape[1], *(1 for _ in self.shape[2:])], steps.library.attributes
        inputs = {SRC: steps.array(SRC, self.shape), WEIGHTS: steps.array(WEIGHTS, slopes)}
        x, weight = (array.description for array in inputs.values())
        forward = steps.primitive("prelu_forward_primitive_desc_create", TRAINING, x, weight, x, attributes)
        if not steps.needs_grad:
            steps.add(forward, inputs, {DST: steps.array(DST, self.shape)})
            return
        desc = steps.primitive(
            "prelu_backward_primitive_desc_create", x, weight, x, weight, x, forward, attributes
        )
        shapes = {DIFF_SRC: self.shape, DIFF_WEIGHTS: slopes}
        outputs = {key: steps.wanted(key, shape) for key, shape in shapes.items()}
        steps.add(desc, inputs | {DIFF_DST: steps.array(DIFF_DST, self.shape)}, outputs)


@dataclass(frozen=True)
class ScaledSum(Operation):
    """residual + x * factors, one for each channel of an image."""

    images: int
    rows: int
    columns: int

    inputs = SRC, WEIGHTS, _RESIDUAL
    same = (_RESIDUAL,)

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC, WEIGHTS, RESIDUAL -> DST, or the gradients from DIFF_DST."""
        image, shape = steps.segment(), [self.rows, self.columns]
        shifts = dict.fromkeys((SRC, _RESIDUAL, DST, DIFF_DST, DIFF_SRC), self.rows * self.columns)
        shifts |= dict.fromkeys((WEIGHTS, DIFF_WEIGHTS), self.columns)
        steps.order += [(image, {key: k * step for key, step in shifts.items()}) for k in range(self.images)]
        x, factors = steps.array(SRC, shape), steps.array(WEIGHTS, [1, self.columns])
        if not steps.needs_grad:
            then = [PostOp(ADD, steps.array(_RESIDUAL, shape))]
            steps.combine(MULTIPLY, x, factors, steps.array(DST, shape), then)
            return
        grad = steps.array(DIFF_DST, shape)
        if DIFF_SRC in steps.needs_grad:
            steps.combine(MULTIPLY, grad, factors, steps.array(DIFF_SRC, shape))
        if DIFF_WEIGHTS in steps.needs_grad:
            terms = steps.scratch(shape)
            steps.combine(MULTIPLY, x, grad, terms)
            steps.product(steps.ones([1, self.rows]), terms, steps.array(DIFF_WEIGHTS, [1, self.columns]))


def function(steps: Steps, kind: int, x: Array, into: Array) -> None:
    """Append a function of each number, such as GELU."""
    steps.add(_function(steps, kind, x, 0.0), {SRC: x}, {DST: into})


def function_gradient(
    steps: Steps, kind: int, x: Array, grad: Array, into: Array, alpha: float = 0.0
) -> None:
    """Append the gradient of a function of each number, such as GELU or RELU with its slope `alpha`."""
    desc, forward = x.description, _function(steps, kind, x, alpha)
    arguments = kind, desc, desc, desc, alpha, 0.0, forward, steps.library.attributes
    backward = steps.primitive("eltwise_backward_primitive_desc_create", *arguments)
    steps.add(backward, {SRC: x, DIFF_DST: grad}, {DIFF_SRC: into})


def _function(steps: Steps, kind: int, x: Array, alpha: float) -> int:
    arguments = TRAINING, kind, x.description, x.description, alpha, 0.0, steps.library.attributes
    return steps.primitive("eltwise_forward_primitive_desc_create", *arguments)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Normalise the last axis, `paddle.nn.functional.layer_norm` in every respect but speed.

    Args:
        x: (..., C).
        weight: (C,).
        bias: (C,).
        epsilon: added to the variance.

    Returns:
        (..., C).
    """
    y = None
    if runtime.runs_eagerly() and _worthwhile(x):
        columns = x.shape[-1]
        operation = LayerNorm(math.prod(x.shape) // columns, columns, epsilon)
        y = runtime.compute(operation, x.shape, x, weight, bias)
    return F.layer_norm(x, weight.shape, weight, bias, epsilon) if y is None else y


def gelu(x: Tensor) -> Tensor:
    """Exact GELU, `paddle.nn.functional.gelu` in every respect but speed; any shape."""
    y = None
    if runtime.runs_eagerly() and _worthwhile(x):
        y = runtime.compute(Gelu(math.prod(x.shape)), x.shape, x)
    return F.gelu(x) if y is None else y


def scaled_sum(x: Tensor, factors: Tensor, residual: Tensor) -> Tensor:
    """residual + x * factors.

    Args:
        x: (N, ..., C).
        factors: (N, C).
        residual: (N, ..., C).
    """
    n, *inner, c = x.shape
    y = None
    leaf = residual.is_leaf and not residual.stop_gradient  # whose gradient would share memory
    if runtime.usable(x) and _worthwhile(x) and math.prod(inner) > 1 and not leaf:
        y = runtime.compute(ScaledSum(n, math.prod(inner), c), x.shape, x, factors, residual)
    return residual + x * factors.reshape([n, *(1 for _ in inner), c]) if y is None else y


def prelu(x: Tensor, slopes: Tensor) -> Tensor:
    """`paddle.nn.functional.prelu` in every respect but speed.

    Args:
        x: (N, C, ...).
        slopes: (C,), or (1,) for all channels.
    """
    y = None
    if runtime.runs_eagerly() and _worthwhile(x):
        each = slopes if slopes.shape[0] == x.shape[1] else slopes.expand([x.shape[1]])
        y = runtime.compute(PReLU(tuple(x.shape)), x.shape, x, each)
    return F.prelu(x, slopes) if y is None else y


def _worthwhile(x: Tensor) -> bool:
    return math.prod(x.shape) >= _WORTHWHILE
