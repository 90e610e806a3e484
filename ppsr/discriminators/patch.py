"""PatchGAN, which judges patches, and several of them on an image at several sizes.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, arXiv:1611.07004;
Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018,
arXiv:1711.11585, for several sizes. Names and layers are those of
https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.errors import ConfigError, DataError, did_you_mean
from ppsr.generators.blocks import Conv2D
from ppsr.generators.blocks.spectral_norm import SpectralNormConv2D

__all__ = ["MultiScaleDiscriminator", "NLayerDiscriminator"]

_NORMS = ("batch", "instance", "spectral", "none")


class NLayerDiscriminator(nn.Layer):
    """Image (N, C, H, W) -> logits per patch (N, 1, H / 2^n_layers - 2, W / 2^n_layers - 2).

    A logit sees 70x70 pixels with 3 layers, 34x34 with 2, 142x142 with 4.

    Args:
        ndf: width of the first layer; doubled by each further one, up to 8 times.
        n_layers: layers that halve the size.
        norm: "batch" as published, "instance", "spectral" or "none".

    Raises:
        ConfigError: another norm, or no layer; in a step, DataError for sides below 3 * 2^n_layers.

    Example:
        >>> NLayerDiscriminator(norm="spectral")(paddle.rand([1, 3, 64, 64])).shape
        [1, 1, 6, 6]
    """

    test_args: ClassVar[dict[str, Any]] = {"input_nc": 3, "ndf": 4, "n_layers": 2}

    def __init__(self, *, input_nc: int = 3, ndf: int = 64, n_layers: int = 3, norm: str = "batch") -> None:
        super().__init__()
        if norm not in _NORMS:
            raise ConfigError(f"NLayerDiscriminator: unknown norm '{norm}'; {did_you_mean(norm, _NORMS)}")
        if n_layers < 1:
            raise ConfigError(f"NLayerDiscriminator: n_layers must be 1 or more, got {n_layers}")
        self.num_channels = input_nc
        self.min_side = 3 * 2**n_layers
        widths = [ndf * min(2**n, 8) for n in range(n_layers + 1)]
        # Paddle's own LeakyReLU has a second derivative in Paddle 2.6 too; ours is for export
        layers: list[nn.Layer] = [Conv2D(input_nc, ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
        for number, channels in enumerate(pairwise(widths), 1):
            layers += [*_normed_conv(*channels, 2 if number < n_layers else 1, norm), nn.LeakyReLU(0.2)]
        layers.append(Conv2D(widths[-1], 1, 4, 1, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if 0 < min(x.shape[2:]) < self.min_side:
            raise DataError(
                f"NLayerDiscriminator: sides must be at least {self.min_side}, got {list(x.shape[2:])}; "
                "take fewer `n_layers` or a larger dataset.train.gt_size"
            )
        return self.model(x)


class MultiScaleDiscriminator(nn.Layer):
    """Image (N, C, H, W) -> a list of logits per patch: of the image, and of it at 1/2, 1/4, ... of its size.

    Args:
        ndf, n_layers, norm: see NLayerDiscriminator.
        num_d: number of image sizes, 3 as published.
    """

    test_args: ClassVar[dict[str, Any]] = {"input_nc": 3, "ndf": 4, "n_layers": 2, "num_d": 2}

    def __init__(
        self, *, input_nc: int = 3, ndf: int = 64, n_layers: int = 3, norm: str = "instance", num_d: int = 3
    ) -> None:
        super().__init__()
        if num_d < 1:
            raise ConfigError(f"MultiScaleDiscriminator: num_d must be 1 or more, got {num_d}")
        self.num_channels = input_nc
        options: dict[str, Any] = {"input_nc": input_nc, "ndf": ndf, "n_layers": n_layers, "norm": norm}
        self.discriminators = nn.LayerList([NLayerDiscriminator(**options) for _ in range(num_d)])

    def forward(self, x: Tensor) -> list[Tensor]:
        logits = []
        for number, net in enumerate(self.discriminators):
            if number:
                x = F.avg_pool2d(x, 3, stride=2, padding=1)
            logits.append(net(x))
        return logits


def _normed_conv(in_channels: int, out_channels: int, stride: int, norm: str) -> list[nn.Layer]:
    """A 4x4 convolution and its normalisation; as published, only batch norms replace the bias."""
    if norm == "spectral":
        return [SpectralNormConv2D(in_channels, out_channels, 4, stride, 1)]
    conv = Conv2D(in_channels, out_channels, 4, stride, 1, bias=norm != "batch")
    if norm == "batch":
        return [conv, nn.BatchNorm2D(out_channels)]
    if norm == "instance":
        return [conv, nn.InstanceNorm2D(out_channels, weight_attr=False, bias_attr=False)]
    return [conv]
