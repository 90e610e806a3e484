"""Dense blocks of convolutions through oneDNN, in its own layout from the first to the last.

Each convolution reads the first channels of one array and writes the next ones, so that nothing is
concatenated; biases, activations and the residual are part of the convolutions. In oneDNN's layout the first
channels are an array of their own for one image only, so the images of a batch take turns. Guards are those
of `ppsr.accelerate.conv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paddle import Tensor

from ppsr.accelerate import runtime
from ppsr.accelerate.descriptions import ADD, RELU, Array, PostOp
from ppsr.accelerate.onednn import (
    BIAS,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    SRC,
    WEIGHTS,
    dims,
)
from ppsr.accelerate.plans import Operation
from ppsr.accelerate.steps import Steps
from ppsr.accelerate.tokens import function_gradient

_WEIGHTS, _BIASES, _FEATURES = 1100, 1200, 1300  # keys of the first of them
_BLOCK = 16  # channels that oneDNN keeps together, on some processors 8
_WORTHWHILE = 1 << 22  # multiply-accumulates of an image; below, the calls cost more than they save
_GEOMETRY = dims([1, 1]), dims([0, 0]), dims([1, 1]), dims([1, 1])


@dataclass(frozen=True)
class DenseBlock(Operation):
    """x plus a convolution of all features, each of which is a convolution of x and those before it."""

    images: int
    channels: tuple[int, ...]  # of x, of each feature, of the result
    height: int
    width: int
    slope: float  # of LeakyReLU, above 0

    @property
    def inputs(self) -> tuple[int, ...]:
        count = len(self.channels) - 1
        return SRC, *range(_WEIGHTS, _WEIGHTS + count), *range(_BIASES, _BIASES + count)

    @property
    def kept(self) -> tuple[int, ...]:
        """Keys of the inputs that the backward pass reads."""
        return tuple(range(_WEIGHTS, _WEIGHTS + len(self.channels) - 1))

    @property
    def sums(self) -> frozenset[int]:
        return frozenset(runtime.gradient_of(key) for key in self.inputs if key != SRC)

    @property
    def extras(self) -> dict[int, list[int]]:
        """x and all features, in oneDNN's layout."""
        return {_FEATURES: [self.images, sum(self.channels[:-1]), self.height, self.width]}

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC, WEIGHTS, BIASES -> DST, FEATURES, or the gradients from DIFF_DST."""
        block = _DenseSteps(self, steps)
        block.begin()
        image = steps.segment()
        (block.backward if steps.needs_grad else block.forward)()
        size = self.height * self.width
        rows = dict.fromkeys((SRC, DST, DIFF_DST, DIFF_SRC), size * self.channels[0])
        rows[_FEATURES] = size * sum(self.channels[:-1])
        steps.order += [(image, {key: row * k for key, row in rows.items()}) for k in range(self.images)]


class _DenseSteps:
    """Steps for one image."""

    def __init__(self, block: DenseBlock, steps: Steps) -> None:
        self.block, self.steps = block, steps
        self.size = [block.height, block.width]
        self.inputs = [sum(block.channels[:k]) for k in range(1, len(block.channels))]  # of each convolution
        self.outputs = block.channels[1:]
        self.last, total = len(self.outputs) - 1, self.inputs[-1]
        whole, result = [1, total, *self.size], [1, self.outputs[-1], *self.size]
        chosen = self._forward_desc(self.last, steps.any_layout(whole), steps.any_layout(result))
        self.tag = steps.find_tag(chosen, SRC, whole)
        self.weights = [steps.array(_WEIGHTS + k, self._kernel(k)) for k in range(self.last + 1)]

    def begin(self) -> None:
        """Append what all images share: weights in oneDNN's layout."""
        steps = self.steps
        for k, weights in enumerate(self.weights):
            steps.stage(self._data_desc(k) if steps.needs_grad else self._forward(k), WEIGHTS, weights)

    def forward(self) -> None:
        """Append features and result."""
        steps, width = self.steps, self.block.channels[0]
        features, result = self._features(), self._scratch(self.outputs[-1])
        x = steps.array(SRC, [1, width, *self.size])
        steps.copy(x, self._part(features, 0, width))
        steps.copy(x, result)
        for k, weights in enumerate(self.weights):
            bias = steps.array(_BIASES + k, [self.outputs[k]])
            inputs = {SRC: self._part(features, 0, self.inputs[k]), WEIGHTS: weights, BIAS: bias}
            output = result if k == self.last else self._part(features, self.inputs[k], self.outputs[k])
            steps.add(self._forward(k), inputs, {DST: output})
        steps.copy(result, steps.array(DST, [1, self.outputs[-1], *self.size]))

    def backward(self) -> None:
        """Append the gradients, from the last convolution to the first."""
        steps, width, features = self.steps, self.block.channels[0], self._features()
        result, grads, terms = (self._scratch(n) for n in (width, self.inputs[-1], self.inputs[-1]))
        steps.copy(steps.array(DIFF_DST, [1, width, *self.size]), result)
        for k in reversed(range(self.last + 1)):
            own, target = result, grads
            if k < self.last:
                own = self._part(grads, self.inputs[k], self.outputs[k])
                # the feature has the sign of what it was made from
                feature = self._part(features, self.inputs[k], self.outputs[k])
                function_gradient(steps, RELU, feature, own, own, self.block.slope)
                target = self._part(terms, 0, self.inputs[k])
            self._weight_gradients(k, self._part(features, 0, self.inputs[k]), own)
            steps.add(self._data_desc(k), {DIFF_DST: own, WEIGHTS: self.weights[k]}, {DIFF_SRC: target})
            if k < self.last:
                steps.combine(ADD, self._part(grads, 0, self.inputs[k]), target)
        if DIFF_SRC in steps.needs_grad:
            steps.combine(ADD, result, self._part(grads, 0, width))
            steps.copy(result, steps.array(DIFF_SRC, [1, width, *self.size]))

    def _weight_gradients(self, k: int, features: Array, grad: Array) -> None:
        shapes = self._parameters(k)
        parameters = {
            key: shape for key, shape in shapes.items() if runtime.gradient_of(key) in self.steps.needs_grad
        }
        if not parameters:
            return
        found = {key: self.steps.scratch(shape) for key, shape in shapes.items()}
        layouts = [features.description, *self._parameter_layouts(k), grad.description]
        desc = self.steps.convolution("backward_weights", layouts, _GEOMETRY, self._hint(k))
        outputs = {DIFF_WEIGHTS: found[_WEIGHTS + k], DIFF_BIAS: found[_BIASES + k]}
        self.steps.add(desc, {SRC: features, DIFF_DST: grad}, outputs)
        for key, shape in parameters.items():
            self.steps.combine(ADD, self.steps.array(runtime.gradient_of(key), shape), found[key])

    def _forward(self, k: int) -> int:
        """A convolution with what follows it: LeakyReLU, or x, which is in the place of the result."""
        then = PostOp(ADD) if k == self.last else PostOp(RELU, alpha=self.block.slope)
        return self._forward_desc(k, *self._layouts(k), then)

    def _hint(self, k: int) -> int:
        return self._forward_desc(k, *self._layouts(k))

    def _forward_desc(self, k: int, features: int, result: int, *then: PostOp) -> int:
        layouts = [features, *self._parameter_layouts(k), result]
        return self.steps.convolution("forward", layouts, _GEOMETRY, then=then)

    def _data_desc(self, k: int) -> int:
        features, result = self._layouts(k)
        layouts = [features, self._parameter_layouts(k)[0], result]
        return self.steps.convolution("backward_data", layouts, _GEOMETRY, self._hint(k))

    def _parameter_layouts(self, k: int) -> tuple[int, int]:
        return self.steps.any_layout(self._kernel(k)), self.steps.plain([self.outputs[k]])

    def _layouts(self, k: int) -> tuple[int, int]:
        """Descriptions of what a convolution reads and writes."""
        features, result = ([1, n, *self.size] for n in (self.inputs[k], self.outputs[k]))
        return self.steps.layout(features, self.tag), self.steps.layout(result, self.tag)

    def _kernel(self, k: int) -> list[int]:
        return [self.outputs[k], self.inputs[k], 3, 3]

    def _parameters(self, k: int) -> dict[int, list[int]]:
        return {_WEIGHTS + k: self._kernel(k), _BIASES + k: [self.outputs[k]]}

    def _scratch(self, channels: int) -> Array:
        return self.steps.scratch([1, channels, *self.size], self.tag)

    def _features(self) -> Array:
        shape = [1, self.inputs[-1], *self.size]
        return (
            self.steps.array(_FEATURES, shape) if _FEATURES in self.steps.callers else self._scratch(shape[1])
        )

    def _part(self, array: Array, first: int, count: int) -> Array:
        """Some channels of an array."""
        offset = first * self.block.height * self.block.width
        return self.steps.viewed(array, [1, count, *self.size], offset=offset, tag=self.tag)


def dense_block(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], slope: float, scale: float
) -> Tensor | None:
    """x + scale * convolution of all features, each a LeakyReLU of a convolution of x and those before it.

    Args:
        x: (N, C, H, W).
        weights: of convolutions with padding 1: (O, channels before it, 3, 3), the last one with O = C.
        biases: (O,) each.
        slope: of LeakyReLU for negative numbers, above 0.
        scale: of the residual.

    Returns:
        (N, C, H, W); None where Paddle's operators have to do it.
    """
    if not runtime.runs_eagerly():
        return None
    images, width, rows, columns = x.shape
    channels = (width, *(weight.shape[0] for weight in weights))
    inputs = [sum(channels[: k + 1]) for k in range(len(weights))]
    fits = all(n % _BLOCK == 0 for n in channels)
    fits &= all(list(w.shape[1:]) == [n, 3, 3] for w, n in zip(weights, inputs, strict=True))
    work = 9 * rows * columns * sum(n * out for n, out in zip(inputs, channels[1:], strict=True))
    if not fits or channels[-1] != width or work < _WORTHWHILE:
        return None
    tensors = [x, *weights[:-1], weights[-1] * scale, *biases[:-1], biases[-1] * scale]
    block = DenseBlock(images, channels, rows, columns, slope)
    return runtime.compute(block, x.shape, *tensors)
