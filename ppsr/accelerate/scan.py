"""The selective scan through oneDNN: some tokens at a time, whose states stay in the cache.

One primitive gives the states after a token: exp(dt A) times those before it, plus what flows in. The
backward pass computes them again, from those before each part of the sequence, which the forward pass keeps.
Guards are those of `ppsr.accelerate.conv`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from paddle import Tensor

from ppsr.accelerate import runtime
from ppsr.accelerate.descriptions import (
    ABS,
    ADD,
    DIVIDE,
    EXP,
    LINEAR,
    LOGISTIC,
    MULTIPLY,
    RELU,
    Array,
    PostOp,
)
from ppsr.accelerate.onednn import DIFF_DST, DST
from ppsr.accelerate.plans import Operation
from ppsr.accelerate.steps import Steps, largest_divisor

_DELTA, _U, _A, _B, _C, _STARTS = range(1010, 1016)
_D_DELTA, _D_U, _D_A, _D_B, _D_C = -_DELTA, -_U, -_A, -_B, -_C
_PER_CHANNEL, _PER_HEAD = (_DELTA, _U, DST, DIFF_DST, _D_DELTA, _D_U), (_B, _C, _D_B, _D_C)
_WIDE = 1 << 14  # states of a token; more are cut into blocks of heads
_CACHED = 1 << 17  # numbers of an array that stays in the cache
# log(1 + y) = 2 z (1 + z^2 / 3 + z^4 / 5 ...) where z = y / (2 + y) <= 1/3: the rest is below 2e-9
_SERIES = [2 / k for k in range(15, 0, -2)]


@dataclass(frozen=True)
class Scan(Operation):
    """y = C h with h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t and dt = softplus(delta)."""

    heads: int  # groups of channels, each with its own B and C
    width: int  # channels of a head
    states: int  # of a channel
    length: int
    reverse: bool  # from the last token to the first

    inputs = _DELTA, _U, _A, _B, _C

    @property
    def extras(self) -> dict[int, list[int]]:
        """The states before each part of the sequence."""
        return {_STARTS: [self.heads // self.together, self.parts, self.states, self.channels]}

    @property
    def together(self) -> int:
        """Heads of a block, which are scanned together."""
        return largest_divisor(self.heads, _WIDE // (self.states * self.width))

    @property
    def channels(self) -> int:
        """Channels of a block."""
        return self.together * self.width

    @property
    def tokens(self) -> int:
        """Tokens of a part."""
        return min(self.length, max(1, _CACHED // (self.states * self.channels)))

    @property
    def parts(self) -> int:
        """Parts of the sequence; the last one may be shorter."""
        return -(-self.length // self.tokens)

    def build(self, steps: Steps) -> None:
        """Append the pass: DELTA, U, A, B, C -> DST, STARTS, or the gradients from DIFF_DST."""
        block = _ScanSteps(self, steps)
        begin = steps.segment()
        block.begin()
        parts = []
        full, rest = divmod(self.length, self.tokens)
        for tokens, places in ((self.tokens, range(full)), (rest, range(full, self.parts))):
            if places:
                segment = steps.segment()
                block.run(tokens)
                parts += [(segment, place) for place in places]
        end = steps.segment()
        block.end()
        backwards = bool(steps.needs_grad) != self.reverse
        order = [(begin, 0), *(reversed(parts) if backwards else parts), (end, 0)]
        blocks = range(self.heads // self.together)
        steps.order = [(segment, self._shift(index, place)) for index in blocks for segment, place in order]

    def _shift(self, block: int, part: int) -> dict[int, int]:
        """How far a part of a block lies behind the first one in each array."""
        states, token = self.states * self.channels, part * self.tokens
        shifts = dict.fromkeys(_PER_CHANNEL, block * self.channels * self.length + token)
        shifts |= dict.fromkeys(_PER_HEAD, block * self.together * self.states * self.length + token)
        shifts |= dict.fromkeys((_A, _D_A), block * states)
        shifts[_STARTS] = (block * self.parts + part) * states
        return shifts


class _ScanSteps:
    """Steps for some heads of one part of the sequence. Arrays of states are (tokens, N, channels), those of
    channels (tokens, channels), B and C (tokens, heads, N)."""

    def __init__(self, scan: Scan, steps: Steps) -> None:
        self.scan, self.steps, self.tokens = scan, steps, scan.tokens
        self.state = [scan.states, scan.channels]
        shape = [scan.tokens, *self.state]
        self.decays = steps.scratch(self.state)
        # the states before and after each token, which are those after and before its neighbours
        self.chain = steps.scratch([scan.tokens + 1, *self.state])
        later = steps.viewed(self.chain, shape, offset=scan.states * scan.channels)
        self.before, self.h = (later, self.chain) if scan.reverse else (self.chain, later)
        if steps.needs_grad:
            self.factors, self.grads = steps.scratch(shape), steps.scratch(shape)
            self.carry, self.grad_decays = steps.scratch(self.state), steps.scratch(self.state)

    def begin(self) -> None:
        """Append what precedes the parts: A, and zeros."""
        self.steps.copy(self._caller(_A), self.decays)
        zero = self.steps.constant(np.zeros(self.state, np.float32))
        # a reverse scan begins with the last part, which may be shorter
        last_part = self.scan.length % self.tokens or self.tokens
        start = self._of(self.chain, last_part if self.scan.reverse else 0)
        for array in (self.carry, self.grad_decays) if self.steps.needs_grad else (start,):
            self.steps.copy(zero, array)

    def end(self) -> None:
        """Append what follows the parts."""
        if self.steps.needs_grad:
            self._store(self.grad_decays, _D_A)

    def run(self, tokens: int) -> None:
        """Append the pass for so many tokens."""
        self.tokens = tokens
        self.sequence = range(tokens)[:: -1 if self.scan.reverse else 1]
        (self._backward if self.steps.needs_grad else self._forward)()

    def _forward(self) -> None:
        steps = self.steps
        if _STARTS in self.steps.callers:
            self._store(self._of(self.before, self.sequence[0]), _STARTS)
        dt, inflow = self._softplus(self._load(_DELTA)), self._load(_U)
        steps.combine(MULTIPLY, inflow, dt)
        steps.product(self._shared(self._load(_B)), self._rows(inflow), self._matrices(self.h))
        for token in self.sequence:
            then = [PostOp(EXP), PostOp(MULTIPLY, self._of(self.before, token)), PostOp(ADD)]
            steps.combine(MULTIPLY, self.decays, self._row(dt, token), self._of(self.h, token), then)
        y = self._scratch(DST)
        steps.product(self._shared(self._load(_C), True), self._matrices(self.h), self._rows(y))
        self._store(y, DST)
        following = self.scan.tokens if self.scan.reverse else 0
        steps.copy(self._of(self.h, self.sequence[-1]), self._of(self.chain, following))

    def _backward(self) -> None:
        steps, factors, grads = self.steps, self.factors, self.grads
        steps.copy(self._caller(_STARTS), self._of(self.before, self.sequence[0]))
        delta, u, grad_y, b, c = (self._load(key) for key in (_DELTA, _U, DIFF_DST, _B, _C))
        dt, inflow = self._softplus(delta), self._scratch(_U)
        steps.combine(MULTIPLY, u, dt, inflow)
        steps.product(self._shared(b), self._rows(inflow), self._matrices(self.h))
        for token in self.sequence:
            factor = self._of(factors, token)
            steps.combine(MULTIPLY, self.decays, self._row(dt, token), factor, [PostOp(EXP)])
            states = self._of(self.before, token), self._of(self.h, token)
            steps.combine(MULTIPLY, factor, *states, [PostOp(ADD)])
        # gradients of the states, from the end of the sequence on; carry: of those before the part
        steps.product(self._shared(c), self._rows(grad_y), self._matrices(grads))
        steps.combine(ADD, self._of(grads, self.sequence[-1]), self.carry)
        for index in reversed(range(self.tokens)):
            token, target, then = self.sequence[index], self.carry, []
            if index:
                target, then = self._of(grads, self.sequence[index - 1]), [PostOp(ADD)]
            steps.combine(MULTIPLY, self._of(factors, token), self._of(grads, token), target, then)
        self._sum_channels(self.h, grad_y, _D_C)
        self._sum_channels(grads, inflow, _D_B)
        grad_inflow, grad_dt = self._scratch(_U), self._scratch(_U)
        steps.product(self._shared(b, True), self._matrices(grads), self._rows(grad_inflow))
        exponents = self._flat(factors)  # become the gradients of dt A
        then = [PostOp(MULTIPLY, self._flat(self.before))]
        steps.combine(MULTIPLY, exponents, self._flat(grads), then=then)
        for token in range(self.tokens):
            row = self._row(dt, token)
            steps.combine(MULTIPLY, self._of(factors, token), row, self.grad_decays, [PostOp(ADD)])
        steps.combine(MULTIPLY, exponents, self._flat(self.decays, 1))
        total = steps.viewed(grad_dt, [self.tokens, 1, self.scan.channels])
        terms = steps.viewed(factors, [self.tokens, *self.state])
        steps.product(steps.ones([1, 1, self.scan.states]), terms, total)
        steps.combine(MULTIPLY, u, grad_inflow, grad_dt, [PostOp(ADD)])
        self._map(delta, delta, PostOp(LOGISTIC), PostOp(MULTIPLY, grad_dt))  # the slope of softplus
        steps.combine(MULTIPLY, grad_inflow, dt)
        self._store(delta, _D_DELTA)
        self._store(grad_inflow, _D_U)

    def _softplus(self, x: Array) -> Array:
        """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), exact for very negative x as well."""
        z, square, positive, result = (self._scratch(_DELTA) for _ in range(4))
        self._map(x, z, PostOp(ABS), PostOp(LINEAR, alpha=-1.0), PostOp(EXP))
        self._map(z, result, PostOp(LINEAR, alpha=1.0, beta=2.0))
        self.steps.combine(DIVIDE, z, result)
        self.steps.combine(MULTIPLY, z, z, square)
        self._map(x, positive, PostOp(RELU))
        first, second, *others = _SERIES
        then = [PostOp(LINEAR, alpha=first, beta=second)]
        for factor in others:
            then += [PostOp(MULTIPLY, square), PostOp(LINEAR, alpha=1.0, beta=factor)]
        self._map(square, result, *then, PostOp(MULTIPLY, z), PostOp(ADD, positive))
        return result

    def _map(self, source: Array, into: Array, *functions: PostOp) -> None:
        """Append functions of each number; oneDNN joins them to an addition, but not to one another."""
        zero = self.steps.constant(np.zeros([1, 1], np.float32))
        self.steps.combine(ADD, source, zero, into, functions)

    def _sum_channels(self, states: Array, weights: Array, key: int) -> None:
        """Append the weighted sum over the channels of a head, if this gradient is needed."""
        result = self._scratch(key)
        self.steps.product(self._matrices(states), self._rows(weights, True), self._shared(result))
        self._store(result, key)

    def _shape(self, key: int) -> list[int]:
        """Shape of the caller's numbers in scratch memory."""
        if key in _PER_HEAD:
            return [self.tokens, self.scan.together, self.scan.states]
        return [self.tokens, self.scan.channels] if key in _PER_CHANNEL else self.state

    def _caller(self, key: int) -> Array:
        length, states = self.scan.length, self.scan.states
        strides = [1, states * length, length] if key in _PER_HEAD else [1, length]
        if key not in _PER_HEAD + _PER_CHANNEL:
            strides = [self.scan.channels, 1] if key == _STARTS else [1, states]
        return self.steps.array(key, self._shape(key), strides)

    def _scratch(self, key: int) -> Array:
        return self.steps.scratch(self._shape(key))

    def _load(self, key: int) -> Array:
        result = self._scratch(key)
        self.steps.copy(self._caller(key), result)
        return result

    def _store(self, array: Array, key: int) -> None:
        if key in (DST, _STARTS) or key in self.steps.needs_grad:
            self.steps.copy(array, self._caller(key))

    def _of(self, states: Array, token: int) -> Array:
        return self.steps.viewed(states, self.state, offset=token * self.scan.states * self.scan.channels)

    def _row(self, rows: Array, token: int) -> Array:
        return self.steps.viewed(rows, [1, self.scan.channels], offset=token * self.scan.channels)

    def _flat(self, states: Array, tokens: int | None = None) -> Array:
        size = self.scan.states * self.scan.channels
        return self.steps.viewed(states, [tokens or self.tokens, size])

    def _matrices(self, states: Array) -> Array:
        """(tokens, heads, N, width)."""
        n, channels, width = *self.state, self.scan.width
        shape, strides = [*self._shape(_B), width], [n * channels, width, channels, 1]
        return self.steps.viewed(states, shape, strides)

    def _rows(self, rows: Array, transposed: bool = False) -> Array:
        """(tokens, heads, 1, width); `transposed`: (tokens, heads, width, 1)."""
        channels, width = self.scan.channels, self.scan.width
        shape = [self.tokens, self.scan.together, *((width, 1) if transposed else (1, width))]
        return self.steps.viewed(rows, shape, [channels, width, *((1, 1) if transposed else (width, 1))])

    def _shared(self, array: Array, transposed: bool = False) -> Array:
        """(tokens, heads, N, 1); `transposed`: (tokens, heads, 1, N)."""
        tokens, heads, n = self._shape(_B)
        return self.steps.viewed(array, [tokens, heads, *((1, n) if transposed else (n, 1))])


def selective_scan(
    delta: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor, reverse: bool = False
) -> Tensor | None:
    """Selective scan of softplus(delta); None where Paddle's operators have to do it.

    Args:
        delta: (R, D, L).
        u: (R, D, L).
        A: (D, N).
        B: (R, G, N, L) for groups of D / G channels.
        C: the same.
        reverse: begin at the last token.

    Returns:
        (R, D, L).
    """
    if not runtime.runs_eagerly():
        return None
    (rows, channels, length), (groups, states) = u.shape, B.shape[1:3]
    tensors = delta, u, A.expand([rows, *A.shape]), B, C
    scan = Scan(rows * groups, channels // groups, states, length, reverse)
    return runtime.compute(scan, u.shape, *tensors)
