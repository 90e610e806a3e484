"""SwinIR: image restoration with shifted-window transformers.

Liang et al., ICCVW 2021, arXiv:2108.10257; https://github.com/JingyunLiang/SwinIR. The networks do not pad:
images have sides that are multiples of the window, see `ppsr.generators.apply`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU, leaky_relu, nearest_upsample
from ppsr.generators.blocks.detection import group_depths, head_count, swin_tail, window_arguments
from ppsr.generators.blocks.transformer import (
    DropPath,
    Mlp,
    SwinSkeleton,
    drop_rates,
    group_heads,
    image_sides,
    residual_conv,
    to_map,
    to_tokens,
)
from ppsr.generators.blocks.window_attention import WindowAttention, merge_windows, shift_mask, split_windows
from ppsr.generators.variants import Variant, window_kwargs
from ppsr.weights.identify import State

__all__ = ["RSTB", "SwinBlock", "SwinIR", "check_patch", "clamp_window"]

_PAPER = "SwinIR, ICCVW 2021, arXiv:2108.10257"
_LIGHT = {"embed_dim": 60, "upsampler": "pixelshuffledirect"}
_REAL_L = {"embed_dim": 240, "num_heads": (8,) * 9, "upsampler": "nearest+conv", "resi_connection": "3conv"}
_UPSAMPLERS = ("pixelshuffle", "pixelshuffledirect", "nearest+conv", "nearest+conv_NoUp", "")


class SwinBlock(nn.Layer):
    """x + attention in (shifted) windows, then x + MLP; tokens (N, H, W, C)."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        shift_size: int,
        mlp_ratio: float,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.shift_size = shift_size
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window_size, num_heads, qkv_bias, qk_scale, attn_drop, drop)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def attend(self, x: Tensor) -> Tensor:
        """Attention within windows, shifted cyclically if the block shifts."""
        _, h, w, _ = x.shape
        size, shift = self.window_size, self.shift_size
        if not shift:
            return merge_windows(self.attn(split_windows(x, size)), size, h, w)
        mask = shift_mask(x, size, shift)
        x = paddle.roll(x, [-shift, -shift], axis=[1, 2])
        x = merge_windows(self.attn(split_windows(x, size), mask), size, h, w)
        return paddle.roll(x, [shift, shift], axis=[1, 2])


class _Stage(nn.Layer):
    """The blocks of a group, under the published name."""

    def __init__(self, blocks: Sequence[nn.Layer]) -> None:
        super().__init__()
        self.blocks = nn.LayerList(blocks)


class RSTB(nn.Layer):
    """Residual group: blocks, a convolution, the input."""

    def __init__(
        self, blocks: Sequence[nn.Layer], dim: int, resi_connection: str, use_checkpoint: bool
    ) -> None:
        super().__init__()
        self.residual_group = _Stage(blocks)
        self.conv = residual_conv(dim, resi_connection)
        self.use_checkpoint = use_checkpoint

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for block in self.residual_group.blocks:
            y = recompute(block, y) if self.use_checkpoint and self.training else block(y)
        return to_tokens(self.conv(to_map(y))) + x


class SwinIR(SwinSkeleton):
    """LR image (N, C, H, W) in [0, 1], H and W multiples of window_size -> SR image (N, C, sH, sW).

    Args:
        img_size: side, or height and width; only for `ape`, and whether it is larger than a window.
        patch_size: 1.
        in_chans: channels.
        embed_dim: width.
        depths: blocks of each group.
        num_heads: heads of each group.
        window_size: side of the windows.
        mlp_ratio: hidden width of the MLP / width.
        qkv_bias: bias of query, key, value.
        qk_scale: factor on the query instead of the usual one.
        drop_rate: dropout.
        attn_drop_rate: dropout of attention weights.
        drop_path_rate: stochastic depth of the last block.
        ape: absolute position embedding.
        patch_norm: normalise the tokens at the start.
        use_checkpoint: recompute blocks in backward instead of keeping their activations.
        upscale: factor.
        img_range: range of the normalised input.
        upsampler: pixelshuffle, pixelshuffledirect, nearest+conv (x2 or x4), nearest+conv_NoUp (the same
            layers without enlargement, as CDDNet's copy has them; upscale 1), or '' or None (denoising,
            upscale 1).
        resi_connection: 1conv or 3conv.
    """

    fp16_safe: ClassVar[bool] = False  # activations of the published weights leave the half-precision range
    ignored_keys: ClassVar[tuple[str, ...]] = (r".*attn_mask", r".*relative_position_index", r"mean")
    test_args: ClassVar[dict[str, Any]] = {
        "img_size": 8,
        "window_size": 4,
        "embed_dim": 8,
        "depths": [2],
        "num_heads": [2],
        "mlp_ratio": 2,
        "upscale": 2,
        "upsampler": "pixelshuffle",
    }
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("SwinIR-M_x2", 11_752_487, 51_055_607_808, _PAPER, window_kwargs(6, 2, window=8)),
        Variant("SwinIR-M_x3", 11_937_127, 51_845_971_968, _PAPER, window_kwargs(6, 3, window=8)),
        Variant("SwinIR-M_x4", 11_900_199, 53_556_461_568, _PAPER, window_kwargs(6, 4, window=8)),
        Variant("SwinIR-light_x2", 910_152, 4_282_859_520, _PAPER, window_kwargs(4, 2, window=8, **_LIGHT)),
        Variant("SwinIR-light_x3", 918_267, 4_316_037_120, _PAPER, window_kwargs(4, 3, window=8, **_LIGHT)),
        Variant("SwinIR-light_x4", 929_628, 4_362_485_760, _PAPER, window_kwargs(4, 4, window=8, **_LIGHT)),
        Variant(
            "SwinIR-Real-M_x4",
            11_715_559,
            55_972_380_672,
            _PAPER,
            window_kwargs(6, 4, window=8, upsampler="nearest+conv"),
        ),
        Variant(
            "SwinIR-Real-L_x4", 28_013_059, 125_622_484_992, _PAPER, window_kwargs(9, 4, window=8, **_REAL_L)
        ),
    )

    def __init__(
        self,
        *,
        img_size: int | Sequence[int] = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        upscale: int = 2,
        img_range: float = 1.0,
        upsampler: str | None = "",
        resi_connection: str = "1conv",
    ) -> None:
        check_patch(patch_size)
        upsampler = upsampler or ""
        if upsampler not in _UPSAMPLERS:
            raise ConfigError(
                f"SwinIR: upsampler '{upsampler}' is unknown; valid: {', '.join(_UPSAMPLERS[:-1])} or ''"
            )
        super().__init__(
            img_size=img_size,
            in_chans=in_chans,
            embed_dim=embed_dim,
            ape=ape,
            patch_norm=patch_norm,
            drop_rate=drop_rate,
            upscale=upscale,
            img_range=img_range,
            upsampler=upsampler,
            resi_connection=resi_connection,
        )
        window, shift = clamp_window(img_size, window_size)
        self.size_multiple = window
        rates = iter(drop_rates(drop_path_rate, sum(depths)))
        self.layers = nn.LayerList()
        for depth, heads in group_heads(depths, num_heads):
            blocks = [
                SwinBlock(
                    embed_dim,
                    heads,
                    window,
                    shift if i % 2 else 0,
                    mlp_ratio,
                    qkv_bias,
                    qk_scale,
                    drop_rate,
                    attn_drop_rate,
                    next(rates),
                )
                for i in range(depth)
            ]
            self.layers.append(RSTB(blocks, embed_dim, resi_connection, use_checkpoint))
        if upsampler.startswith("nearest+conv"):
            scales = (2, 4) if upsampler == "nearest+conv" else (1,)
            if upscale not in scales:
                raise ConfigError(
                    f"SwinIR: upsampler '{upsampler}' is for upscale {' or '.join(map(str, scales))}, "
                    f"got {upscale}"
                )
            self.conv_before_upsample = nn.Sequential(Conv2D(embed_dim, 64, 3, padding=1), LeakyReLU(0.01))
            self.conv_up1 = Conv2D(64, 64, 3, padding=1)
            self.conv_up2 = Conv2D(64, 64, 3, padding=1) if upscale != 2 else None
            self.conv_hr = Conv2D(64, 64, 3, padding=1)
            self.conv_last = Conv2D(64, in_chans, 3, padding=1)

    @staticmethod
    def detect(state: State) -> dict[str, Any] | None:
        """Constructor arguments, if these are the weights of this network; see `ppsr.weights.identify`."""
        block = "layers.0.residual_group.blocks.0."
        hat = "layers.0.residual_group.overlap_attn.norm1.weight" in state
        if f"{block}attn.proj.weight" not in state or hat:
            return None
        depths = group_depths(state)
        return {
            **window_arguments(state, block, shifts=max(depths) > 1),
            **swin_tail(state),
            "depths": depths,
            "num_heads": [
                head_count(state, f"layers.{i}.residual_group.blocks.0.") for i in range(len(depths))
            ],
        }

    reconstruct_shuffled = SwinSkeleton.reconstruct  # Paddle 2.6 cannot trace super()

    def reconstruct(self, x: Tensor) -> Tensor:
        if not self.upsampler.startswith("nearest+conv"):
            return self.reconstruct_shuffled(x)
        factor = 1 if self.upsampler == "nearest+conv_NoUp" else 2
        body = self.conv_before_upsample(self.body(self.conv_first(x)))
        body = leaky_relu(self.conv_up1(nearest_upsample(body, factor)), 0.2)
        if self.conv_up2 is not None:
            body = leaky_relu(self.conv_up2(nearest_upsample(body, factor)), 0.2)
        return self.conv_last(leaky_relu(self.conv_hr(body), 0.2))


def check_patch(patch_size: int) -> None:
    """The published networks take single pixels as tokens.

    Raises:
        ConfigError: another patch size.
    """
    if patch_size != 1:
        raise ConfigError(f"patch_size must be 1, got {patch_size}")


def clamp_window(img_size: int | Sequence[int], window_size: int) -> tuple[int, int]:
    """Window and shift; images announced no larger than a window get one window without shift."""
    side = min(image_sides(img_size))
    return (side, 0) if side <= window_size else (window_size, window_size // 2)
