"""Window attention, as SwinIR, HAT and DRCT share it.

Liu et al., "Swin Transformer", ICCV 2021, arXiv:2103.14030; SwinIR, arXiv:2108.10257. Token maps are (N, H,
W, C). Relative indices are made once per window size, shift masks once per image size, for all blocks
together.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr import accelerate
from ppsr.errors import ConfigError
from ppsr.generators.blocks.transformer import TokenLinear

__all__ = ["WindowAttention", "attend", "merge_windows", "relative_index", "shift_mask", "split_windows"]


def split_windows(x: Tensor, size: int) -> Tensor:
    """(N, H, W, C) -> (N * windows, size * size, C), windows row by row."""
    n, h, w, c = x.shape
    x = x.reshape([n, h // size, size, w // size, size, c])
    return x.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, size * size, c])


def merge_windows(windows: Tensor, size: int, height: int, width: int) -> Tensor:
    """Inverse of `split_windows`: (N * windows, size * size, C) -> (N, H, W, C)."""
    c = windows.shape[-1]
    x = windows.reshape([-1, height // size, width // size, size, size, c])
    return x.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, height, width, c])


@lru_cache(maxsize=32)
def relative_index(size: int, other: int | None = None) -> np.ndarray:
    """Row of the bias table for each pair of tokens of a window, or of one of it and one of another window.

    The offsets to another window are negative in the published code and rely on wrapping around; here they
    are taken modulo the table's length, which is the same row.

    Args:
        other: side of the other window, at least as large; None is attention of the window to itself, whose
            table runs in the opposite direction.
    """
    far_size = size if other is None else other
    span = size + far_size - 1
    own = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij")).reshape(2, -1)
    far = np.stack(np.meshgrid(np.arange(far_size), np.arange(far_size), indexing="ij")).reshape(2, -1)
    if other is None:
        dy, dx = own[:, :, None] - far[:, None, :] + size - 1
    else:
        dy, dx = far[:, None, :] - own[:, :, None] + size - other + 1
    return (dy * span + dx) % span**2


def _shift_mask_array(height: int, width: int, size: int, shift: int) -> np.ndarray:
    labels = _axis_labels(height, size, shift)[:, None] * 3 + _axis_labels(width, size, shift)[None]
    windows = labels.reshape(height // size, size, width // size, size).transpose(0, 2, 1, 3)
    windows = windows.reshape(-1, size * size)
    return np.where(windows[:, None, :] == windows[:, :, None], 0.0, -100.0).astype(np.float32)


def _axis_labels(length: int, size: int, shift: int) -> np.ndarray:
    position = np.arange(length)
    return (position >= length - size).astype(np.int64) + (position >= length - shift)


@lru_cache(maxsize=1)  # of the present size only: it has window^2 values per pixel
def _shift_mask_tensor(height: int, width: int, size: int, shift: int, place: str) -> Tensor:
    return paddle.to_tensor(_shift_mask_array(height, width, size, shift))


def shift_mask(x: Tensor, size: int, shift: int) -> Tensor:
    """Attention mask between tokens that only the cyclic shift made neighbours: (windows, size^2, size^2)
    with 0 and -100.

    Args:
        x: token map (N, H, W, C) whose size counts.
    """
    _, h, w, _ = x.shape
    if accelerate.runs_eagerly():
        return _shift_mask_tensor(h, w, size, shift, paddle.get_device())
    labels = _traced_labels(h, size, shift).unsqueeze(1) * 3 + _traced_labels(w, size, shift).unsqueeze(0)
    windows = labels.reshape([h // size, size, w // size, size]).transpose([0, 2, 1, 3])
    windows = windows.reshape([-1, size * size])
    differ = paddle.abs(windows.unsqueeze(1) - windows.unsqueeze(2))
    return paddle.clip(differ, max=1.0) * -100.0


def _traced_labels(length: Tensor, size: int, shift: int) -> Tensor:
    position = paddle.arange(0, length, 1, dtype="int64")
    past = (position >= length - size).astype("float32")
    return past + (position >= length - shift).astype("float32")


def add_rows(x: Tensor, row: Tensor) -> Tensor:
    """x + row, where `row` has the shape of one sample of x.

    On a CPU as a matrix product with a column of ones, forward and backward: Paddle's broadcasting kernels
    use one thread and cost ten times as much.
    """
    if not (accelerate.runs_eagerly() and x.place.is_cpu_place()):
        return x + row
    ones = paddle.ones([x.shape[0], 1], x.dtype)
    return paddle.addmm(x.reshape([x.shape[0], -1]), ones, row.reshape([1, -1])).reshape(x.shape)


def attend(
    q: Tensor,
    kv: Tensor | None,
    bias: Tensor,
    mask: Tensor | None,
    heads: int,
    factor: float,
    dropout: nn.Dropout | None = None,
) -> Tensor:
    """softmax(factor q k' + bias + mask) v within windows, by Paddle's operators.

    Args:
        q: queries (windows, N, C), or queries, keys and values (windows, N, 3 C).
        kv: keys and values (windows, M, 2 C), None where they are in `q`.
        bias: (heads, N, M).
        mask: (windows of an image, N, M), see `shift_mask`; None: nothing is masked.

    Returns:
        (windows, N, C).
    """
    q, k, v = _heads(q, 3, heads) if kv is None else (*_heads(q, 1, heads), *_heads(kv, 2, heads))
    attention = accelerate.matmul(q * factor, k, transpose_y=True)
    bias = bias.astype(attention.dtype)
    tokens, others = bias.shape[1:]
    if mask is not None:
        masks = mask.astype(attention.dtype).unsqueeze(1).expand([-1, heads, tokens, others])
        bias = add_rows(masks, bias)
        attention = attention.reshape([-1, mask.shape[0], heads, tokens, others])
    attention = add_rows(attention, bias).reshape([-1, heads, tokens, others])
    attention = F.softmax(attention, axis=-1)
    if dropout is not None:
        attention = dropout(attention)
    return accelerate.matmul(attention, v).transpose([0, 2, 1, 3]).reshape([-1, tokens, heads * v.shape[-1]])


def _heads(x: Tensor, parts: int, heads: int) -> list[Tensor]:
    """(windows, tokens, parts * C) -> for each part (windows, heads, tokens, C / heads)."""
    count, tokens, row = x.shape  # not -1: Paddle fuses a fixed shape into the product, and gets it wrong
    x = x.reshape([count, tokens, parts, heads, row // (parts * heads)])
    return x.transpose([2, 0, 3, 1, 4]).unbind(0)


class WindowAttention(nn.Layer):
    """Multi-head attention within windows, with a learned bias for relative positions.

    Args:
        dim: channels, a multiple of num_heads.
        qk_scale: factor on the query; by default (dim / num_heads) ** -0.5.
    """

    def __init__(
        self,
        dim: int,
        window_size: int,
        num_heads: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ConfigError(f"{dim} channels cannot be split into num_heads={num_heads} heads")
        self.dim = dim
        self.num_heads = num_heads
        self.window_size = window_size
        self.factor = qk_scale or (dim // num_heads) ** -0.5
        self.relative_position_bias_table = self.create_parameter(
            [(2 * window_size - 1) ** 2, num_heads], default_initializer=init.TruncatedNormal(std=0.02)
        )
        self.qkv = TokenLinear(dim, 3 * dim, bias=qkv_bias)
        self.proj = TokenLinear(dim, dim)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj_drop = nn.Dropout(proj_drop)
        index = relative_index(window_size).reshape(-1)
        self.register_buffer("index", paddle.to_tensor(index), persistable=False)

    def bias(self) -> Tensor:
        """(heads, tokens, tokens)."""
        tokens = self.window_size**2
        rows = paddle.gather(self.relative_position_bias_table, self.index)
        return rows.reshape([tokens, tokens, self.num_heads]).transpose([2, 0, 1])

    @property
    def last(self) -> tuple[TokenLinear, nn.Dropout]:
        """The layers that come last."""
        return self.proj, self.proj_drop

    def forward(self, x: Tensor, shift: int = 0) -> Tensor:
        """(N, H, W, C) -> the same; windows begin `shift` pixels lower and further right, cyclically."""
        return self.proj_drop(self.proj(self.hidden(x, shift)))

    def hidden(self, x: Tensor, shift: int) -> Tensor:
        """What the last linear layer takes."""
        _, h, w, _ = x.shape
        size, bias, options = self.window_size, self.bias(), (self.num_heads, self.factor)
        mask = shift_mask(x, size, shift) if shift else None
        drops = self.attn_drop.training and self.attn_drop.p > 0
        if accelerate.usable(x) and not drops:
            qkv = self.qkv(x)
            y = accelerate.attention(qkv, bias, mask, *options, size, shift)
            if y is not None:
                return y
        if shift:
            x = paddle.roll(x, [-shift, -shift], axis=[1, 2])
        windows = self.qkv(split_windows(x, size))
        y = merge_windows(attend(windows, None, bias, mask, *options, self.attn_drop), size, h, w)
        return paddle.roll(y, [shift, shift], axis=[1, 2]) if shift else y
