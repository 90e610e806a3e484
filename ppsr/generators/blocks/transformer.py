"""Small layers of the Swin family: linear layers of tokens, MLP, stochastic depth, head and tail of the
networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute
from paddle.nn import functional as F
from paddle.nn import initializer as init

from ppsr import accelerate
from ppsr.errors import ConfigError, DataError
from ppsr.generators.blocks import residual
from ppsr.generators.blocks.layers import GELU, Conv2D, LayerNorm, LeakyReLU, Linear, has_hooks
from ppsr.generators.blocks.options import TokenOptions, image_sides

if TYPE_CHECKING:
    from ppsr.generators.blocks.window_attention import WindowAttention

__all__ = [
    "DropPath",
    "Mlp",
    "PatchEmbed",
    "SwinSkeleton",
    "TokenLinear",
    "add_branch",
    "on_tokens",
    "residual_conv",
    "to_map",
    "to_tokens",
]

_TAIL_WIDTH = 64


class TokenLinear(Linear):
    """Linear layer with truncated normal weights (0.02) and zero bias."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias=bias)
        init.TruncatedNormal(std=0.02)(self.weight)
        if bias:
            init.Constant(0.0)(self.bias)


class Mlp(nn.Layer):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int, hidden: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = TokenLinear(dim, hidden)
        self.fc2 = TokenLinear(hidden, dim)
        self.drop = nn.Dropout(drop)

    @property
    def last(self) -> tuple[TokenLinear, nn.Dropout]:
        """The layers after `hidden`."""
        return self.fc2, self.drop

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.hidden(x)))

    def hidden(self, x: Tensor) -> Tensor:
        """The input of the last linear layer."""
        if accelerate.usable(x) and not has_hooks(self.fc1):
            return self.drop(accelerate.linear(x, self.fc1.weight, self.fc1.bias, gelu=True))
        return self.drop(accelerate.gelu(self.fc1(x)))


class DropPath(nn.Layer):
    """Drops a residual branch for whole samples in training (stochastic depth, Huang et al., ECCV 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    @property
    def active(self) -> bool:
        """Whether it drops anything now."""
        return self.p > 0 and self.training

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors(x) if self.active else x

    def factors(self, x: Tensor) -> Tensor:
        """(N, 1, ...): 0 or 1 / (1 - p) for each sample."""
        return F.dropout(paddle.ones([x.shape[0]] + [1] * (x.ndim - 1), x.dtype), self.p)


def to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C)."""
    return x.transpose([0, 2, 3, 1])


def to_map(x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W)."""
    return x.transpose([0, 3, 1, 2])


def add_branch(x: Tensor, branch: Mlp | WindowAttention, drop_path: DropPath, *arguments: Any) -> Tensor:
    """x + drop_path(branch(*arguments)); where possible the last linear layer adds x itself.

    Args:
        branch: has the method `hidden`, and `last`, the linear layer and dropout that follow it.
    """
    linear, drop = branch.last
    hooked = any(has_hooks(layer) for layer in (branch, drop_path, linear, drop))
    if hooked or not accelerate.usable(x):
        return x + drop_path(branch(*arguments))
    if drop_path.active:
        y = branch(*arguments)
        factors = drop_path.factors(y).reshape([-1, 1]).expand([y.shape[0], y.shape[-1]])
        return accelerate.scaled_sum(y, factors, x)
    if drop.training and drop.p > 0:
        return x + branch(*arguments)
    return accelerate.linear(branch.hidden(*arguments), linear.weight, linear.bias, x)


def on_tokens(layer: nn.Layer, x: Tensor) -> Tensor:
    """A layer for maps (N, C, H, W) on tokens (N, H, W, C)."""
    if accelerate.usable(x) and not has_hooks(layer):
        if isinstance(layer, nn.Sequential):
            for inner in layer:
                x = on_tokens(inner, x)
            return x
        if isinstance(layer, (GELU, LeakyReLU)):
            return layer(x)
        if isinstance(layer, Conv2D):
            y = accelerate.conv2d_tokens(x, layer.weight, layer.bias, *layer.geometry)
            if y is not None:
                return y
    return to_tokens(layer(to_map(x)))


class PatchEmbed(nn.Layer):
    """A map as tokens, normalised if wanted; published as an embedding of 1x1 patches."""

    def __init__(self, dim: int, norm: bool) -> None:
        super().__init__()
        self.norm = LayerNorm(dim) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = to_tokens(x)
        return tokens if self.norm is None else self.norm(tokens)


def residual_conv(dim: int, kind: str) -> nn.Layer:
    """The convolution at the end of a residual group: '1conv', '3conv' (bottleneck) or 'identity'."""
    if kind == "1conv":
        return Conv2D(dim, dim, 3, padding=1)
    if kind == "3conv":
        return nn.Sequential(
            Conv2D(dim, dim // 4, 3, padding=1),
            LeakyReLU(0.2),
            Conv2D(dim // 4, dim // 4, 1),
            LeakyReLU(0.2),
            Conv2D(dim // 4, dim, 3, padding=1),
        )
    if kind == "identity":
        return nn.Identity()
    raise ConfigError(f"resi_connection is 1conv, 3conv or identity; got '{kind}'")


class SwinSkeleton(nn.Layer):
    """Base class of SwinIR, HAT, DRCT and MambaIR: range, head, token features, tail.

    A subclass builds `self.layers`, the residual groups, and sets `use_checkpoint` to have them recomputed in
    the backward pass.

    Args:
        img_size: side, or height and width; only for `ape`, and whether it is larger than a window.
        embed_dim: width of the tokens.
        depths: blocks of each group.
        mlp_ratio: hidden width of the MLP / width.
        qk_scale: factor on the query; by default (width / heads) ** -0.5.
        drop_rate: dropout of the tokens at the start and in the blocks.
        drop_path_rate: stochastic depth of the last block; earlier ones have less.
        ape: absolute position embedding; only images of img_size then work.
        patch_norm: normalise the tokens at the start.
        use_checkpoint: recompute in backward instead of keeping activations.
        upscale: SR size / LR size.
        img_range: the network works on (x - mean) * img_range.
        upsampler: tail of the network, one of `upsamplers`; '' or None is denoising, upscale 1.
        resi_connection: 1conv, 3conv (a bottleneck) or identity, at the end of a group and of the body.
    """

    upsamplers: ClassVar[tuple[str, ...]] = ("pixelshuffle",)

    def __init__(self, options: TokenOptions, *, ape: bool = False) -> None:
        super().__init__()
        name, upsampler = type(self).__name__, options.upsampler or ""
        if options.patch_size != 1:
            raise ConfigError(f"{name}: patch_size must be 1, got {options.patch_size}")
        if upsampler not in self.upsamplers:
            valid = ", ".join(known or "''" for known in self.upsamplers)
            raise ConfigError(f"{name}: upsampler '{upsampler}' is unknown; valid: {valid}")
        embed_dim, upscale, in_chans = options.embed_dim, options.upscale, options.in_chans
        self.scale = upscale
        self.num_channels = in_chans
        self.img_range = options.img_range
        self.upsampler = upsampler
        self.use_checkpoint = False
        self.receptive_radius = None
        mean = residual.DIV2K_MEAN if in_chans == 3 else (0.0,)
        self.register_buffer("mean", paddle.to_tensor(mean).reshape([1, -1, 1, 1]), persistable=False)
        self.conv_first = Conv2D(in_chans, embed_dim, 3, padding=1)
        self.patch_embed = PatchEmbed(embed_dim, options.patch_norm)
        height, width = image_sides(options.img_size)
        self.absolute_pos_embed = (
            self.create_parameter(
                [1, height * width, embed_dim], default_initializer=init.TruncatedNormal(std=0.02)
            )
            if ape
            else None
        )
        self.pos_drop = nn.Dropout(options.drop_rate)
        self.norm = LayerNorm(embed_dim)
        self.conv_after_body = residual_conv(embed_dim, options.resi_connection)
        if upsampler == "pixelshuffle":
            self.conv_before_upsample = nn.Sequential(
                Conv2D(embed_dim, _TAIL_WIDTH, 3, padding=1), LeakyReLU(0.01)
            )
            self.upsample = residual.upsampler(upscale, _TAIL_WIDTH)
            self.conv_last = Conv2D(_TAIL_WIDTH, in_chans, 3, padding=1)
        elif upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                Conv2D(embed_dim, upscale**2 * in_chans, 3, padding=1), nn.PixelShuffle(upscale)
            )
        elif not upsampler:
            self.conv_last = Conv2D(embed_dim, in_chans, 3, padding=1)

    def groups(self, tokens: Tensor) -> Tensor:
        """The residual groups on (N, H, W, C)."""
        for layer in self.layers:
            tokens = recompute(layer, tokens) if self.use_checkpoint and self.training else layer(tokens)
        return tokens

    def features(self, x: Tensor) -> Tensor:
        """The deep features of a map (N, C, H, W)."""
        tokens = self.patch_embed(x)
        if self.absolute_pos_embed is not None:
            _, h, w, c = tokens.shape
            pixels = self.absolute_pos_embed.shape[1]
            if accelerate.runs_eagerly() and h * w != pixels:
                raise DataError(
                    f"{type(self).__name__}: its absolute position embedding is for images of {pixels} "
                    f"pixels (img_size), got {h}x{w}; networks with `ape` take no other size"
                )
            tokens = tokens + self.absolute_pos_embed.reshape([1, h, w, c])
        return to_map(self.norm(self.groups(self.pos_drop(tokens))))

    def body(self, shallow: Tensor) -> Tensor:
        """Deep features with the long skip connection."""
        return self.conv_after_body(self.features(shallow)) + shallow

    def reconstruct(self, x: Tensor) -> Tensor:
        """Normalised image to normalised SR image."""
        body = self.body(self.conv_first(x))
        if self.upsampler == "pixelshuffle":
            return self.conv_last(self.upsample(self.conv_before_upsample(body)))
        return self.upsample(body) if self.upsampler == "pixelshuffledirect" else x + self.conv_last(body)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean.astype(x.dtype)
        return self.reconstruct((x - mean) * self.img_range) / self.img_range + mean
