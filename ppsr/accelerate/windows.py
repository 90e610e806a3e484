"""Attention within windows of a token map through oneDNN, without an array of all windows.

Some windows at a time are copied into the cache from where the linear layer wrote queries, keys and values;
products with bias, mask and softmax follow there, and the results go to their place in the map. The backward
pass does the same with gradients. Without gradients the scores of all windows never exist at once. Guards are
those of `ppsr.accelerate.conv`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from paddle import Tensor

from ppsr.accelerate import runtime
from ppsr.accelerate.descriptions import ADD, MULTIPLY, Array, PostOp
from ppsr.accelerate.onednn import BIAS, DIFF_BIAS, DIFF_DST, DIFF_SRC, DST, SRC
from ppsr.accelerate.plans import Operation
from ppsr.accelerate.steps import Steps, largest_divisor

_MASK, _PROBABILITIES = 1001, 1002  # keys of the caller's arrays beside those of every operation
_QUERIES, _OTHERS, _RESULT, _BIASES = range(1003, 1007)  # of some windows; with a minus: of their gradients
_AT_ONCE = 1 << 17  # numbers of half a megabyte


class _Piece(NamedTuple):
    """Neighbouring lines of a window along one axis: the first one, counted from the window's place without
    shift and margin, where it comes in the window, and how many they are."""

    source: int
    target: int
    length: int


class _Place(NamedTuple):
    """Pieces of a window, and of the larger one around it, along both axes."""

    rows: tuple[_Piece, ...]
    columns: tuple[_Piece, ...]
    far_rows: tuple[_Piece, ...]
    far_columns: tuple[_Piece, ...]

    @property
    def cut(self) -> bool:
        """Whether the shift brings together what are no neighbours."""
        return max(len(self.rows), len(self.columns)) > 1


class _Area(NamedTuple):
    """Vectors of some windows in the cache, and where they are in the caller's map."""

    key: int  # of the map
    row: int  # numbers from one pixel of the map to the next
    offset: int
    side: int  # of the window
    channels: int


@dataclass(frozen=True)
class Attention(Operation):
    """softmax(factor q k' + bias + mask) v for every window and head."""

    images: int
    rows: int  # windows of an image, one below the other
    columns: int
    size: int  # side of a window
    far: int  # side of the window around it that it attends to
    shift: int  # windows begin as many pixels lower and further to the right, cyclically
    heads: int
    width: int  # of a head
    factor: float
    masked: bool
    at_once: int  # scores that stay in the cache

    kept = SRC, DST

    @property
    def inputs(self) -> tuple[int, ...]:
        return (SRC, BIAS, _MASK) if self.masked else (SRC, BIAS)

    @property
    def extras(self) -> dict[int, list[int]]:
        """What softmax gives."""
        windows = self.images * self.rows * self.columns
        return {_PROBABILITIES: [windows, self.heads, self.size**2, self.far**2]}

    @property
    def sums(self) -> frozenset[int]:
        return frozenset({DIFF_BIAS} if self.far == self.size else {DIFF_BIAS, DIFF_SRC})

    def place(self, row: int, column: int) -> _Place:
        """Pieces of a window."""
        axes = (row, self.rows), (column, self.columns)
        near, far = ([self._pieces(*axis, side) for axis in axes] for side in (self.size, self.far))
        return _Place(*near, *far)

    def _pieces(self, index: int, count: int, side: int) -> tuple[_Piece, ...]:
        """Zeros are around the map where windows do not shift, else its other end."""
        own, total = index * self.size, count * self.size
        begin = own + self.shift - (side - self.size) // 2
        low, high = max(begin, 0), min(begin + side, total)
        pieces: tuple[_Piece, ...] = (_Piece(low - own, low - begin, high - low),)
        if self.shift and begin + side > total:
            pieces += (_Piece(-own, total - begin, begin + side - total),)
        return pieces

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC, BIAS, mask -> DST, or the gradients from DIFF_DST."""
        windows = _Windows(self, steps)
        windows.begin()
        known: dict[tuple, int] = {}

        def segment(append: Callable[..., None], *arguments: object) -> int:
            key = append, *arguments
            if key not in known:
                known[key] = steps.segment()
                append(*arguments)
            return known[key]

        every = list(itertools.product(range(self.images), range(self.rows), range(self.columns)))
        for first in range(0, len(every), windows.together):
            group = every[first : first + windows.together]
            places = [self.place(row, column) for _, row, column in group]
            moves = [windows.shift_in_map(*index, k) for k, index in enumerate(group)]
            pairs = list(zip(places, moves, strict=True))
            steps.order += [(segment(windows.load, place), move) for place, move in pairs]
            if steps.needs_grad:
                steps.order.append((segment(windows.sum_result), {}))
            for head in range(0, self.heads, windows.heads):
                masked = self.masked and any(place.cut for place in places)
                compute = segment(windows.backward) if steps.needs_grad else segment(windows.forward, masked)
                steps.order.append((compute, windows.shift_of_head(first, head)))
            steps.order += [(segment(windows.store, place), move) for place, move in pairs]


class _Windows:
    """Steps for some windows, whose heads take turns where not all fit."""

    def __init__(self, operation: Attention, steps: Steps) -> None:
        self.operation, self.steps = operation, steps
        self.tokens, self.others = operation.size**2, operation.far**2
        self.pairs, self.channels = self.tokens * self.others, operation.heads * operation.width
        self.per_image = operation.rows * operation.columns
        # oneDNN 3.6 reads all windows but the first wrongly where as many as 2 or 3 times `others` (the parts
        # of a row) are taken at once with AVX-512
        limit = min(operation.at_once // (operation.heads * self.pairs), self.others)
        self.together = largest_divisor(self.per_image, limit)
        self.heads = largest_divisor(operation.heads, operation.at_once // self.pairs)
        c, near, far = self.channels, operation.size, operation.far
        self.inputs = {_QUERIES: _Area(SRC, 3 * c, 0, near, c), _OTHERS: _Area(SRC, 3 * c, c, far, 2 * c)}
        self.outputs = {_RESULT: _Area(DST, c, 0, near, c)}
        if steps.needs_grad:
            gradients = {-key: area._replace(key=DIFF_SRC) for key, area in self.inputs.items()}
            self.inputs |= self.outputs | {-_RESULT: _Area(DIFF_DST, c, 0, near, c)}
            self.outputs = gradients if DIFF_SRC in steps.needs_grad else {}
        for key, area in (self.inputs | self.outputs).items():
            steps.local(key, [self.together, area.side**2, area.channels])
        self.scores = steps.scratch(self._shape())
        if steps.needs_grad:
            self.total = steps.scratch([*self._shape()[:3], 1])

    def begin(self) -> None:
        """Append the bias of each window, where there are several."""
        if self.together == 1 or self.steps.needs_grad:
            return
        size = self.operation.heads * self.pairs
        self.steps.local(_BIASES, self._shape())
        for k in range(self.together):
            self.steps.copy(
                self.steps.array(BIAS, [size]), self.steps.array(_BIASES, [size], offset=k * size)
            )

    def load(self, place: _Place) -> None:
        """Append copies of a window into the cache."""
        for key, area in self.inputs.items():
            rows, columns = self._sides(place, area)
            if min(sum(piece.length for piece in pieces) for pieces in (rows, columns)) < area.side:
                size = [area.side**2 * area.channels]
                self.steps.copy(self.steps.constant(np.zeros(size, np.float32)), self.steps.array(key, size))
            for inside, outside in self._copies(key, area, place):
                self.steps.copy(outside, inside)

    def store(self, place: _Place) -> None:
        """Append copies of a window back into the map, added to it where windows overlap."""
        for key, area in self.outputs.items():
            then = [PostOp(ADD)] if area.side > self.operation.size else []
            for inside, outside in self._copies(key, area, place):
                self.steps.copy(inside, outside, then)

    def _copies(self, key: int, area: _Area, place: _Place) -> list[tuple[Array, Array]]:
        wide, found = self.operation.columns * self.operation.size, []
        rows, columns = self._sides(place, area)
        for y, x in ((y, x) for y in rows for x in columns):
            shape = [y.length, x.length, area.channels]
            inside = (y.target * area.side + x.target) * area.channels
            outside = (y.source * wide + x.source) * area.row + area.offset
            found.append(
                (
                    self.steps.array(key, shape, [area.side * area.channels, area.channels, 1], inside),
                    self.steps.array(area.key, shape, [wide * area.row, area.row, 1], outside),
                )
            )
        return found

    def _sides(self, place: _Place, area: _Area) -> tuple[tuple[_Piece, ...], tuple[_Piece, ...]]:
        return place[:2] if area.side == self.operation.size else place[2:]

    def forward(self, masked: bool) -> None:
        """Append the results of some heads."""
        steps, shape = self.steps, self._shape()
        scores = steps.array(_PROBABILITIES, shape) if _PROBABILITIES in steps.callers else self.scores
        bias = steps.array(BIAS if self.together == 1 else _BIASES, shape)
        then = [PostOp(ADD, bias)]
        if masked:
            then.append(PostOp(ADD, steps.array(_MASK, [shape[0], 1, *shape[2:]])))
        queries, keys = self._heads(_QUERIES), self._heads(_OTHERS, transposed=True)
        steps.product(queries, keys, scores, factor=self.operation.factor, then=then)
        steps.softmax(steps.viewed(scores, self._flat))
        steps.product(scores, self._heads(_OTHERS, self.channels), self._heads(_RESULT))

    def sum_result(self) -> None:
        """Append result times gradient, whose sum over the channels of a head is that of p times the gradient
        of p over the tokens attended to."""
        shape = [self.together * self.tokens, self.channels]
        self.steps.combine(MULTIPLY, self.steps.array(_RESULT, shape), self.steps.array(-_RESULT, shape))

    def backward(self) -> None:
        """Append the gradients of some heads."""
        steps, factor, grad, shape = self.steps, self.operation.factor, self.scores, self._shape()
        probabilities, upstream = steps.array(_PROBABILITIES, shape), self._heads(-_RESULT)
        steps.product(upstream, self._heads(_OTHERS, self.channels, transposed=True), grad)
        # of softmax: p (g - sum of p g); its own primitive is a plain loop on some processors
        ones = steps.ones([1, 1, self.operation.width, 1])
        steps.product(self._heads(_RESULT), ones, self.total, factor=-1.0)
        flat, total = steps.viewed(grad, self._flat), steps.viewed(self.total, [self._flat[0], 1])
        steps.combine(ADD, flat, total, then=[PostOp(MULTIPLY, steps.viewed(probabilities, self._flat))])
        if DIFF_BIAS in steps.needs_grad:
            size = self.heads * self.pairs
            target = steps.array(DIFF_BIAS, [size])
            for k in range(self.together):  # in the order of the windows
                steps.combine(ADD, target, steps.viewed(grad, [size], offset=k * size))
        if DIFF_SRC in steps.needs_grad:
            values, keys = self._heads(-_OTHERS, self.channels), self._heads(-_OTHERS)
            steps.product(self._turned(probabilities), upstream, values)
            steps.product(grad, self._heads(_OTHERS), self._heads(-_QUERIES), factor=factor)
            steps.product(self._turned(grad), self._heads(_QUERIES), keys, factor=factor)

    def shift_in_map(self, image: int, row: int, column: int, k: int) -> dict[int, int]:
        """How far the k-th window of those at once lies behind the first one in each array."""
        op = self.operation
        pixel = ((image * op.rows + row) * op.size * op.columns + column) * op.size
        areas = self.inputs | self.outputs
        shifts = {area.key: pixel * area.row for area in areas.values()}
        return shifts | {key: k * area.side**2 * area.channels for key, area in areas.items()}

    def shift_of_head(self, window: int, head: int) -> dict[int, int]:
        """How far some heads of some windows lie behind the first ones in each array."""
        shifts = dict.fromkeys(self.inputs | self.outputs, head * self.operation.width)
        shifts |= dict.fromkeys((BIAS, DIFF_BIAS), head * self.pairs)
        shifts[_MASK] = window % self.per_image * self.pairs
        shifts[_PROBABILITIES] = (window * self.operation.heads + head) * self.pairs
        return shifts

    def _shape(self) -> list[int]:
        return [self.together, self.heads, self.tokens, self.others]

    @property
    def _flat(self) -> list[int]:
        return [self.together * self.heads * self.tokens, self.others]

    def _heads(self, key: int, offset: int = 0, transposed: bool = False) -> Array:
        """A matrix of (tokens, width) for each window and head; `transposed`: (width, tokens)."""
        _, _, _, side, row = (self.inputs | self.outputs)[key]
        shape = [self.together, self.heads, side**2, self.operation.width]
        strides = [side**2 * row, self.operation.width, row, 1]
        if transposed:
            shape[2:], strides[2:] = shape[:1:-1], strides[:1:-1]
        return self.steps.array(key, shape, strides, offset)

    def _turned(self, scores: Array) -> Array:
        windows, heads, tokens, others = self._shape()
        strides = [heads * self.pairs, self.pairs, 1, others]
        return self.steps.viewed(scores, [windows, heads, others, tokens], strides)


def attention(
    qkv: Tensor,
    bias: Tensor,
    mask: Tensor | None,
    heads: int,
    factor: float,
    size: int,
    shift: int = 0,
    far: int | None = None,
) -> Tensor | None:
    """softmax(factor q k' + bias + mask) v within windows; None where Paddle's operators have to do it.

    Args:
        qkv: queries, keys and values (N, H, W, 3 C); H and W are multiples of `size`.
        bias: (heads, size^2, far^2).
        mask: added to all heads (windows of an image, size^2, size^2); zeros for windows that are not cut by
            the shift. None: nothing.
        heads: their number, which divides C.
        factor: on the products.
        size: side of a window.
        shift: windows begin as many pixels lower and further to the right, and go on at the other end.
        far: side of the window around each one whose tokens it attends to, zeros beyond the border.

    Returns:
        (N, H, W, C).
    """
    images, high, wide, row = qkv.shape
    operation = Attention(
        images=images,
        rows=high // size,
        columns=wide // size,
        size=size,
        far=far or size,
        shift=shift,
        heads=heads,
        width=row // (3 * heads),
        factor=factor,
        masked=mask is not None,
        at_once=_AT_ONCE,
    )
    return runtime.compute(operation, [images, high, wide, row // 3], qkv, bias, mask)
