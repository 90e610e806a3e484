"""A linear recurrence with coefficients for each token: its outputs and its gradients, by tensor operations.

For every channel d and state n, with h_0 = 0:

    h_t = exp(dt_t A[d, n]) h_(t-1) + dt_t B_t[n] u_t,      y_t = sum_n C_t[n] h_t

The sequence is cut into chunks. All of them are scanned at once from a zero state, the states are carried
from chunk to chunk, and what they add to the outputs is added. As states are only multiplied by
exp(dt A) <= 1, nothing overflows at any length. One chunk is the sequential form, for devices that need no
wide operations. The backward pass keeps only the inputs, and computes the states again part by part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import paddle
from paddle import Tensor

from ppsr import accelerate

_TRACED_LEVELS = 20  # doublings of the carry: right for 2^20 chunks
_SHORTEST_CHUNK = 32


class ScanInputs(NamedTuple):
    """Inputs of the recurrence, time first: (T, ..., G, ., .) with P channels in each of G groups."""

    dt: Tensor  # (..., 1, P)
    inflow: Tensor  # (..., 1, P): dt * u
    B: Tensor  # (..., N, 1)
    C: Tensor  # (..., 1, N)

    def parts(self, size: int) -> list[ScanInputs]:
        """Runs of at most `size` tokens."""
        return [
            ScanInputs(*(x[start : start + size] for x in self)) for start in range(0, self.dt.shape[0], size)
        ]


class ScanLayout(NamedTuple):
    """How a scan is cut: tokens of a chunk (None: the sequence is one chunk), tokens of a part of it."""

    chunk: int | None
    part: int


TRACED = ScanLayout(chunk=32, part=8)
"""For graphs of open length: few tokens after each other, whatever the device."""


def choose_layout(x: Tensor, width: int, chunk: int | None) -> ScanLayout:
    """Cut so that one operation is wide enough to be worth its launch, and a part stays in the cache.

    Args:
        x: a tensor of the scan, time first.
        width: states of one token.
        chunk: tokens of a chunk as wished; 0 is one chunk; None chooses.
    """
    length = x.shape[0]
    widest, part = (2**10, 2**17) if x.place.is_cpu_place() else (2**21, 2**24)
    if chunk is None:
        chunks = min(widest // width, length // _SHORTEST_CHUNK)
        chunk = -(-length // chunks) if chunks > 1 else 0
    if chunk == 0 or chunk >= length:
        return ScanLayout(None, min(length, max(1, part // width)))
    return ScanLayout(chunk, min(chunk, max(1, part // (width * -(-length // chunk)))))


def _decay(dt: Tensor, A: Tensor) -> tuple[Tensor, Tensor]:
    """dt repeated over the states, and the factors exp(dt A).

    A product with ones repeats several times faster than Paddle broadcasts.
    """
    spread = paddle.matmul(paddle.ones([A.shape[-2], 1], dt.dtype), dt)
    return spread, paddle.exp(spread * _like(A, spread))


def _like(A: Tensor, x: Tensor) -> Tensor:
    """A in the shape of x; the repeated matrix of a scan is longer in time than its last part."""
    return A[: x.shape[0]] if A.ndim == x.ndim else _spread(A, x)


def _spread(x: Tensor, like: Tensor) -> Tensor:
    """x repeated to the shape of another, where products without broadcasting are faster. Runtimes that read
    graphs broadcast well, and ONNX Runtime refuses this repetition with open sizes."""
    return x.expand_as(like) if accelerate.runs_eagerly() else x


def _advance(steps: ScanInputs, A: Tensor, state: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Repeated dt, factors, and the state after each token."""
    spread, decay = _decay(steps.dt, A)
    states = []
    factors, additions = paddle.unbind(decay), paddle.unbind(paddle.matmul(steps.B, steps.inflow))
    for factor, addition in zip(factors, additions, strict=True):
        state = factor * state + addition
        states.append(state)
    return spread, decay, states


def _walk(
    steps: ScanInputs, A: Tensor, state: Tensor, size: int
) -> Iterator[tuple[ScanInputs, Tensor, list[Tensor]]]:
    """Part by part: the part, the state before it, the states after each of its tokens."""
    for part in steps.parts(size):
        _, _, states = _advance(part, A, state)
        yield part, state, states
        state = states[-1]


def _recede(C: Tensor, grad_y: Tensor, decay: Tensor, grad: Tensor) -> tuple[list[Tensor], Tensor]:
    """The recurrence backwards.

    Args:
        C: matrix C of these tokens.
        grad_y: gradient of their outputs.
        decay: their factors.
        grad: gradient of the state after them, from the tokens that follow.

    Returns:
        The gradient of the state after each token, in the order of the tokens; that of the state before.
    """
    additions = paddle.unbind(paddle.matmul(C, grad_y, transpose_x=True))
    factors = paddle.unbind(decay)
    grads = []
    for factor, addition in zip(reversed(factors), reversed(additions), strict=True):
        grads.append(grad + addition)
        grad = grads[-1] * factor
    return grads[::-1], grad


def _fold(x: Tensor, chunk: int | None) -> Tensor:
    """(L, R, G, ., .) -> (chunk, chunks, R, G, ., .); tokens that are missing are zero and change nothing."""
    if chunk is None:
        return x.unsqueeze(1)
    length, rows, groups, m, n = x.shape
    missing = paddle.zeros([chunk - 1, rows, groups, m, n], x.dtype)
    whole = (length + chunk - 1) // chunk * chunk
    x = paddle.concat([x, missing])[:whole].reshape([-1, chunk, rows, groups, m, n])
    return x.transpose([1, 0, 2, 3, 4, 5])


def _unfold(x: Tensor, length: int) -> Tensor:
    """Inverse of `_fold`."""
    _, _, rows, groups, m, n = x.shape
    return x.transpose([1, 0, 2, 3, 4, 5]).reshape([-1, rows, groups, m, n])[:length]


def _carry(decay: Tensor, ends: Tensor, first: Tensor) -> Tensor:
    """The state before each chunk.

    Each doubling joins twice as many chunks. The first factor is zero, so what comes round the end of a
    rolled tensor is always multiplied by zero.

    Args:
        decay: factor over each chunk (chunks, R, G, N, P).
        ends: the state after each chunk that begins at zero.
        first: the state before the first chunk.
    """
    factors = paddle.concat([paddle.zeros_like(decay[:1]), decay[:-1]])
    states = paddle.concat([first.unsqueeze(0), ends[:-1]])
    levels = (decay.shape[0] - 1).bit_length() if accelerate.runs_eagerly() else _TRACED_LEVELS
    for level in range(levels):
        states = states + factors * paddle.roll(states, 2**level, axis=0)
        factors = factors * paddle.roll(factors, 2**level, axis=0)
    return states


def _repeat(A: Tensor, steps: ScanInputs, size: int) -> Tensor:
    """A for each token of a part, so that products need no broadcasting; see `_spread`."""
    if not accelerate.runs_eagerly():
        return A
    lead = list(steps.dt.shape[1:-3])
    return A.expand([size, *lead, *A.shape])


def _chunk_decay(steps: ScanInputs, A: Tensor) -> Tensor:
    return paddle.exp(steps.dt.sum(0) * A)


def _start(steps: ScanInputs, A: Tensor) -> Tensor:
    """Zero states in the shape of the steps."""
    return paddle.zeros([*list(steps.dt.shape[1:-2]), *A.shape[-2:]], steps.dt.dtype)


def _chunk_starts(steps: ScanInputs, A: Tensor, repeated: Tensor, layout: ScanLayout) -> list[Tensor]:
    """The states before each part of all chunks."""
    first = end = _start(steps, A)
    if layout.chunk is not None:
        for _, _, states in _walk(steps, repeated, first, layout.part):
            end = states[-1]
        first = _carry(_chunk_decay(steps, A), end, first[0])
    return [start for _, start, _ in _walk(steps, repeated, first, layout.part)]


def forward(steps: ScanInputs, A: Tensor, layout: ScanLayout) -> tuple[Tensor, Tensor]:
    """Outputs (L, R, G, 1, P) and the last state (R, G, N, P).

    Chunks begin at zero here, so that their states are not the true ones; they add to their outputs what is
    left, at each token, of the state that they should have begun with.
    """
    length = steps.dt.shape[0]
    steps = ScanInputs(*(_fold(x, layout.chunk) for x in steps))
    repeated = _repeat(A, steps, layout.part)
    zero = state = _start(steps, A)
    outputs = []
    for part, _, states in _walk(steps, repeated, zero, layout.part):
        outputs.append(paddle.matmul(part.C, paddle.stack(states)))
        state = states[-1]
    if layout.chunk is None:
        return _unfold(paddle.concat(outputs), length), state[0]
    decay = _chunk_decay(steps, A)
    before = _carry(decay, state, zero[0])
    elapsed = ScanInputs(paddle.cumsum(steps.dt, axis=0), steps.inflow, steps.B, steps.C)
    for i, part in enumerate(elapsed.parts(layout.part)):
        _, left = _decay(part.dt, repeated)
        outputs[i] = outputs[i] + paddle.matmul(part.C, left * _spread(before, left))
    return _unfold(paddle.concat(outputs), length), decay[-1] * before[-1] + state[-1]


def _after(
    steps: ScanInputs, A: Tensor, repeated: Tensor, layout: ScanLayout, grad_y: Tensor, last: Tensor
) -> Tensor:
    """The gradient of the state after each chunk, from the chunks that follow."""
    grad = _start(steps, A)
    if layout.chunk is None:
        return last.unsqueeze(0)
    for part, grad_part in zip(
        reversed(steps.parts(layout.part)), reversed(_split(grad_y, layout)), strict=True
    ):
        _, decay = _decay(part.dt, repeated)
        _, grad = _recede(part.C, grad_part, decay, grad)
    return _carry(_chunk_decay(steps, A).flip(0), grad.flip(0), last).flip(0)


def _split(x: Tensor, layout: ScanLayout) -> list[Tensor]:
    return [x[start : start + layout.part] for start in range(0, x.shape[0], layout.part)]


def backward(
    steps: ScanInputs, A: Tensor, layout: ScanLayout, grad_y: Tensor, grad_last: Tensor
) -> tuple[ScanInputs, Tensor]:
    """Gradients of the steps, in their shapes, and of A."""
    length = steps.dt.shape[0]
    steps, grad_y = ScanInputs(*(_fold(x, layout.chunk) for x in steps)), _fold(grad_y, layout.chunk)
    repeated = _repeat(A, steps, layout.part)
    starts = _chunk_starts(steps, A, repeated, layout)
    grad = _after(steps, A, repeated, layout, grad_y, grad_last)
    ones = paddle.ones([1, A.shape[-2]], A.dtype)
    grads, grad_a = [], paddle.zeros_like(starts[0])
    parts = zip(steps.parts(layout.part), _split(grad_y, layout), starts, strict=True)
    for part, grad_part, start in reversed(list(parts)):
        spread, decay, states = _advance(part, repeated, start)
        listed, grad = _recede(part.C, grad_part, decay, grad)
        grad_states = paddle.stack(listed)
        exponent = grad_states * paddle.stack([start, *states[:-1]]) * decay  # gradient of dt A
        grads.append(
            ScanInputs(
                paddle.matmul(ones, exponent * _like(repeated, exponent)),
                paddle.matmul(part.B, grad_states, transpose_x=True),
                paddle.matmul(grad_states, part.inflow, transpose_y=True),
                paddle.matmul(grad_part, paddle.stack(states), transpose_y=True),
            )
        )
        grad_a = grad_a + _sum_time(exponent * spread)
    joined = ScanInputs(*(paddle.concat(column) for column in zip(*reversed(grads), strict=True)))
    joined = ScanInputs(*(_unfold(x, length) for x in joined))
    return joined, grad_a.sum(list(range(grad_a.ndim - 3)))


def _sum_time(x: Tensor) -> Tensor:
    """Sum over the first axis, as a product: four times faster than Paddle's sum on a CPU."""
    rows = x.reshape([x.shape[0], -1])
    return paddle.matmul(paddle.ones([1, x.shape[0]], x.dtype), rows).reshape(x.shape[1:])
