"""Perceptual and style loss: distance of VGG features.

Johnson, Alahi, Fei-Fei, ECCV 2016, arXiv:1603.08155; features before the activation after ESRGAN (Wang et
al., ECCVW 2018, arXiv:1809.00219). Arguments are BasicSR's (https://github.com/XPixelGroup/BasicSR,
Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn

from ppsr.criterions.vgg import VGGFeatureExtractor, read_backbone
from ppsr.errors import ConfigError, did_you_mean
from ppsr.generators.blocks.layers import safe_power
from ppsr.precision import at_least_float32, autocast_off, in_float32

__all__ = ["PerceptualLoss", "gram_matrix"]

_CRITERIONS = ("l1", "l2", "fro")


@in_float32
def gram_matrix(x: Tensor) -> Tensor:
    """Products of all pairs of channels: (N, C, H, W) -> (N, C, C), divided by C * H * W."""
    n, c, h, w = x.shape
    flat = x.reshape([n, c, h * w])
    return paddle.matmul(flat, flat, transpose_y=True) / (c * h * w)


class PerceptualLoss(nn.Layer):
    """(sr, gt), each RGB (N, 3, H, W) in [0, 1] -> scalar: perceptual plus style part.

    Args:
        layer_weights: layer -> weight, such as {"conv5_4": 1.0}; "convB_I" is before its ReLU.
        vgg_type: "vgg11", "vgg13", "vgg16" or "vgg19".
        use_input_norm: ImageNet normalisation.
        range_norm: images come in [-1, 1].
        perceptual_weight: factor on the distances of features; 0 turns them off.
        style_weight: factor on the distances of Gram matrices; 0 turns them off.
        criterion: "l1" (mean), "l2" (mean square) or "fro" (root of the sum of squares over the whole batch).
        weights: torchvision's weight file; None means data/pretrained/<published name>.
        extractor: a network with weights, instead of building one from a file.

    Raises:
        ConfigError: unknown layer or criterion, nothing to compute, or the weight file is absent.
    """

    test_args: ClassVar[dict[str, Any]] = {"layer_weights": {"conv1_1": 1.0, "relu2_1": 0.5}}

    def __init__(
        self,
        *,
        layer_weights: Mapping[str, float],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        perceptual_weight: float = 1.0,
        style_weight: float = 0.0,
        criterion: str = "l1",
        weights: str | Path | None = None,
        extractor: VGGFeatureExtractor | None = None,
    ) -> None:
        super().__init__()
        if criterion not in _CRITERIONS:
            raise ConfigError(f"unknown criterion '{criterion}'; {did_you_mean(criterion, _CRITERIONS)}")
        if perceptual_weight <= 0 and style_weight <= 0:
            raise ConfigError(
                "PerceptualLoss: perceptual_weight and style_weight are both 0; leave the loss out"
            )
        if extractor is None:
            extractor = VGGFeatureExtractor(
                layer_name_list=list(layer_weights),
                vgg_type=vgg_type,
                use_input_norm=use_input_norm,
                range_norm=range_norm,
            )
            extractor.load_torchvision(read_backbone(vgg_type, weights, needed_by="PerceptualLoss"))
        self.vgg = extractor
        self.layer_weights = dict(layer_weights)
        self.perceptual_weight = perceptual_weight
        self.style_weight = style_weight
        self.criterion = criterion

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        return sum(self.parts(sr, gt).values())

    def parts(self, sr: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """The weighted parts that are switched on: "percep" and "style"; no gradient reaches `gt`."""
        if sr.shape[1] != 3:
            raise ConfigError(f"PerceptualLoss needs RGB images, got {sr.shape[1]} channel(s)")
        ours = self._features(sr)
        with paddle.no_grad():
            theirs = self._features(gt)
        result = {}
        with autocast_off():
            if self.perceptual_weight > 0:
                result["percep"] = self.perceptual_weight * self._weighted(ours, theirs)
            if self.style_weight > 0:
                ours, theirs = ({k: gram_matrix(v) for k, v in maps.items()} for maps in (ours, theirs))
                result["style"] = self.style_weight * self._weighted(ours, theirs)
        return result

    def _features(self, x: Tensor) -> dict[str, Tensor]:
        """Full-precision maps, also where mixed precision runs the convolutions in half."""
        return {k: at_least_float32(v) for k, v in self.vgg(at_least_float32(x)).items()}

    def _weighted(self, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Tensor:
        return sum(w * self._distance(ours[k] - theirs[k]) for k, w in self.layer_weights.items())

    def _distance(self, difference: Tensor) -> Tensor:
        if self.criterion == "l1":
            return difference.abs().mean()
        squares = difference * difference
        return squares.mean() if self.criterion == "l2" else safe_power(squares.sum(), 0.5)
