"""RRDBNet, "Real-RRDB": residual-in-residual dense blocks.

ESRGAN (Wang et al., ECCVW 2018, arXiv:1809.00219) with Real-ESRGAN's pixel-unshuffled input for scales 1 and
2 (arXiv:2107.10833), and ESRGAN+'s residuals inside dense blocks (Rakotonirina and Rasoanaivo, ICASSP 2020,
arXiv:2001.08073; its training noise is left out); dropout before the last convolution is Reflash Dropout
(Kong et al., CVPR 2022, arXiv:2112.12089).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU, leaky_relu, nearest_upsample, pixel_unshuffle
from ppsr.generators.blocks.feature_dropout import DropoutPlaces
from ppsr.generators.blocks.residual import scale_initialisation
from ppsr.weights.esrgan_keys import esrgan_keys

__all__ = ["RRDBNet"]

_SLOPE = 0.2
_RESIDUAL_SCALE = 0.2


class ResidualDenseBlock(nn.Layer):
    """Five convolutions, each fed with the input and all results before it; (N, C, H, W) -> the same.

    With `plus`, the second result adds a 1x1 convolution of the input, and the fourth adds the second.
    """

    def __init__(self, num_feat: int, num_grow_ch: int, plus: bool) -> None:
        super().__init__()
        for k in range(5):
            width = num_grow_ch if k < 4 else num_feat
            conv = Conv2D(num_feat + k * num_grow_ch, width, 3, padding=1)
            scale_initialisation(conv)
            self.add_sublayer(f"conv{k + 1}", conv)
        self.conv1x1 = Conv2D(num_feat, num_grow_ch, 1, bias=False) if plus else None

    def forward(self, x: Tensor) -> Tensor:
        dense = [x]
        for k, conv in enumerate((self.conv1, self.conv2, self.conv3, self.conv4), 1):
            features = leaky_relu(conv(paddle.concat(dense, axis=1)), _SLOPE)
            if self.conv1x1 is not None and k in (2, 4):
                features = features + (self.conv1x1(x) if k == 2 else dense[2])
            dense.append(features)
        return x + _RESIDUAL_SCALE * self.conv5(paddle.concat(dense, axis=1))


class RRDB(nn.Layer):
    """Three dense blocks inside one residual; (N, C, H, W) -> the same."""

    def __init__(self, num_feat: int, num_grow_ch: int, plus: bool) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch, plus)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch, plus)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch, plus)

    def forward(self, x: Tensor) -> Tensor:
        return x + _RESIDUAL_SCALE * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Layer):
    """LR image (N, num_in_ch, H, W) in [0, 1] -> SR image (N, num_out_ch, sH, sW).

    H and W must be multiples of `size_multiple`, which is `unshuffle`. Hooks can read `feat_last`, the input
    of `conv_last` before dropout.

    Args:
        num_in_ch: channels of the input, before it is folded.
        num_out_ch: channels of the output.
        scale: SR size / LR size: 1, 2, 4, 8 or 16.
        num_feat: width.
        num_block: residual-in-residual dense blocks.
        num_grow_ch: channels that each dense convolution adds.
        unshuffle: side of the squares of pixels that are folded into channels first: 1, 2 or 4. The features
            are enlarged log2(scale * unshuffle) times. None: Real-ESRGAN's 4 / scale, and 1 above scale 4.
        plus: ESRGAN+'s dense blocks.
        dropout: None, or `{type: channel|element, p: ..., positions: [first|b<k>|hr|last]}`: after the first
            convolution, the output of a block, the input of `conv_hr`, the input of `conv_last`.

    Raises:
        ConfigError: another scale or `unshuffle`, or wrong dropout options.

    >>> RRDBNet(scale=2, num_block=1).conv_first.weight.shape[1]
    12
    >>> RRDBNet(scale=2, num_block=1, unshuffle=1).conv_first.weight.shape[1]
    3
    """

    fp16_safe: ClassVar[bool] = True
    rgb_range: ClassVar[float] = 1.0
    test_args: ClassVar[dict[str, Any]] = {"num_feat": 8, "num_block": 1, "num_grow_ch": 4, "scale": 2}

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
        unshuffle: int | None = None,
        plus: bool = False,
        dropout: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if scale not in (1, 2, 4, 8, 16):
            raise ConfigError(f"RRDBNet: scale must be 1, 2, 4, 8 or 16, got {scale}")
        if unshuffle not in (None, 1, 2, 4):
            raise ConfigError(f"RRDBNet: unshuffle must be 1, 2 or 4, got {unshuffle}")
        self.scale = scale
        self.size_multiple = unshuffle or max(4 // scale, 1)
        # 15 convolutions per block; a folded pixel stands for size_multiple pixels on each side
        radius = 15 * num_block + 4
        self.receptive_radius = self.size_multiple * radius + self.size_multiple - 1
        places = ["first", *(f"b{k + 1}" for k in range(num_block)), "hr", "last"]
        self.dropout = DropoutPlaces(dropout, places, residual=False, where="RRDBNet")
        self.conv_first = Conv2D(num_in_ch * self.size_multiple**2, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(num_feat, num_grow_ch, plus) for _ in range(num_block)))
        self.conv_body = Conv2D(num_feat, num_feat, 3, padding=1)
        ups = (scale * self.size_multiple).bit_length() - 1
        for k in range(1, ups + 1):
            self.add_sublayer(f"conv_up{k}", Conv2D(num_feat, num_feat, 3, padding=1))
        self._ups = [f"conv_up{k}" for k in range(1, ups + 1)]
        self.feat_hr = LeakyReLU(_SLOPE) if ups else nn.Identity()
        self.conv_hr = Conv2D(num_feat, num_feat, 3, padding=1)
        self.feat_last = LeakyReLU(_SLOPE)
        self.conv_last = Conv2D(num_feat, num_out_ch, 3, padding=1)

    map_published_keys = staticmethod(esrgan_keys)

    def forward(self, x: Tensor) -> Tensor:
        drop = self.dropout
        folded = x if self.size_multiple == 1 else pixel_unshuffle(x, self.size_multiple)
        shallow = drop(self.conv_first(folded), "first")
        features = shallow
        for k, block in enumerate(self.body, 1):
            features = drop(block(features), f"b{k}")
        features = shallow + self.conv_body(features)
        for name in self._ups:
            features = getattr(self, name)(nearest_upsample(features, 2))
            features = leaky_relu(features, _SLOPE) if name != self._ups[-1] else features
        features = self.feat_hr(features)
        features = self.feat_last(self.conv_hr(drop(features, "hr")))
        return self.conv_last(drop(features, "last"))
