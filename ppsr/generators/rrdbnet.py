"""RRDBNet, "Real-RRDB": residual-in-residual dense blocks.

ESRGAN (Wang et al., ECCVW 2018, arXiv:1809.00219) with Real-ESRGAN's pixel-unshuffled input for scales 1 and
2 (arXiv:2107.10833), and ESRGAN+'s residuals and noise in dense blocks (Rakotonirina and Rasoanaivo, ICASSP
2020, arXiv:2001.08073); dropout before the last convolution is Reflash Dropout (Kong et al., CVPR 2022,
arXiv:2112.12089).

Published files have five key layouts:

=========  =======================================  =====================================================
layout     a key of its dense blocks                published by
=========  =======================================  =====================================================
new        body.0.rdb1.conv1.weight                 BasicSR, Real-ESRGAN
trunk      RRDB_trunk.0.RDB1.conv1.weight           ESRGAN, BSRGAN, RealSR
old        model.1.sub.0.RDB1.conv1.0.weight        the first BasicSR, traiNNer; most community models
plus       model.1.sub.0.RDB1.conv1x1.weight        ESRGAN+: old, with a 1x1 convolution per dense block
kair       model.1.sub.0.RDB1.conv5.weight          KAIR: old, whose last dense convolution is bare
=========  =======================================  =====================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn

from ppsr import accelerate
from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU, leaky_relu, nearest_upsample, pixel_unshuffle
from ppsr.generators.blocks.detection import count
from ppsr.generators.blocks.feature_dropout import DropoutPlaces
from ppsr.generators.blocks.layers import has_hooks
from ppsr.generators.blocks.residual import scale_initialisation
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["RRDBNet", "esrgan_keys", "esrgan_layout"]

_PAPER = "Reflash Dropout, CVPR 2022, arXiv:2112.12089"
_DROPOUT = {"type": "channel", "p": 0.5}
_SLOPE = 0.2
_RESIDUAL_SCALE = 0.2
_NOISE = 0.1  # standard deviation, relative to the values
_TRUNK = {"trunk_conv": "conv_body", "HRconv": "conv_hr"}
_DENSE = re.compile(r"(?:RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB(\d)\.(conv(?:\d|1x1))(?:\.0)?\.(\w+)")
_UPWARD = re.compile(r"upconv(\d+)\.(\w+)")
_PLAIN = re.compile(r"model\.(1\.sub\.)?(\d+)\.(weight|bias)")


class ResidualDenseBlock(nn.Layer):
    """Five convolutions, each fed with the input and all results before it; (N, C, H, W) -> the same.

    With `plus`, the second result adds a 1x1 convolution of the input, the fourth adds the second, and in
    training the output has Gaussian noise of a tenth of each value.
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
        convs = [self.conv1, self.conv2, self.conv3, self.conv4, self.conv5]
        if self.conv1x1 is None and not any(has_hooks(conv) for conv in convs):
            weights, biases = [conv.weight for conv in convs], [conv.bias for conv in convs]
            y = accelerate.dense_block(x, weights, biases, _SLOPE, _RESIDUAL_SCALE)
            if y is not None:
                return y
        dense = [x]
        for k, conv in enumerate(convs[:4], 1):
            features = leaky_relu(conv(paddle.concat(dense, axis=1)), _SLOPE)
            if self.conv1x1 is not None and k in (2, 4):
                features = features + (self.conv1x1(x) if k == 2 else dense[2])
            dense.append(features)
        output = x + _RESIDUAL_SCALE * self.conv5(paddle.concat(dense, axis=1))
        if self.conv1x1 is not None and self.training:
            output = output * (1 + _NOISE * paddle.randn(output.shape).astype(output.dtype))
        return output


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
        scale: SR size / LR size: 1, 2, 4, 8 or 16.
        num_feat: width.
        num_block: residual-in-residual dense blocks.
        num_grow_ch: channels that each dense convolution adds.
        unshuffle: side of the squares of pixels that are folded into channels first: 1, 2 or 4. The features
            are enlarged log2(scale * unshuffle) times. None: Real-ESRGAN's 4 / scale, and 1 above scale 4.
        plus: ESRGAN+'s dense blocks.
        dropout: None, or `{type: channel|element, p: ..., positions: [first|b<k>|hr|last]}`: after the first
            convolution, the output of a block, the input of `conv_hr`, the input of `conv_last`.

    >>> RRDBNet(scale=2, num_block=1).conv_first.weight.shape[1]
    12
    >>> RRDBNet(scale=2, num_block=1, unshuffle=1).conv_first.weight.shape[1]
    3
    """

    fp16_safe: ClassVar[bool] = True
    rgb_range: ClassVar[float] = 1.0
    test_args: ClassVar[dict[str, Any]] = {"num_feat": 8, "num_block": 1, "num_grow_ch": 4, "scale": 2}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("Real-RRDB_x4", 16_697_987, 73_428_369_408, _PAPER, {"scale": 4}),
        Variant("Real-RRDB_x2", 16_703_171, 18_362_400_768, _PAPER, {"scale": 2}),
        Variant("Real-RRDB_x1", 16_723_907, 4_595_908_608, _PAPER, {"scale": 1}),
        Variant(
            "Real-RRDB-dropout_x4", 16_697_987, 73_428_369_408, _PAPER, {"scale": 4, "dropout": _DROPOUT}
        ),
    )

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
        self.num_channels = num_in_ch
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

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        """Constructor arguments, if these are weights of ESRGAN's family in any layout.

        An input of 4 or 16 times the output's channels is folded, if it is enlarged as much again. One
        enlarging convolution means x2, as nobody publishes the x3 that has the same keys.
        """
        layout = esrgan_layout(state)
        if not layout:
            return None
        state = esrgan_keys(state)
        width, folded = state["conv_first.weight"].shape[:2]
        out = state["conv_last.weight"].shape[0]
        ups = count(state, r"conv_up(\d+)\.weight")
        unshuffle = {4 * out: 2, 16 * out: 4}.get(folded, 1)
        unshuffle = unshuffle if unshuffle <= 2**ups else 1
        if ups and f"conv_up{ups}.weight" not in state:
            raise ValueError("the enlarging convolutions are not numbered 1, 2, ...")
        if state["conv_hr.weight"].shape[:2] != (width, width):
            raise ValueError(
                f"conv_hr is {state['conv_hr.weight'].shape}: enlargement by pixel shuffle is not known"
            )
        return {
            "num_in_ch": folded // unshuffle**2,
            "num_out_ch": out,
            "scale": 2**ups // unshuffle,
            "num_feat": width,
            "num_block": count(state, r"body\.(\d+)\."),
            "num_grow_ch": state["body.0.rdb1.conv1.weight"].shape[0],
            "unshuffle": unshuffle,
            "plus": layout == "plus" or "body.0.rdb1.conv1x1.weight" in state,
        }

    @staticmethod
    def open_choices(arguments: Mapping[str, Any]) -> list[str]:
        """Options that `detect` cannot infer."""
        if (arguments["num_in_ch"], arguments["num_out_ch"], arguments["unshuffle"]) != (1, 1, 2):
            return []
        return [
            "four input channels are taken as a folded gray image "
            f"(-o num_in_ch=4 -o unshuffle=1 -o scale={2 * arguments['scale']})"
        ]

    @staticmethod
    def map_published_keys(state: Mapping[str, Any]) -> dict[str, Any]:
        """The same values under this network's keys."""
        return esrgan_keys(state)

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


def esrgan_layout(keys: Iterable[str]) -> str:
    """Name of the layout: new, trunk, old, plus, kair; "" if the keys are not those of an RRDB network.

    >>> esrgan_layout(["RRDB_trunk.0.RDB1.conv1.weight"])
    'trunk'
    """
    found = set(keys)
    if "body.0.rdb1.conv1.weight" in found:
        return "new"
    if "RRDB_trunk.0.RDB1.conv1.weight" in found:
        return "trunk"
    if "model.1.sub.0.RDB1.conv1.0.weight" not in found:
        return ""
    if "model.1.sub.0.RDB1.conv1x1.weight" in found:
        return "plus"
    return "kair" if "model.1.sub.0.RDB1.conv5.weight" in found else "old"


def esrgan_keys(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under the keys of `RRDBNet`; keys that belong to no layout keep their names."""
    layout = esrgan_layout(state)
    if layout in ("", "new"):
        return dict(state)
    names = _trunk_name if layout == "trunk" else _OldNames(state)
    return {names(key): value for key, value in state.items()}


def _dense(key: str) -> str:
    match = _DENSE.fullmatch(key)
    return f"body.{match[1]}.rdb{match[2]}.{match[3]}.{match[4]}" if match else ""


def _trunk_name(key: str) -> str:
    if upward := _UPWARD.fullmatch(key):
        return f"conv_up{upward[1]}.{upward[2]}"
    name, _, kind = key.rpartition(".")
    return _dense(key) or (f"{_TRUNK[name]}.{kind}" if name in _TRUNK else key)


class _OldNames:
    """One flat sequence: convolution, blocks, then (enlargement, convolution, activation) U times, then
    convolution, activation, convolution. The indices with weights are 0, 3, 6, ..., 3U, 3U + 2, 3U + 4.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        matches = [match for key in keys if (match := _PLAIN.fullmatch(key))]
        last = max((int(match[2]) for match in matches if not match[1]), default=0)
        ups = (last - 4) // 3
        self.names = {0: "conv_first", 3 * ups + 2: "conv_hr", 3 * ups + 4: "conv_last"}
        self.names |= {3 * k: f"conv_up{k}" for k in range(1, ups + 1)}

    def __call__(self, key: str) -> str:
        if dense := _dense(key):
            return dense
        match = _PLAIN.fullmatch(key)
        if match is None:
            return key
        if match[1]:  # the convolution after the last block
            return f"conv_body.{match[3]}"
        name = self.names.get(int(match[2]))
        return f"{name}.{match[3]}" if name else key
