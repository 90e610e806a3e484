"""LPIPS: distance of images in calibrated feature space, as a layer and as a loss.

Zhang et al., CVPR 2018, arXiv:1801.03924; https://github.com/richzhang/PerceptualSimilarity. The calibration
in lpips_lin.npz is that project's version 0.1: BSD-2-Clause, Copyright (c) 2018 Richard Zhang, Phillip Isola,
Alexei A. Efros, Eli Shechtman, Oliver Wang. Difference from the released code: the gradient is finite where
all channels are 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.criterions.vgg import alexnet_features, read_backbone, rename_features, vgg_features
from ppsr.errors import ConfigError, did_you_mean
from ppsr.generators.blocks import Conv2D
from ppsr.generators.blocks.layers import safe_power
from ppsr.precision import at_least_float32, in_float32
from ppsr.weights import load_state

__all__ = ["LPIPS", "LPIPSLoss", "build_lpips", "normalize_features"]

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# layers after which features are taken, their channels, torchvision's name of the network
_NETS = {
    "alex": ((1, 4, 7, 9, 11), (64, 192, 384, 256, 256), "alexnet"),
    "vgg": ((3, 8, 15, 22, 29), (64, 128, 256, 512, 512), "vgg16"),
}


def normalize_features(x: Tensor, eps: float = 1e-10) -> Tensor:
    """Divide each pixel's feature vector (N, C, H, W) by its length. Zero vectors stay 0, with gradient 0."""
    return x / (safe_power((x * x).sum(axis=1, keepdim=True), 0.5) + eps)


class _Scaling(nn.Layer):
    """From [-1, 1] to ImageNet's normalisation, with the published rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", paddle.to_tensor(_SHIFT).reshape([1, 3, 1, 1]))
        self.register_buffer("scale", paddle.to_tensor(_SCALE).reshape([1, 3, 1, 1]))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale


class _Lin(nn.Layer):
    """Weights of the channels; the key is `model.1.weight`, as the released layer has a dropout before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), Conv2D(channels, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class LPIPS(nn.Layer):
    """Two RGB images (N, 3, H, W) in [-1, 1] -> distance (N, 1, 1, 1); with `spatial` (N, 1, H, W). Frozen.

    The result depends on the network: name it with every number. Fresh weights are random: see `build_lpips`.

    Args:
        net: "alex" or "vgg" (VGG16).
        version: "0.1", or "0.0", which lacks the input scaling.
        lpips: use the calibration; otherwise channels are summed.
        spatial: return a map instead of the mean.
    """

    def __init__(
        self, *, net: str = "alex", version: str = "0.1", lpips: bool = True, spatial: bool = False
    ) -> None:
        super().__init__()
        if net not in _NETS:
            raise ConfigError(f"LPIPS has no network '{net}'; {did_you_mean(net, _NETS)}")
        if version not in ("0.0", "0.1"):
            raise ConfigError(f"LPIPS has no version '{version}'; valid: 0.0, 0.1")
        taps, channels, self.backbone = _NETS[net]
        self.version = version
        self.spatial = spatial
        self.scaling_layer = _Scaling()
        layers = alexnet_features() if net == "alex" else vgg_features(self.backbone, taps[-1] + 1)
        self.net = nn.Layer()
        for number, (begin, end) in enumerate(zip((-1, *taps[:-1]), taps, strict=True), start=1):
            part = nn.Sequential()
            for index in range(begin + 1, end + 1):
                part.add_sublayer(str(index), layers[index])
            self.net.add_sublayer(f"slice{number}", part)
        self.lpips = lpips
        if lpips:
            for number, width in enumerate(channels):
                self.add_sublayer(f"lin{number}", _Lin(width))
        self.eval()
        for parameter in self.parameters():
            parameter.stop_gradient = True

    def forward(self, x: Tensor, gt: Tensor, normalize: bool = False) -> Tensor:
        """Distance of two images; `normalize` says that they come in [0, 1]."""
        return sum(self.layers(x, gt, normalize))

    def layers(self, x: Tensor, gt: Tensor, normalize: bool = False) -> list[Tensor]:
        """The share of each of the five feature maps in the distance."""
        if x.shape[1] != 3:
            raise ConfigError(f"LPIPS needs RGB images, got {x.shape[1]} channel(s)")
        size = list(x.shape[2:])
        x, gt = (self._prepare(image, normalize) for image in (x, gt))
        shares = []
        for number, part in enumerate(self.net.children()):
            x, gt = part(x), part(gt)
            shares.append(self._share(number, x, gt, size))
        return shares

    @in_float32
    def _share(self, number: int, x: Tensor, gt: Tensor, size: Sequence[int]) -> Tensor:
        """The distance of two feature maps, in float32 also where mixed precision made them in half."""
        difference = (normalize_features(x) - normalize_features(gt)) ** 2
        share = (
            getattr(self, f"lin{number}")(difference) if self.lpips else difference.sum(axis=1, keepdim=True)
        )
        if self.spatial:
            return F.interpolate(share, size=size, mode="bilinear", align_corners=False)
        return share.mean(axis=[2, 3], keepdim=True)

    def _prepare(self, image: Tensor, normalize: bool) -> Tensor:
        image = at_least_float32(image)
        if normalize:
            image = 2 * image - 1
        return image if self.version == "0.0" else self.scaling_layer(image)

    def load_published(self, features: Mapping[str, np.ndarray], lin: Mapping[str, np.ndarray]) -> None:
        """Take torchvision's ``features.N.*`` and the calibration ``lin{i}.model.1.weight``."""
        own = {
            k: v.numpy()
            for k, v in self.scaling_layer.state_dict(structured_name_prefix="scaling_layer.").items()
        }
        names = {
            int(index): f"net.{slice_name}.{index}"
            for slice_name, part in self.net.named_children()
            for index, _ in part.named_children()
        }
        calibration = {k: v for k, v in lin.items() if self.lpips}
        load_state(self, {**own, **rename_features(features, names), **calibration})


def build_lpips(*, net: str = "alex", weights: str | Path | None = None) -> LPIPS:
    """LPIPS 0.1 with its published calibration and a backbone from torchvision's file.

    Args:
        weights: the backbone's file; None means data/pretrained/<published name>.
    """
    layer = LPIPS(net=net)
    features = read_backbone(layer.backbone, weights, needed_by=f"LPIPS ({net})")
    layer.load_published(features, calibration(net))
    return layer


def calibration(net: str) -> dict[str, np.ndarray]:
    """The published weights of the channels, version 0.1: ``lin{i}.model.1.weight`` -> (1, C, 1, 1)."""
    with np.load(Path(__file__).with_name("lpips_lin.npz"), allow_pickle=False) as archive:
        return {k.split("/")[1]: archive[k] for k in archive.files if k.startswith(net + "/")}


class LPIPSLoss(nn.Layer):
    """(sr, gt), each RGB (N, 3, H, W) in [0, 1] -> mean LPIPS distance.

    Args:
        net: "alex" or "vgg".
        weights: the backbone's file; None means data/pretrained/<published name>.
    """

    def __init__(self, *, net: str = "vgg", weights: str | Path | None = None) -> None:
        super().__init__()
        self.distance = build_lpips(net=net, weights=weights)

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        return self.distance(sr, gt, normalize=True).mean()
