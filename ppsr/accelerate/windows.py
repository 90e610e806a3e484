"""Attention within windows through oneDNN: products, bias, mask and softmax without a transposed copy.

Queries, keys and values are read where the linear layer wrote them, as strided matrices of each head, and
their gradients are written in the same way. Some windows or heads at a time, so that their scores stay in the
cache; without gradients the scores of all windows never exist at once. Guards are those of
`ppsr.accelerate.conv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from paddle import Tensor

from ppsr.accelerate import runtime
from ppsr.accelerate.onednn import (
    BIAS,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    SRC,
    WEIGHTS,
)
from ppsr.accelerate.plans import Operation
from ppsr.accelerate.steps import ADD, MULTIPLY, Array, Steps, largest_divisor

__all__ = ["Attention", "attention"]

_MASK, _PROBABILITIES = 1001, 1002  # keys of arrays beside those of every operation
_AT_ONCE = 1 << 17  # numbers of half a megabyte


class _Part(NamedTuple):
    """Some heads of some windows."""

    window: int
    windows: int
    head: int
    heads: int


class _Layout(NamedTuple):
    """Vectors of tokens inside an array: `row` numbers from one token to the next."""

    key: int
    tokens: int  # of a window
    row: int
    offset: int


@dataclass(frozen=True)
class Attention(Operation):
    """softmax(factor q k' + bias + mask) v for every window and head."""

    windows: int
    tokens: int  # of a window
    others: int  # tokens that it attends to
    heads: int
    width: int  # of a head
    factor: float
    masks: int  # windows of an image where there is a mask, else 0
    joint: bool  # q, k and v of a token are one row; else q is one array, k and v another
    at_once: int  # scores that stay in the cache

    @property
    def inputs(self) -> tuple[int, ...]:
        return (SRC, *(() if self.joint else (WEIGHTS,)), BIAS, *((_MASK,) if self.masks else ()))

    @property
    def extras(self) -> dict[int, list[int]]:
        """What softmax gives."""
        return {_PROBABILITIES: [self.windows, self.heads, self.tokens, self.others]}

    def build(self, steps: Steps) -> None:
        """Append the pass: SRC, WEIGHTS, BIAS, mask -> DST, or the gradients from DIFF_DST."""
        parts = list(self._parts())
        if DIFF_BIAS in steps.needs_grad:
            bias = [self.heads * self.tokens * self.others]
            steps.copy(steps.constant(np.zeros(bias, np.float32)), steps.array(DIFF_BIAS, bias))
        part = steps.segment()
        steps.order += [(part, self._shift(place)) for place in parts]
        (self._backward if steps.needs_grad else self._forward)(steps, parts[0])

    def _parts(self) -> Iterator[_Part]:
        pairs = self.tokens * self.others
        # oneDNN 3.6 reads all windows but the first wrongly where as many as 2 or 3 times `others` (the parts
        # of a row) are taken at once with AVX-512
        limit = min(self.at_once // (self.heads * pairs), self.others)
        windows = largest_divisor(self.masks or self.windows, limit)
        heads = largest_divisor(self.heads, self.at_once // pairs)  # all of them, where windows fit
        for window in range(0, self.windows, windows):
            for head in range(0, self.heads, heads):
                yield _Part(window, windows, head, heads)

    def _forward(self, steps: Steps, part: _Part) -> None:
        pairs, (q, k, v) = self.tokens * self.others, self._layouts(SRC, WEIGHTS)
        scores = self._scores(steps, part)
        queries, keys = self._heads(steps, part, q), self._heads(steps, part, k, transposed=True)
        steps.product(queries, keys, scores, factor=self.factor)
        bias = steps.array(BIAS, [1, part.heads * pairs])
        steps.combine(ADD, steps.viewed(scores, [part.windows, part.heads * pairs]), bias)
        if self.masks:
            mask = steps.array(_MASK, [part.windows, 1, pairs])
            steps.combine(ADD, steps.viewed(scores, [part.windows, part.heads, pairs]), mask)
        steps.softmax(steps.viewed(scores, [part.windows * part.heads * self.tokens, self.others]))
        steps.product(scores, self._heads(steps, part, v), self._heads(steps, part, self._result(DST)))

    def _backward(self, steps: Steps, part: _Part) -> None:
        q, k, v = self._layouts(SRC, WEIGHTS)
        grad_q, grad_k, grad_v = self._layouts(DIFF_SRC, DIFF_WEIGHTS)
        grad_queries = DIFF_SRC in steps.needs_grad
        grad_others = grad_queries if self.joint else DIFF_WEIGHTS in steps.needs_grad
        shape = [part.windows, part.heads, self.tokens, self.others]
        flat = [part.windows * part.heads * self.tokens, self.others]
        grad, product, total = steps.scratch(flat), steps.scratch(flat), steps.scratch([flat[0], 1])
        probabilities, upstream = (
            self._scores(steps, part),
            self._heads(steps, part, self._result(DIFF_DST)),
        )
        grad_scores, own = steps.viewed(grad, shape), steps.viewed(probabilities, flat)
        steps.product(upstream, self._heads(steps, part, v, transposed=True), grad_scores)
        if grad_others:
            left, result = _transposed(steps, probabilities, shape), self._heads(steps, part, grad_v)
            steps.product(left, upstream, result)
        # of softmax: p (g - sum of p g); its own primitive is a plain loop on some processors
        steps.combine(MULTIPLY, grad, own, product)
        steps.product(product, steps.ones([self.others, 1]), total, factor=-1.0)
        steps.combine(ADD, grad, total)
        steps.combine(MULTIPLY, grad, own)
        if DIFF_BIAS in steps.needs_grad:
            size = part.heads * self.tokens * self.others
            target = steps.array(DIFF_BIAS, [size])
            for index in range(part.windows):  # in the order of the windows
                steps.combine(ADD, target, steps.viewed(grad, [size], offset=index * size))
        if grad_queries:
            result = self._heads(steps, part, grad_q)
            steps.product(grad_scores, self._heads(steps, part, k), result, factor=self.factor)
        if grad_others:
            left, result = _transposed(steps, grad_scores, shape), self._heads(steps, part, grad_k)
            steps.product(left, self._heads(steps, part, q), result, factor=self.factor)

    def _shift(self, part: _Part) -> dict[int, int]:
        """How far a part lies behind the first one in each array."""
        pairs, head, channels = self.tokens * self.others, part.head * self.width, self.heads * self.width
        rows = {SRC: 3 * channels if self.joint else channels, DST: channels, DIFF_DST: channels}
        rows[DIFF_SRC] = rows[SRC]
        shifts = {key: part.window * self.tokens * row + head for key, row in rows.items()}
        shifts |= dict.fromkeys((WEIGHTS, DIFF_WEIGHTS), part.window * self.others * 2 * channels + head)
        shifts |= dict.fromkeys((BIAS, DIFF_BIAS), part.head * pairs)
        shifts[_MASK] = part.window % (self.masks or 1) * pairs
        shifts[_PROBABILITIES] = (part.window * self.heads + part.head) * pairs
        return shifts

    def _layouts(self, first: int, second: int) -> tuple[_Layout, _Layout, _Layout]:
        """Layouts of queries, keys and values, or of their gradients."""
        n, m, c = self.tokens, self.others, self.heads * self.width
        if self.joint:
            return _Layout(first, n, 3 * c, 0), _Layout(first, m, 3 * c, c), _Layout(first, m, 3 * c, 2 * c)
        return _Layout(first, n, c, 0), _Layout(second, m, 2 * c, 0), _Layout(second, m, 2 * c, c)

    def _result(self, key: int) -> _Layout:
        return _Layout(key, self.tokens, self.heads * self.width, 0)

    def _heads(self, steps: Steps, part: _Part, layout: _Layout, transposed: bool = False) -> Array:
        """A matrix of (tokens, width) for each window and head; `transposed`: (width, tokens)."""
        window = layout.tokens * layout.row
        shape = [part.windows, part.heads, layout.tokens, self.width]
        strides = [window, self.width, layout.row, 1]
        if transposed:
            shape[2:], strides[2:] = shape[:1:-1], strides[:1:-1]
        return steps.array(layout.key, shape, strides, layout.offset)

    def _scores(self, steps: Steps, part: _Part) -> Array:
        """A number for each pair of tokens: kept ones, or scratch memory."""
        shape = [part.windows, part.heads, self.tokens, self.others]
        return steps.wanted(_PROBABILITIES, shape)


def _transposed(steps: Steps, scores: Array, shape: list[int]) -> Array:
    windows, heads, tokens, others = shape
    pairs = tokens * others
    return steps.viewed(scores, [windows, heads, others, tokens], [heads * pairs, pairs, 1, others])


def attention(
    q: Tensor, kv: Tensor | None, bias: Tensor, mask: Tensor | None, heads: int, factor: float
) -> Tensor | None:
    """softmax(factor q k' + bias + mask) v within windows; None where Paddle's operators have to do it.

    Args:
        q: queries (windows, N, C), or queries, keys and values (windows, N, 3 C).
        kv: keys and values (windows, M, 2 C), None where they are in `q`.
        bias: (heads, N, M).
        mask: added to all heads (windows of an image, N, M); None: nothing.
        heads: their number, which divides C.
        factor: on the products.

    Returns:
        (windows, N, C).
    """
    windows, tokens, row = q.shape
    width = row // heads if kv is not None else row // (3 * heads)
    operation = Attention(
        windows=windows,
        tokens=tokens,
        others=tokens if kv is None else kv.shape[1],
        heads=heads,
        width=width,
        factor=factor,
        masks=0 if mask is None else mask.shape[0],
        joint=kv is None,
        at_once=_AT_ONCE,
    )
    return runtime.compute(operation, [windows, tokens, heads * width], q, kv, bias, mask)
