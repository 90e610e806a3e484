"""MSRResNet, "Real-SRResNet": residual blocks without normalisation, the enlarged input added at the end.

The network of Reflash Dropout (Kong et al., CVPR 2022, arXiv:2112.12089, released as MSRResNet_details and
MSRResNet_dropoutlast_*) and of Navigating Beyond Dropout (Wang et al., CVPR 2024, arXiv:2402.18929,
MSRResNet_detailss), after BasicSR's modified SRResNet. Differences from the releases: dropout is an option of
the one class, at any of the places that the paper compares, and the number of blocks is always honoured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.blocks import Conv2D, LeakyReLU, bilinear_upsample
from ppsr.generators.blocks.detection import count, square_root
from ppsr.generators.blocks.feature_dropout import DropoutPlaces
from ppsr.generators.blocks.residual import ResidualBlockNoBN, scale_initialisation
from ppsr.generators.variants import Variant
from ppsr.weights.identify import StateDict

__all__ = ["MSRResNet"]

_PAPER = "Reflash Dropout, CVPR 2022, arXiv:2112.12089"
_DROPOUT = {"type": "channel", "p": 0.7}
_FIRST_BLOCKS = frozenset(f"{name}.conv1.weight" for name in ("body.0", "body1.0", "recon_trunk.0"))
_SPLIT_BODY = re.compile(r"body(\d+)\.0\.")
_KAIR = re.compile(r"^(recon_trunk|HRconv)\.")


class MSRResNet(nn.Layer):
    """LR image (N, num_in_ch, H, W) in [0, 1] -> SR image (N, num_out_ch, sH, sW).

    Features can be read by hooks on named layers: `feat_first`, `body.<k-1>` (block k), `feat_up2` (x4,
    enters `upconv2`), `feat_hr` (enters `conv_hr`), `feat_last` (enters `conv_last`, before dropout).

    Args:
        num_feat: width.
        upscale: 1, 2, 3 or 4; 1 has no `upconv1`, `feat_hr` is the output of the last block then.
        dropout: None, or `{type: channel|element, p: ..., positions: [...], residual_share: ...}`. Positions:
            `first` (after the first activation), `b1`, `b2`, ... (output of a block), `up1`, `up2`, `hr`,
            `last` (input of `upconv1`, `upconv2`, `conv_hr`, `conv_last`), `upconv1`, `upconv2` (their
            outputs before the shuffle). `residual_share` puts dropout inside the residual branch of this
            share of the blocks, counted from the end.
        global_residual: add the bilinearly enlarged input; off is the paper's "woGR".
    """

    fp16_safe: ClassVar[bool] = True
    rgb_range: ClassVar[float] = 1.0
    size_multiple: ClassVar[int] = 1
    test_args: ClassVar[dict[str, Any]] = {"num_feat": 8, "num_block": 2, "upscale": 2}
    variants: ClassVar[tuple[Variant, ...]] = (
        Variant("Real-SRResNet_x4", 1_517_571, 10_387_980_288, _PAPER, {"upscale": 4}),
        Variant("Real-SRResNet_x3", 1_554_499, 7_620_526_080, _PAPER, {"upscale": 3}),
        Variant("Real-SRResNet_x2", 1_369_859, 6_075_187_200, _PAPER, {"upscale": 2}),
        Variant(
            "Real-SRResNet-dropout_x4", 1_517_571, 10_387_980_288, _PAPER, {"upscale": 4, "dropout": _DROPOUT}
        ),
    )

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 16,
        upscale: int = 4,
        dropout: Mapping[str, Any] | None = None,
        global_residual: bool = True,
    ) -> None:
        super().__init__()
        if upscale not in (1, 2, 3, 4):
            raise ConfigError(f"MSRResNet: upscale must be 1, 2, 3 or 4, got {upscale}")
        if global_residual and num_in_ch not in (1, num_out_ch):
            raise ConfigError(
                f"MSRResNet adds its input: num_in_ch {num_in_ch} is neither 1 nor num_out_ch {num_out_ch}; "
                "make it one of them or set global_residual to false"
            )
        self.scale = upscale
        self.num_channels = num_in_ch
        self.global_residual = global_residual
        # one pixel per 3x3 convolution before enlargement, and one more for those after it
        self.receptive_radius = 2 * num_block + 3
        places = ["first", *(f"b{k + 1}" for k in range(num_block)), "hr", "last"]
        places += ["up1", "upconv1"] if upscale > 1 else []
        places += ["up2", "upconv2"] if upscale == 4 else []
        self.dropout = DropoutPlaces(dropout, places, residual=True, where="MSRResNet")
        plain = num_block - round(num_block * self.dropout.residual_share)

        self.conv_first = Conv2D(num_in_ch, num_feat, 3, padding=1)
        self.feat_first = LeakyReLU(0.1)
        self.body = nn.LayerList(
            [ResidualBlockNoBN(num_feat, None if k < plain else self.dropout.drop) for k in range(num_block)]
        )
        if upscale > 1:
            factor = 2 if upscale == 4 else upscale
            self.pixel_shuffle = nn.PixelShuffle(factor)
            self.upconv1 = Conv2D(num_feat, num_feat * factor**2, 3, padding=1)
        if upscale == 4:
            self.feat_up2 = LeakyReLU(0.1)
            self.upconv2 = Conv2D(num_feat, num_feat * factor**2, 3, padding=1)
            scale_initialisation(self.upconv2)
        self.feat_hr = LeakyReLU(0.1) if upscale > 1 else nn.Identity()
        self.conv_hr = Conv2D(num_feat, num_feat, 3, padding=1)
        self.feat_last = LeakyReLU(0.1)
        self.conv_last = Conv2D(num_feat, num_out_ch, 3, padding=1)
        enlarging = [self.upconv1] if upscale > 1 else []
        scale_initialisation(self.conv_first, *enlarging, self.conv_hr, self.conv_last)

    @staticmethod
    def detect(state: StateDict) -> dict[str, Any] | None:
        first = state.get("conv_first.weight")
        if first is None or first.ndim != 4 or not _FIRST_BLOCKS & state.keys():
            return None
        if not {"conv_hr.weight", "HRconv.weight"} & state.keys():
            return None  # such as EDSR
        enlarging = [state[name].shape for name in ("upconv1.weight", "upconv2.weight") if name in state]
        return {
            "num_in_ch": first.shape[1],
            "num_out_ch": state["conv_last.weight"].shape[0],
            "num_feat": first.shape[0],
            "num_block": count(state, r"(?:body\.?|recon_trunk\.)(\d+)\."),
            "upscale": math.prod(square_root(out / width) for out, width, *_ in enlarging),
        }

    @staticmethod
    def map_published_keys(state: Mapping[str, Any]) -> dict[str, Any]:
        """Rename `body<k>.0.` of the released "details" layout to `body.<k-1>.`, and KAIR's `recon_trunk` and
        `HRconv`; all else stays.
        """
        return {
            _KAIR.sub(
                lambda match: "body." if match[0] == "recon_trunk." else "conv_hr.",
                _SPLIT_BODY.sub(lambda match: f"body.{int(match[1]) - 1}.", key),
            ): value
            for key, value in state.items()
        }

    def forward(self, x: Tensor) -> Tensor:
        drop = self.dropout
        features = drop(self.feat_first(self.conv_first(x)), "first")
        for k, block in enumerate(self.body, 1):
            features = drop(block(features), f"b{k}")
        if self.scale > 1:
            features = drop(self.upconv1(drop(features, "up1")), "upconv1")
            features = self.pixel_shuffle(features)
        if self.scale == 4:
            features = self.upconv2(drop(self.feat_up2(features), "up2"))
            features = self.pixel_shuffle(drop(features, "upconv2"))
        features = self.feat_last(self.conv_hr(drop(self.feat_hr(features), "hr")))
        sr = self.conv_last(drop(features, "last"))
        return sr + bilinear_upsample(x, self.scale) if self.global_residual else sr
