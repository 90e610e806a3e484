"""Selective scan: a recurrence whose coefficients depend on the input, as a function with its own gradient.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024, arXiv:2312.00752;
github.com/state-spaces/mamba has it as a CUDA kernel. Here `ppsr.accelerate` computes it on a CPU, and
`recurrence` everywhere else, with tensor operations.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.errors import ConfigError
from ppsr.generators.blocks import recurrence
from ppsr.generators.blocks.recurrence import ScanInputs, ScanLayout

__all__ = ["precision", "selective_scan", "softplus"]

_LINEAR_ABOVE = 20.0  # softplus is the identity there, as in the published code


class _Scan(PyLayer):
    """The recurrence with its own gradient; asking for a second derivative raises."""

    @staticmethod
    def forward(
        ctx: paddle.autograd.PyLayerContext,
        dt: Tensor,
        u: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        layout: ScanLayout,
        with_last: bool,
    ) -> Any:
        ctx.layout = layout
        ctx.needs_grad = [not x.stop_gradient for x in (dt, u, A, B, C)]
        ctx.save_for_backward(dt, u, A, B, C)
        y, last = recurrence.forward(ScanInputs(dt, dt * u, B, C), A, layout)
        ctx.last_shape = last.shape
        return (y, last) if with_last else y  # Paddle 2.6 fails where a result is not used

    @staticmethod
    def backward(
        ctx: paddle.autograd.PyLayerContext, grad_y: Tensor, grad_last: Tensor | None = None
    ) -> tuple[Tensor | None, ...]:
        if paddle.is_grad_enabled():  # only under create_graph: the result would count as a constant
            raise RuntimeError("selective_scan has no second derivative")
        dt, u, A, B, C = ctx.saved_tensor()
        if grad_last is None:
            grad_last = paddle.zeros(ctx.last_shape, A.dtype)
        steps = ScanInputs(dt, dt * u, B, C)
        grads, grad_a = recurrence.backward(steps, A, ctx.layout, grad_y, grad_last)
        found = (grads.dt + grads.inflow * u, grads.inflow * dt, grad_a, grads.B, grads.C)
        # Paddle refuses the gradient of an input that asks for none, such as a frozen weight
        return tuple(x if needed else None for x, needed in zip(found, ctx.needs_grad, strict=True))


class _Softplus(PyLayer):
    @staticmethod
    def forward(ctx: paddle.autograd.PyLayerContext, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _softplus(x)

    @staticmethod
    def backward(ctx: paddle.autograd.PyLayerContext, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensor()
        return grad * paddle.where(x > _LINEAR_ABOVE, paddle.ones_like(x), F.sigmoid(x))


def _softplus(x: Tensor) -> Tensor:
    exact = F.relu(x) + paddle.log1p(paddle.exp(-x.abs()))
    return paddle.where(x > _LINEAR_ABOVE, x, exact)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), x itself above 20; exact for negative x too, where Paddle's operator is not.

    In float32 on a CPU Paddle's own one is wrong by 5e-4 of its value at -9, and zero at -20. The gradient
    is exact at zero as well.
    """
    return _Softplus.apply(x) if accelerate.runs_eagerly() else _softplus(x)


def _grouped(x: Tensor, groups: int, rows: int, length: int) -> Tensor:
    """B or C as (R, groups, N, L), from (D, N), (R, N, L) or (R, G, N, L)."""
    if x.ndim == 2:
        return x.reshape([1, groups, -1, 1]).expand([rows, groups, x.shape[1], length])
    if x.ndim == 3:
        x = x.unsqueeze(1)
    own = x.shape[1]
    if own == groups:
        return x
    n = x.shape[2]
    return x.unsqueeze(2).expand([rows, own, groups // own, n, length]).reshape([rows, groups, n, length])


def _count_groups(channels: int, B: Tensor, C: Tensor) -> int:
    """Groups of channels that share B and C; a matrix without time belongs to single channels."""
    counts = [channels if x.ndim == 2 else 1 if x.ndim == 3 else x.shape[1] for x in (B, C)]
    groups = max(counts)
    if channels % groups or any(groups % count for count in counts):
        raise ConfigError(
            f"selective_scan: {channels} channels do not divide into the groups of B {list(B.shape)} and "
            f"C {list(C.shape)}; give (D, N), (R, N, L) or (R, G, N, L) with D a multiple of G"
        )
    return groups


def precision(x: Tensor) -> Any:
    """The type that the recurrence of an input is computed in: float64 for float64, else float32."""
    return paddle.float64 if x.dtype == paddle.float64 else paddle.float32


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    chunk: int | None = None,
    reverse: bool = False,
) -> Any:
    """y_t = sum_n C_t h_t + D u_t, times silu(z) where z is given.

    h is the state of the recurrence in `recurrence`; computed in float64 where u has it, else in float32.

    Args:
        u: input (R, D, L).
        delta: step dt before bias and softplus (R, D, L).
        A: (D, N), real, not positive.
        B: (D, N), (R, N, L), or (R, G, N, L) with G groups of D / G channels.
        C: the same.
        D: factor of the direct path (D,).
        z: gate (R, D, L).
        delta_bias: (D,).
        delta_softplus: dt = softplus(delta + delta_bias) instead of the sum.
        return_last_state: also return the state after the last token (R, D, N), in the computing precision.
        chunk: tokens of a chunk of the form by tensor operations; 0: one chunk. None chooses the fastest.
        reverse: begin at the last token; the last state is then that after the first one.

    Returns:
        (R, D, L) in the type of u, and the last state if wanted.

    Raises:
        ConfigError: the channels do not divide into the groups of B and C, or a negative chunk.
        RuntimeError: a second derivative is asked for (Paddle may wrap it in an OSError).
    """
    if chunk is not None and chunk < 0:
        raise ConfigError(f"selective_scan: chunk is 0, a number of tokens, or None to choose; got {chunk}")
    dtype = precision(u)
    rows, _, length = u.shape
    groups = _count_groups(A.shape[0], B, C)
    values, dt = u.astype(dtype), delta.astype(dtype)
    if delta_bias is not None:
        dt = dt + delta_bias.astype(dtype).unsqueeze(-1)
    B, C = (_grouped(x.astype(dtype), groups, rows, length) for x in (B, C))
    y = last = None
    if delta_softplus and not return_last_state and chunk is None:
        y = accelerate.selective_scan(dt, values, A.astype(dtype), B, C, reverse)
    if y is None:
        dt = softplus(dt) if delta_softplus else dt
        dt, onward = _ordered(dt, reverse), _ordered(values, reverse)
        B, C = _ordered(B, reverse), _ordered(C, reverse)
        y, last = _by_tensor_operations(dt, onward, A.astype(dtype), B, C, chunk, return_last_state)
        y = _ordered(y, reverse)
    if D is not None:
        y = y + values * D.astype(dtype).unsqueeze(-1)
    if z is not None:
        y = y * F.silu(z.astype(dtype))
    y = y.astype(u.dtype)
    return (y, last) if return_last_state else y


def _ordered(x: Tensor, reverse: bool) -> Tensor:
    """The last of three or four axes from its end; flip has no ONNX form for an axis of open length."""
    if not reverse:
        return x
    if accelerate.runs_eagerly():
        return x.flip(-1)
    return x[:, :, ::-1] if x.ndim == 3 else x[:, :, :, ::-1]


def _by_tensor_operations(
    dt: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int | None, with_last: bool
) -> tuple[Tensor, Tensor | None]:
    """Outputs (R, D, L), and the last state (R, D, N) where it is asked for."""
    rows, channels, length = u.shape
    groups, states = B.shape[1:3]
    per_group = channels // groups

    def time_first(x: Tensor, m: int, n: int) -> Tensor:
        return x.reshape([rows, groups, m, n, length]).transpose([4, 0, 1, 2, 3])

    tensors = (
        time_first(dt, 1, per_group),
        time_first(u, 1, per_group),
        A.reshape([groups, per_group, states]).transpose([0, 2, 1]),
        time_first(B, states, 1),
        time_first(C, 1, states),
    )
    if accelerate.runs_eagerly():
        layout = recurrence.choose_layout(tensors[0], rows * A.size, chunk)
        with paddle.amp.auto_cast(enable=False):
            result = _Scan.apply(*tensors, layout, with_last)
            y, last = result if with_last else (result, None)
    else:
        steps = ScanInputs(tensors[0], tensors[0] * tensors[1], *tensors[3:])
        y, last = recurrence.forward(steps, tensors[2], recurrence.TRACED)
    y = y.transpose([1, 2, 4, 0, 3]).reshape([rows, channels, length])
    if last is not None:
        last = last.transpose([0, 1, 3, 2]).reshape([rows, channels, states])
    return y, last
