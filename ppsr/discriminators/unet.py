"""U-Net discriminator with spectral normalisation.

Real-ESRGAN, Wang et al., ICCVW 2021, arXiv:2107.10833.
"""

from __future__ import annotations

from typing import Any, ClassVar

from paddle import Tensor, nn

from ppsr.errors import DataError
from ppsr.generators.blocks import Conv2D, bilinear_upsample
from ppsr.generators.blocks.spectral_norm import SpectralNormConv2D

__all__ = ["UNetDiscriminatorSN"]


class UNetDiscriminatorSN(nn.Layer):
    """Image (N, C, H, W) -> logits per pixel (N, 1, H, W); H and W: multiples of 8 with skip connections.

    Args:
        num_feat: width of the first level.
        skip_connection: adds encoder features to the decoder.
    """

    test_args: ClassVar[dict[str, Any]] = {"num_in_ch": 3, "num_feat": 2}

    def __init__(self, *, num_in_ch: int, num_feat: int = 64, skip_connection: bool = True) -> None:
        super().__init__()
        self.num_channels = num_in_ch
        self.skip_connection = skip_connection
        f = num_feat
        self.conv0 = Conv2D(num_in_ch, f, 3, padding=1)
        self.conv1 = SpectralNormConv2D(f, 2 * f, 4, 2, 1)
        self.conv2 = SpectralNormConv2D(2 * f, 4 * f, 4, 2, 1)
        self.conv3 = SpectralNormConv2D(4 * f, 8 * f, 4, 2, 1)
        self.conv4 = SpectralNormConv2D(8 * f, 4 * f, 3, 1, 1)
        self.conv5 = SpectralNormConv2D(4 * f, 2 * f, 3, 1, 1)
        self.conv6 = SpectralNormConv2D(2 * f, f, 3, 1, 1)
        self.conv7 = SpectralNormConv2D(f, f, 3, 1, 1)
        self.conv8 = SpectralNormConv2D(f, f, 3, 1, 1)
        self.conv9 = Conv2D(f, 1, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2)  # Paddle's, as in `NLayerDiscriminator`

    def forward(self, x: Tensor) -> Tensor:
        if self.skip_connection and any(side > 0 and side % 8 for side in x.shape[2:]):
            raise DataError(
                f"UNetDiscriminatorSN takes sides that are multiples of 8, got {list(x.shape[2:])}; "
                "choose dataset.train.gt_size accordingly, or skip_connection: false"
            )
        x0 = self.lrelu(self.conv0(x))
        x1 = self.lrelu(self.conv1(x0))
        x2 = self.lrelu(self.conv2(x1))
        x3 = self.lrelu(self.conv3(x2))
        x4 = self._up(x3, self.conv4, x2)
        x5 = self._up(x4, self.conv5, x1)
        x6 = self._up(x5, self.conv6, x0)
        out = self.lrelu(self.conv7(x6))
        out = self.lrelu(self.conv8(out))
        return self.conv9(out)

    def _up(self, x: Tensor, conv: nn.Layer, skip: Tensor) -> Tensor:
        """Twice the size by bilinear interpolation, convolution, skip connection."""
        x = self.lrelu(conv(bilinear_upsample(x, 2)))
        return x + skip if self.skip_connection else x
