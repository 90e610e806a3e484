"""The eight degradations, x4, of the benchmark of Reflash Dropout.

Kong et al., "Reflash Dropout in Image Super-Resolution", CVPR 2022, arXiv:2112.12089. Blur, bicubic
shrinking, noise and JPEG in this order, each there or not. The released script draws its noise without a
seed; here the caller gives a generator. The spelling "jepg" of the folders is the published one.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from ppsr.errors import ConfigError, DataError, did_you_mean

__all__ = ["NOISE_LEVEL", "VARIANTS", "degrade"]

# folder -> name in the paper
VARIANTS = {
    "bicubic": "clean",
    "blur2_bicubic": "blur",
    "bicubic_noise20": "noise",
    "bicubic_jepg50": "jpeg",
    "blur2_bicubic_noise20": "blur+noise",
    "blur2_bicubic_jepg50": "blur+jpeg",
    "bicubic_noise20_jepg50": "noise+jpeg",
    "blur2_bicubic_noise20_jepg50": "blur+noise+jpeg",
}
NOISE_LEVEL = 20 / 255


def degrade(
    image: np.ndarray, variant: str, *, scale: int = 4, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Degrade one HR image.

    Args:
        image: H x W x 3 RGB or H x W, uint8.
        variant: key of VARIANTS.
        scale: HR size / LR size; fractions of pixels are cut off.

    Returns:
        h x w x 3 uint8; h x w for gray images unless JPEG made them RGB.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"the benchmark has no degradation '{variant}'; {did_you_mean(variant, VARIANTS)}")
    if image.dtype != np.uint8 or min(image.shape[:2]) < scale:
        raise DataError(
            f"an 8-bit image of at least {scale} pixels a side is needed, got {image.dtype} {image.shape}"
        )
    if variant.startswith("blur2"):
        image = cv2.GaussianBlur(image, (21, 21), 2)
    size = (image.shape[1] // scale, image.shape[0] // scale)
    lq = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    if "noise20" in variant:
        if rng is None:
            raise ConfigError("a degradation with noise needs a random generator")
        lq = _add_noise(lq, rng.normal(0, NOISE_LEVEL, (lq[..., None].shape[2], *lq.shape[:2])))
    return _jpeg(lq, 50) if variant.endswith("jepg50") else lq


def _add_noise(lq: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Add (C, h, w), clip, and cut (not round) to 8 bit, as published."""
    added = noise[0] if lq.ndim == 2 else noise.transpose(1, 2, 0)
    values = np.clip(lq.astype(np.float32) / np.float32(255) + added, 0, 1).astype(np.float32)
    return np.clip(values * np.float32(255), 0, 255).astype(np.uint8)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Through libjpeg with 4:2:0 chroma; always RGB."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))
