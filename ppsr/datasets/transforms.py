"""Crops and flips of images (H x W x C), alone or in pairs of LR and HR."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ppsr.errors import ConfigError, DataError

__all__ = [
    "augment",
    "check_pair",
    "check_window",
    "crop_window",
    "cut_excess",
    "paired_crop",
    "random_crop_or_pad",
]


def random_crop_or_pad(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random size x size window; smaller images are first extended at the bottom and right by
    reflection."""
    bottom, right = max(0, size - image.shape[0]), max(0, size - image.shape[1])
    if bottom or right:
        channels = image.shape[2:]  # OpenCV drops a single one
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
        image = image.reshape(*image.shape[:2], *channels)
    height, width = image.shape[:2]
    if height > size or width > size:
        top, left = rng.integers(0, height - size + 1), rng.integers(0, width - size + 1)
        image = image[top : top + size, left : left + size]
    return np.ascontiguousarray(image)


def check_window(gt_size: int | None, scale: int) -> None:
    """Check the side of a training window in HR pixels; None means whole images."""
    if scale < 1:
        raise ConfigError(f"scale must be 1 or more, got {scale}")
    if gt_size is not None and (gt_size < 1 or gt_size % scale):
        raise ConfigError(f"gt_size must be a multiple of the scale {scale}, got {gt_size}")


def cut_excess(large: np.ndarray, small: np.ndarray, factor: int) -> np.ndarray:
    """An image without the up to `factor` - 1 rows and columns that its shrunk version cannot show.

    Args:
        small: h x w x C, made of the first h * factor rows and w * factor columns.

    Returns:
        h * factor x w * factor x C; images that do not belong together as they are.
    """
    height, width = (side * factor for side in small.shape[:2])
    if 0 <= large.shape[0] - height < factor and 0 <= large.shape[1] - width < factor:
        return large[:height, :width]
    return large


def paired_crop(
    gt: np.ndarray, lq: np.ndarray, *, gt_size: int, scale: int, rng: np.random.Generator, where: Any = ""
) -> tuple[np.ndarray, np.ndarray]:
    """The same random window of both images."""
    side = gt_size // scale
    check_pair(gt, lq, scale=scale, side=side, where=where)
    top, left = crop_window(lq.shape[:2], side, rng)
    low = lq[top : top + side, left : left + side]
    high = gt[top * scale : top * scale + gt_size, left * scale : left * scale + gt_size]
    return np.ascontiguousarray(high), np.ascontiguousarray(low)


def check_pair(gt: np.ndarray, lq: np.ndarray, *, scale: int, side: int, where: Any = "") -> None:
    """Raise where two images cannot give a training window.

    Raises:
        DataError: LR is smaller than the window, or HR is not `scale` times LR.
    """
    height, width = lq.shape[:2]
    if gt.shape[:2] != (height * scale, width * scale):
        raise DataError(
            f"{where}: HR {gt.shape[:2]} is not {scale} times LR {(height, width)}; the folders or the scale "
            "are wrong, or this pair"
        )
    if min(height, width) < side:
        raise DataError(
            f"{where}: LR {(height, width)} is smaller than the {side} pixel window; lower gt_size, or leave "
            "such images out"
        )


def crop_window(size: tuple[int, ...], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Top left corner of a random square window of an image of this height and width."""
    return int(rng.integers(size[0] - side + 1)), int(rng.integers(size[1] - side + 1))


def augment(
    images: list[np.ndarray], rng: np.random.Generator, *, use_hflip: bool, use_rot: bool
) -> list[np.ndarray]:
    """Mirror, turn upside down and transpose all images alike, each with probability one half."""
    mirror = use_hflip and rng.random() < 0.5
    upside_down = use_rot and rng.random() < 0.5
    transpose = use_rot and rng.random() < 0.5
    result = []
    for image in images:
        turned = image[:, ::-1] if mirror else image
        turned = turned[::-1] if upside_down else turned
        turned = turned.transpose(1, 0, 2) if transpose else turned
        result.append(np.ascontiguousarray(turned))
    return result
