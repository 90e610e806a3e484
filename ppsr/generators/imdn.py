"""IMDN: blocks that split off a quarter of their channels after every convolution.

Hui et al., "Lightweight Image Super-Resolution with Information Multi-distillation Network", ACM MM 2019,
arXiv:1909.11856. Without attention it is the network of KAIR and of the AIM 2019 and NTIRE 2022 efficient
super-resolution challenges, which also leaves out the fusion of all blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU
from ppsr.generators.blocks.detection import count, square_root
from ppsr.generators.blocks.layers import safe_power
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["IMDN"]

_PAPER = "IMDN, ACM MM 2019, arXiv:1909.11856"
_KAIR = "KAIR; baseline of AIM 2019 and NTIRE 2022"
_KAIR_BLOCK = re.compile(r"model\.1\.sub\.(\d+)\.(?:conv([123])\.0|conv(4)|conv1x(1))\.")
_KAIR_REST = re.compile(r"model\.(?:(0)|1\.sub\.\d+|(2))\.")


class IMDN(nn.Layer):
    """LR image (N, in_nc, H, W) in [0, 1] -> SR image (N, out_nc, sH, sW).

    Args:
        nf: width, a multiple of 4, with attention at least 16.
        num_modules: blocks; 6 as published, 8 in KAIR's network.
        attention: channel attention in the blocks and the fusion of all blocks; False is KAIR's network.

    Example:
        >>> net = IMDN(upscale=4)
        >>> net(paddle.zeros([1, 3, 8, 8])).shape
        [1, 3, 32, 32]
    """

    fp16_safe: ClassVar[bool] = False  # squares of deviations overflow where features reach 256
    test_args: ClassVar[dict[str, Any]] = {"nf": 16, "num_modules": 2, "upscale": 2}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("IMDN_x2", 694_404, 2_822_507_520, _PAPER, {"upscale": 2}),
        Variant("IMDN_x3", 703_059, 2_857_896_960, _PAPER, {"upscale": 3}),
        Variant("IMDN_x4", 715_176, 2_907_442_176, _PAPER, {"upscale": 4}),
        Variant(
            "IMDN-NTIRE_x4",
            893_936,
            3_651_928_064,
            _KAIR,
            {"num_modules": 8, "upscale": 4, "attention": False},
        ),
    )

    def __init__(
        self,
        *,
        in_nc: int = 3,
        nf: int = 64,
        num_modules: int = 6,
        out_nc: int = 3,
        upscale: int = 4,
        attention: bool = True,
    ) -> None:
        super().__init__()
        if nf % 4 or nf < (16 if attention else 4):
            raise ConfigError(
                f"IMDN: nf must be a multiple of 4, with attention at least 16, got {nf}; 64 is published"
            )
        if upscale < 1 or num_modules < 1:
            raise ConfigError(
                f"IMDN: upscale and num_modules must be at least 1, got {upscale} and {num_modules}"
            )
        self.scale = upscale
        self.num_channels = in_nc
        # attention averages over the whole image; else 4 pixels per block and 3 around them
        self.receptive_radius = None if attention else 4 * num_modules + 3
        self.fea_conv = Conv2D(in_nc, nf, 3, padding=1)
        self.num_modules = num_modules
        for k in range(1, num_modules + 1):
            self.add_sublayer(f"IMDB{k}", _Block(nf, attention))
        if attention:
            self.c = nn.LayerList([Conv2D(num_modules * nf, nf, 1), LeakyReLU(0.05)])
        self.fused = attention
        self.LR_conv = Conv2D(nf, nf, 3, padding=1)
        self.upsampler = nn.LayerList([Conv2D(nf, out_nc * upscale**2, 3, padding=1)])

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        if "IMDB1.c1.weight" in state:
            first, block, last = "fea_conv.weight", r"IMDB(\d+)\.", "upsampler.0.weight"
        elif "model.1.sub.0.conv1x1.weight" in state:
            first, block, last = "model.0.weight", r"model\.1\.sub\.(\d+)\.conv", "model.2.weight"
        else:
            return None
        width, channels = state[first].shape[:2]
        return {
            "in_nc": channels,
            "nf": width,
            "num_modules": count(state, block),
            "out_nc": channels,
            "upscale": square_root(state[last].shape[0] / channels),
            "attention": "IMDB1.cca.conv_du.0.weight" in state,
        }

    @staticmethod
    def map_published_keys(state: Mapping[str, Any]) -> dict[str, Any]:
        """Rename KAIR's keys `model.*` to those of the published code; all else stays."""
        return {_KAIR_REST.sub(_outer_name, _KAIR_BLOCK.sub(_block_name, key)): v for key, v in state.items()}

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.fea_conv(x)
        features, blocks = shallow, []
        for k in range(1, self.num_modules + 1):
            features = getattr(self, f"IMDB{k}")(features)
            blocks.append(features)
        if self.fused:
            reduce, activation = self.c
            features = activation(reduce(paddle.concat(blocks, axis=1)))
        return F.pixel_shuffle(self.upsampler[0](self.LR_conv(features) + shallow), self.scale)


class _Block(nn.Layer):
    """Three times: a convolution, a quarter of its channels kept, the others passed on."""

    def __init__(self, nf: int, attention: bool) -> None:
        super().__init__()
        self.kept = nf // 4
        rest = nf - self.kept
        self.c1 = Conv2D(nf, nf, 3, padding=1)
        self.c2 = Conv2D(rest, nf, 3, padding=1)
        self.c3 = Conv2D(rest, nf, 3, padding=1)
        self.c4 = Conv2D(rest, self.kept, 3, padding=1)
        self.c5 = Conv2D(nf, nf, 1)
        self.activation = LeakyReLU(0.05)
        self.cca = _ContrastAttention(nf) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        kept, rest = [], x
        for layer in (self.c1, self.c2, self.c3):
            features = self.activation(layer(rest))
            kept.append(features[:, : self.kept])
            rest = features[:, self.kept :]
        kept.append(self.c4(rest))
        return self.c5(self.cca(paddle.concat(kept, axis=1))) + x


class _ContrastAttention(nn.Layer):
    """Channel attention by the sum of mean and standard deviation instead of the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_du = nn.LayerList(
            [Conv2D(width, width // 16, 1), nn.ReLU(), Conv2D(width // 16, width, 1), nn.Sigmoid()]
        )

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(axis=[2, 3], keepdim=True)
        variance = (x - mean).square().mean(axis=[2, 3], keepdim=True)
        weight = mean + safe_power(variance, 0.5)  # constant planes must not break a training
        for layer in self.conv_du:
            weight = layer(weight)
        return x * weight


def _block_name(match: re.Match[str]) -> str:
    number = match[2] or match[3] or "5"
    return f"IMDB{int(match[1]) + 1}.c{number}."


def _outer_name(match: re.Match[str]) -> str:
    return "fea_conv." if match[1] else "upsampler.0." if match[2] else "LR_conv."
