"""The state-space blocks of MambaIR: scans of an image in four directions, and a block around them.

Guo et al., "MambaIR: A Simple Baseline for Image Restoration with State-Space Model", ECCV 2024,
arXiv:2402.15648; https://github.com/csguoh/MambaIR. The scans of an image follow Liu et al., "VMamba: Visual
State Space Model", NeurIPS 2024, arXiv:2401.10166.
"""

from __future__ import annotations

import math

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr.errors import ConfigError
from ppsr.generators.blocks import selective_scan as scan
from ppsr.generators.blocks.channel_attention import CAB, LightCAB
from ppsr.generators.blocks.layers import Conv2D, LayerNorm
from ppsr.generators.blocks.transformer import DropPath, TokenLinear, to_map, to_tokens

__all__ = ["SS2D", "VSSBlock"]

_DIRECTIONS = 4
_DT_RANGE = (1e-3, 0.1)  # of the steps at the start of training
_DT_FLOOR = 1e-4
_SQUEEZE = 30
_COMPRESS, _COMPRESS_LIGHT = 3, 2


class SS2D(nn.Layer):
    """Gated state-space layer: tokens (N, H, W, C) -> (N, H, W, C).

    Rows from the top left, columns from the top left, and both from the other end are scanned with
    coefficients of their own.

    Args:
        d_model: width C.
        expand: inner width / width.
    """

    def __init__(self, d_model: int, d_state: int = 16, expand: float = 2.0) -> None:
        super().__init__()
        inner = int(expand * d_model)
        if inner < 1 or d_state < 1:
            raise ConfigError(
                f"SS2D: width {d_model}, expand {expand} and d_state {d_state} leave nothing to scan; "
                "expand * width and d_state must be at least 1"
            )
        self.d_inner, self.d_state, self.dt_rank = inner, d_state, math.ceil(d_model / 16)
        self.x_proj_weight = self._uniform([_DIRECTIONS, self.dt_rank + 2 * d_state, inner], inner)
        self.dt_projs_weight = self._uniform([_DIRECTIONS, inner, self.dt_rank], self.dt_rank)
        self.dt_projs_bias = self._constant([_DIRECTIONS, inner], 0.0)
        self.A_logs = self._constant([_DIRECTIONS * inner, d_state], 0.0)
        self.Ds = self._constant([_DIRECTIONS * inner], 1.0)
        self.in_proj = TokenLinear(d_model, 2 * inner, bias=False)
        self.conv2d = Conv2D(inner, inner, 3, padding=1, groups=inner)
        self.out_norm = LayerNorm(inner)
        self.out_proj = TokenLinear(inner, d_model, bias=False)
        self._set_dynamics()

    def _uniform(self, shape: list[int], fan: int) -> Tensor:
        bound = fan**-0.5
        return self.create_parameter(shape, default_initializer=init.Uniform(-bound, bound))

    def _constant(self, shape: list[int], value: float) -> Tensor:
        return self.create_parameter(shape, default_initializer=init.Constant(value))

    @paddle.no_grad()
    def _set_dynamics(self) -> None:
        """Decays 1..N of each channel, and steps spread evenly on a logarithmic scale."""
        decays = paddle.arange(1, self.d_state + 1, dtype="float32")
        self.A_logs.set_value(paddle.log(decays).expand(self.A_logs.shape))
        low, high = (math.log(limit) for limit in _DT_RANGE)
        steps = paddle.exp(paddle.rand(self.dt_projs_bias.shape) * (high - low) + low).clip(_DT_FLOOR)
        self.dt_projs_bias.set_value(steps + paddle.log(-paddle.expm1(-steps)))  # softplus, inverted

    def forward(self, x: Tensor) -> Tensor:
        content, gate = paddle.split(self.in_proj(x), 2, axis=-1)
        features = F.silu(self.conv2d(to_map(content)))
        rows, columns, rows_back, columns_back = self.scan_directions(features)
        _, c, h, w = features.shape
        summed = (rows + rows_back + columns + columns_back).astype(x.dtype)
        normed = self.out_norm(to_tokens(summed.reshape([-1, c, h, w])))
        return self.out_proj(normed * F.silu(gate))

    def scan_directions(self, x: Tensor) -> list[Tensor]:
        """The scans of a map (N, D, H, W).

        Returns:
            Four times (N, D, H * W), pixels row by row: along rows, along columns, both backwards.
        """
        n, d, h, w = x.shape
        rows = x.reshape([n, d, h * w])
        columns = x.transpose([0, 1, 3, 2]).reshape([n, d, h * w])
        sequences = paddle.stack([rows, columns], axis=1)  # (N, 2, D, L)
        decays = -paddle.exp(self.A_logs.astype(scan.precision(x)))
        parameters = [self.x_proj_weight, self.dt_projs_weight, decays, self.Ds, self.dt_projs_bias]
        results = []
        for k, reverse in enumerate((False, True)):
            projection, dt_projection, A, D, bias = (_half(parameter, k) for parameter in parameters)
            # the shape is given again because Paddle infers a batch of one for a product with a broadcast one
            projected = paddle.matmul(projection.unsqueeze(0), sequences)
            projected = projected.reshape([n, 2, self.dt_rank + 2 * self.d_state, h * w])
            dt, b, c = paddle.split(projected, [self.dt_rank, self.d_state, self.d_state], axis=2)
            y = scan.selective_scan(
                sequences.reshape([n, 2 * d, h * w]),
                paddle.matmul(dt_projection.unsqueeze(0), dt).reshape([n, 2 * d, h * w]),
                A,
                b,
                c,
                D,
                delta_bias=bias.reshape([-1]),
                delta_softplus=True,
                reverse=reverse,
            ).reshape([n, 2, d, h * w])
            by_columns = y[:, 1].reshape([n, d, w, h]).transpose([0, 1, 3, 2]).reshape([n, d, h * w])
            results += [y[:, 0], by_columns]
        return results


def _half(parameter: Tensor, index: int) -> Tensor:
    """The part of two of the four directions."""
    return paddle.split(parameter, 2)[index]


class VSSBlock(nn.Layer):
    """x * skip_scale + SS2D, then * skip_scale2 + convolutions with channel attention; tokens (N, H, W, C).

    Args:
        hidden_dim: width C, at least 30.
        is_light_sr: pointwise and depthwise convolutions instead of full ones.
    """

    def __init__(
        self,
        hidden_dim: int,
        drop_path: float = 0.0,
        d_state: int = 16,
        expand: float = 2.0,
        is_light_sr: bool = False,
    ) -> None:
        super().__init__()
        one = init.Constant(1.0)
        self.skip_scale = self.create_parameter([hidden_dim], default_initializer=one)
        self.skip_scale2 = self.create_parameter([hidden_dim], default_initializer=one)
        self.ln_1 = LayerNorm(hidden_dim)
        self.self_attention = SS2D(hidden_dim, d_state, expand)
        self.drop_path = DropPath(drop_path)
        self.conv_blk = (
            LightCAB(hidden_dim, _COMPRESS_LIGHT, _SQUEEZE)
            if is_light_sr
            else CAB(hidden_dim, _COMPRESS, _SQUEEZE)
        )
        self.ln_2 = LayerNorm(hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.skip_scale + self.drop_path(self.self_attention(self.ln_1(x)))
        return x * self.skip_scale2 + to_tokens(self.conv_blk(to_map(self.ln_2(x))))
