"""Focal frequency loss: distance of spectra, the larger the worse a frequency is reproduced.

Jiang, Dai, Wu, Loy, "Focal Frequency Loss for Image Reconstruction and Synthesis", ICCV 2021,
arXiv:2012.12821. Difference from the released code: a perfect image has the loss 0 without passing through
NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppsr.errors import ConfigError
from ppsr.precision import in_float32

__all__ = ["FocalFrequencyLoss"]


@dataclass(kw_only=True, eq=False)
class FocalFrequencyLoss:
    """(sr, gt), each (N, C, H, W) -> mean over all frequencies of w |F(sr) - F(gt)|^2.

    F is the orthonormal discrete Fourier transform, w = |F(sr) - F(gt)|^alpha divided by its maximum, held
    constant in the gradient.

    Args:
        alpha: exponent of the weights; 0 weighs all frequencies equally.
        patch_factor: patches per side that are transformed on their own; must divide H and W.
        ave_spectrum: average the spectra over the batch first.
        log_matrix: take log(1 + weight) before dividing by the maximum.
        batch_matrix: one maximum for the batch instead of one for each channel of each patch.

    Raises:
        ConfigError: a negative alpha, or no patch; in a step, patches that do not divide the images.

    Example:
        >>> loss = FocalFrequencyLoss(alpha=1.0)(sr, gt)
    """

    alpha: float = 1.0
    patch_factor: int = 1
    ave_spectrum: bool = False
    log_matrix: bool = False
    batch_matrix: bool = False

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.patch_factor < 1:
            raise ConfigError(
                "FocalFrequencyLoss: alpha must be 0 or more and patch_factor 1 or more, "
                f"got {self.alpha} and {self.patch_factor}"
            )

    @in_float32
    def __call__(self, sr: Tensor, gt: Tensor) -> Tensor:
        # the transform is linear, so the difference of spectra is the spectrum of the difference
        spectrum = paddle.fft.fft2(self._patches(sr - gt), norm="ortho")
        if self.ave_spectrum:
            spectrum = spectrum.mean(axis=0, keepdim=True)
        squared = spectrum.real() ** 2 + spectrum.imag() ** 2
        return (self._weights(squared.detach()) * squared).mean()

    def _patches(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, patches, C, H / factor, W / factor)."""
        n, c, h, w = x.shape
        p = self.patch_factor
        if h % p or w % p:
            raise ConfigError(f"FocalFrequencyLoss: patch_factor {p} does not divide images of {h}x{w}")
        x = x.reshape([n, c, p, h // p, p, w // p]).transpose([0, 2, 4, 1, 3, 5])
        return x.reshape([n, p * p, c, h // p, w // p])

    def _weights(self, squared: Tensor) -> Tensor:
        weights = squared ** (self.alpha / 2)
        if self.log_matrix:
            weights = paddle.log(weights + 1)
        largest = weights.max() if self.batch_matrix else weights.max(axis=[-2, -1], keepdim=True)
        return weights / paddle.where(largest > 0, largest, paddle.ones_like(largest))
