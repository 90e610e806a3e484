"""SwinIR: image restoration with shifted-window transformers.

Liang et al., ICCVW 2021, arXiv:2108.10257; https://github.com/JingyunLiang/SwinIR. The networks do not pad:
images have sides that are multiples of the window, see `ppsr.generators.apply`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU, leaky_relu, nearest_upsample
from ppsr.generators.blocks.detection import group_depths, group_heads, swin_tail, window_arguments
from ppsr.generators.blocks.layers import LayerNorm
from ppsr.generators.blocks.options import WindowOptions, takes
from ppsr.generators.blocks.transformer import (
    DropPath,
    Mlp,
    SwinSkeleton,
    add_branch,
    on_tokens,
    residual_conv,
)
from ppsr.generators.blocks.window_attention import WindowAttention
from ppsr.generators.variants import Variant, window_kwargs
from ppsr.weights.identify import StateDict

__all__ = ["RSTB", "SwinBlock", "SwinIR"]

_PAPER = "SwinIR, ICCVW 2021, arXiv:2108.10257"
_LIGHT = {"embed_dim": 60, "upsampler": "pixelshuffledirect"}
_REAL_L = {"embed_dim": 240, "num_heads": (8,) * 9, "upsampler": "nearest+conv", "resi_connection": "3conv"}


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
        self.norm1 = LayerNorm(dim)
        self.attn = WindowAttention(dim, window_size, num_heads, qkv_bias, qk_scale, attn_drop, drop)
        self.drop_path = DropPath(drop_path)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop)

    def forward(self, x: Tensor) -> Tensor:
        x = add_branch(x, self.attn, self.drop_path, self.norm1(x), self.shift_size)
        return add_branch(x, self.mlp, self.drop_path, self.norm2(x))


class _Stage(nn.Layer):
    """The blocks of a group and HAT's attention after them, under the published names."""

    def __init__(self, blocks: Sequence[nn.Layer], overlap_attn: nn.Layer | None) -> None:
        super().__init__()
        self.blocks = nn.LayerList(blocks)
        self.overlap_attn = overlap_attn


class RSTB(nn.Layer):
    """Residual group: blocks, in HAT an overlapping attention, a convolution, the input."""

    def __init__(
        self,
        blocks: Sequence[nn.Layer],
        dim: int,
        resi_connection: str,
        use_checkpoint: bool = False,
        overlap_attn: nn.Layer | None = None,
    ) -> None:
        super().__init__()
        self.residual_group = _Stage(blocks, overlap_attn)
        self.conv = residual_conv(dim, resi_connection)
        self.use_checkpoint = use_checkpoint

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for block in self.residual_group.blocks:
            y = recompute(block, y) if self.use_checkpoint and self.training else block(y)
        if self.residual_group.overlap_attn is not None:
            y = self.residual_group.overlap_attn(y)
        return on_tokens(self.conv, y) + x


class SwinIR(SwinSkeleton):
    """LR image (N, C, H, W) in [0, 1], H and W multiples of window_size -> SR image (N, C, sH, sW).

    Args:
        upsampler: pixelshuffle, pixelshuffledirect, nearest+conv (x2 or x4), nearest+conv_NoUp (the same
            layers without enlargement, as CDDNet's copy has them; upscale 1), or '' or None (denoising,
            upscale 1).
    """

    upsamplers: ClassVar[tuple[str, ...]] = (
        "pixelshuffle",
        "pixelshuffledirect",
        "nearest+conv",
        "nearest+conv_NoUp",
        "",
    )
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

    @takes(WindowOptions, upsampler="")
    def __init__(self, options: WindowOptions) -> None:
        super().__init__(options, ape=options.ape)
        window, shift = options.window()
        self.size_multiple = window
        embed_dim, upscale, upsampler = options.embed_dim, options.upscale, self.upsampler
        rates = iter(options.drop_paths())
        self.layers = nn.LayerList()
        for depth, heads in options.groups():
            sizes = [(embed_dim, heads, window, shift if i % 2 else 0) for i in range(depth)]
            blocks = [SwinBlock(*size, options.mlp_ratio, **options.block(next(rates))) for size in sizes]
            self.layers.append(RSTB(blocks, embed_dim, options.resi_connection, options.use_checkpoint))
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
            self.conv_last = Conv2D(64, options.in_chans, 3, padding=1)

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        block = "layers.0.residual_group.blocks.0."
        hat = "layers.0.residual_group.overlap_attn.norm1.weight" in state
        if f"{block}attn.proj.weight" not in state or hat:
            return None
        depths = group_depths(state)
        arguments = {
            **window_arguments(state, block, shifts=max(depths) > 1),
            **swin_tail(state),
            "depths": depths,
            "num_heads": group_heads(state),
        }
        return {**arguments, "img_range": 255.0} if _removes_jpeg(arguments) else arguments

    @staticmethod
    def open_choices(arguments: Mapping[str, Any]) -> list[str]:
        """Options that `detect` cannot infer."""
        if not _removes_jpeg(arguments):
            return []
        return ["img_range 255 is taken, as published against JPEG artifacts (-o img_range=1)"]

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


def _removes_jpeg(arguments: Mapping[str, Any]) -> bool:
    """Whether these are the published networks against JPEG artifacts, the only ones with other values."""
    return arguments["upscale"] == 1 and arguments["window_size"] == 7 and not arguments["upsampler"]
