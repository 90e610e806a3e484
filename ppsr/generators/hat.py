"""HAT: hybrid attention transformer.

Chen et al., "Activating More Pixels in Image Super-Resolution Transformer", CVPR 2023, arXiv:2205.04437;
https://github.com/XPixelGroup/HAT.
"""

from __future__ import annotations

from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr import accelerate
from ppsr.errors import ConfigError
from ppsr.generators.blocks.channel_attention import CAB, add_convolutions
from ppsr.generators.blocks.detection import (
    group_depths,
    group_heads,
    ratio,
    square_root,
    swin_tail,
    window_arguments,
)
from ppsr.generators.blocks.layers import LayerNorm, has_hooks
from ppsr.generators.blocks.options import WindowOptions, image_sides, takes
from ppsr.generators.blocks.transformer import (
    DropPath,
    Mlp,
    SwinSkeleton,
    TokenLinear,
    add_branch,
)
from ppsr.generators.blocks.window_attention import attend, merge_windows, relative_index, split_windows
from ppsr.generators.swinir import RSTB, SwinBlock
from ppsr.generators.variants import Variant, window_kwargs
from ppsr.weights.identify import StateDict

__all__ = ["HAT"]

_PAPER = "HAT, CVPR 2023, arXiv:2205.04437"
_SMALL = {"embed_dim": 144, "compress_ratio": 24, "squeeze_factor": 24}


class HAB(SwinBlock):
    """Swin block with a convolution branch parallel to the attention; the branch has no stochastic depth."""

    def __init__(self, *arguments: Any, cab: tuple[int, int], conv_scale: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conv_scale = conv_scale
        self.conv_block = CAB(arguments[0], *cab)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        mixed = add_branch(x, self.attn, self.drop_path, normed, self.shift_size)
        x = add_convolutions(mixed, self.conv_block, normed, self.conv_scale)
        return add_branch(x, self.mlp, self.drop_path, self.norm2(x))


def _surround(x: Tensor, margin: int) -> Tensor:
    """Pad a token map (N, H, W, C) with zeros, by at most its own size; in a graph by concatenation, because
    oneDNN would pad other axes."""
    if accelerate.runs_eagerly():
        return F.pad(x, [0, 0, margin, margin, margin, margin, 0, 0])
    rows = paddle.zeros_like(x[:, :margin])
    x = paddle.concat([rows, x, rows], axis=1)
    columns = paddle.zeros_like(x[:, :, :margin])
    return paddle.concat([columns, x, columns], axis=2)


class OCAB(nn.Layer):
    """Attention of each window to a larger one around it; zeros beyond the border take part."""

    def __init__(
        self,
        dim: int,
        window_size: int,
        overlap_ratio: float,
        num_heads: int,
        qkv_bias: bool,
        qk_scale: float | None,
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.num_heads = num_heads
        self.window_size = window_size
        self.overlap = int(window_size * overlap_ratio) + window_size
        self.factor = qk_scale or (dim // num_heads) ** -0.5
        self.norm1 = LayerNorm(dim)
        self.qkv = TokenLinear(dim, 3 * dim, bias=qkv_bias)
        self.relative_position_bias_table = self.create_parameter(
            [(window_size + self.overlap - 1) ** 2, num_heads],
            default_initializer=init.TruncatedNormal(std=0.02),
        )
        self.proj = TokenLinear(dim, dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        index = relative_index(window_size, self.overlap).reshape(-1)
        self.register_buffer("index", paddle.to_tensor(index), persistable=False)

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, _ = x.shape
        size = self.window_size
        qkv, bias, options = self.qkv(self.norm1(x)), self._bias(), (self.num_heads, self.factor)
        out = None
        if accelerate.usable(qkv):
            out = accelerate.attention(qkv, bias, None, *options, size, far=self.overlap)
        if out is None:
            q, kv = split_windows(qkv[:, :, :, : self.dim], size), self._overlapping(qkv[:, :, :, self.dim :])
            out = merge_windows(attend(q, kv, bias, None, *options), size, h, w)
        if accelerate.usable(x) and not has_hooks(self.proj):
            x = accelerate.linear(out, self.proj.weight, self.proj.bias, x)
        else:
            x = self.proj(out) + x
        return add_branch(x, self.mlp, DropPath(0.0), self.norm2(x))

    def _bias(self) -> Tensor:
        rows = paddle.gather(self.relative_position_bias_table, self.index)
        shape = [self.window_size**2, self.overlap**2, self.num_heads]
        return rows.reshape(shape).transpose([2, 0, 1])

    def _overlapping(self, x: Tensor) -> Tensor:
        """Windows of the larger side around each window: (N * windows, far * far, C).

        The larger window is cut from the windows around each one: rows first, then columns.
        """
        _, h, w, c = x.shape
        size, far = self.window_size, self.overlap
        margin = (far - size) // 2
        reach = -(-margin // size)  # windows on each side
        for _ in range(reach):
            x = _surround(x, size)
        rows, columns, start = h // size, w // size, reach * size - margin
        shifts = [slice(k, k - 2 * reach or None) for k in range(2 * reach + 1)]
        blocks = x.reshape([-1, rows + 2 * reach, size, (columns + 2 * reach) * size, c])
        tall = paddle.concat([blocks[:, shift] for shift in shifts], axis=2)[:, :, start : start + far]
        tall = tall.reshape([-1, rows, far, columns + 2 * reach, size, c])
        wide = paddle.concat([tall[:, :, :, shift] for shift in shifts], axis=4)[..., start : start + far, :]
        return wide.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, far * far, c])


class HAT(SwinSkeleton):
    """LR image (N, C, H, W) in [0, 1], H and W multiples of window_size -> SR image (N, C, sH, sW).

    Args:
        compress_ratio: width / inner width of the convolution branch.
        squeeze_factor: width / inner width of its channel attention.
        conv_scale: factor on the branch.
        overlap_ratio: how much larger the overlapping windows are.

    Raises:
        ConfigError: img_size is smaller than the window, or embed_dim than compress_ratio or squeeze_factor.
    """

    fp16_safe: ClassVar[bool] = False
    ignored_keys: ClassVar[tuple[str, ...]] = (r"relative_position_index_(SA|OCA)",)
    test_args: ClassVar[dict[str, Any]] = {
        "img_size": 8,
        "window_size": 4,
        "embed_dim": 12,
        "depths": [2],
        "num_heads": [2],
        "compress_ratio": 3,
        "squeeze_factor": 6,
        "mlp_ratio": 2,
        "upscale": 2,
        "upsampler": "pixelshuffle",
    }
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("HAT-S_x2", 9_473_471, 52_118_680_320, _PAPER, window_kwargs(6, 2, **_SMALL)),
        Variant("HAT-S_x3", 9_658_111, 52_909_044_480, _PAPER, window_kwargs(6, 3, **_SMALL)),
        Variant("HAT-S_x4", 9_621_183, 54_619_534_080, _PAPER, window_kwargs(6, 4, **_SMALL)),
        Variant("HAT_x2", 20_624_795, 101_379_469_248, _PAPER, window_kwargs(6, 2)),
        Variant("HAT_x3", 20_809_435, 102_169_833_408, _PAPER, window_kwargs(6, 3)),
        Variant("HAT_x4", 20_772_507, 103_880_323_008, _PAPER, window_kwargs(6, 4)),
        Variant("HAT-L_x2", 40_698_863, 200_487_673_728, _PAPER, window_kwargs(12, 2)),
        Variant("HAT-L_x3", 40_883_503, 201_278_037_888, _PAPER, window_kwargs(12, 3)),
        Variant("HAT-L_x4", 40_846_575, 202_988_527_488, _PAPER, window_kwargs(12, 4)),
        Variant("Real-HAT-GAN_x4", 20_772_507, 103_880_323_008, _PAPER, window_kwargs(6, 4)),
    )

    @takes(WindowOptions)
    def __init__(
        self,
        options: WindowOptions,
        *,
        compress_ratio: int = 3,
        squeeze_factor: int = 30,
        conv_scale: float = 0.01,
        overlap_ratio: float = 0.5,
    ) -> None:
        embed_dim, window, mlp_ratio = options.embed_dim, options.window_size, options.mlp_ratio
        if min(image_sides(options.img_size)) < window:
            raise ConfigError(f"HAT: img_size {options.img_size} must be at least window_size {window}")
        if overlap_ratio < 0:
            raise ConfigError(f"HAT: overlap_ratio must be 0 or more, got {overlap_ratio}")
        if embed_dim < max(compress_ratio, squeeze_factor):
            raise ConfigError(
                f"HAT: embed_dim {embed_dim} is too narrow for compress_ratio {compress_ratio} and "
                f"squeeze_factor {squeeze_factor}; it must be at least as large as both"
            )
        super().__init__(options, ape=options.ape)
        self.size_multiple, shift = options.window()
        self.use_checkpoint = options.use_checkpoint
        rates = iter(options.drop_paths())
        self.layers = nn.LayerList()
        for depth, heads in options.groups():
            blocks = [
                HAB(
                    embed_dim,
                    heads,
                    window,
                    shift if i % 2 else 0,
                    mlp_ratio,
                    cab=(compress_ratio, squeeze_factor),
                    conv_scale=conv_scale,
                    **options.block(next(rates)),
                )
                for i in range(depth)
            ]
            overlap = OCAB(
                embed_dim, window, overlap_ratio, heads, options.qkv_bias, options.qk_scale, mlp_ratio
            )
            self.layers.append(RSTB(blocks, embed_dim, options.resi_connection, overlap_attn=overlap))

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        group = "layers.0.residual_group."
        if f"{group}overlap_attn.norm1.weight" not in state:
            return None
        arguments = window_arguments(state, f"{group}blocks.0.", shifts=False)
        window, width = arguments["window_size"], arguments["embed_dim"]
        table = state[f"{group}overlap_attn.relative_position_bias_table"]
        cab = f"{group}blocks.0.conv_block.cab."
        return {
            **arguments,
            "depths": group_depths(state),
            "num_heads": group_heads(state),
            "overlap_ratio": ratio([(window, square_root(table.shape[0]) + 1 - 2 * window)]),
            "compress_ratio": width // state[f"{cab}0.weight"].shape[0],
            "squeeze_factor": width // state[f"{cab}3.attention.1.weight"].shape[0],
            **swin_tail(state),
        }
