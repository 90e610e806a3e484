"""Small operations on image arrays that data sets, evaluation and upscaling share."""

from __future__ import annotations

import math
import zlib

import cv2
import numpy as np

from ppsr.errors import DataError

_OVERSHOOT = 0.5  # of floats beside [0, 1]: resizing and networks stay below it, images in 0..255 do not


def check_samples(image: np.ndarray) -> None:
    """Raises DataError unless an image has samples, and these are uint8, uint16 or floats around [0, 1]."""
    if 0 in image.shape:
        raise DataError(f"the image is empty, an array of shape {image.shape}")
    if image.dtype.kind != "f" and image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"samples must be uint8, uint16 or float in [0, 1], got {image.dtype}")
    if image.dtype.kind != "f":
        return
    low, high = float(image.min()), float(image.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError("the image has values that are not finite")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise DataError(
            f"samples of type float must be in [0, 1], got {low:.4g} to {high:.4g}; divide by the "
            "largest value, or give uint8 or uint16"
        )


def mod_crop(image: np.ndarray, multiple: int) -> np.ndarray:
    """Cut the sides of an image (H, W, ...) to multiples, at the bottom and right.

    Example:
        >>> mod_crop(np.zeros((50, 59, 3)), 4).shape
        (48, 56, 3)
    """
    height, width = (side // multiple * multiple for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])


def quantise(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """[0, 1] -> uint8 or uint16, rounded half to even; float32 as it is."""
    if dtype.kind == "f":
        return values
    return np.rint(values * np.float32(np.iinfo(dtype).max)).astype(dtype)


def image_rng(seed: int, variant: str, name: str) -> np.random.Generator:
    """The random generator of one image, which is the same on every machine and for every order of images.

    Args:
        variant: degradation, or "".
    """
    spelled = name.encode(errors="surrogateescape")  # names of files need not be text
    return np.random.default_rng([seed, zlib.crc32(variant.encode()), zlib.crc32(spelled)])


_HEIGHT = 24


def displayed(image: np.ndarray) -> np.ndarray:
    """An H x W x C image as H x W x 3: gray repeated, of four and more bands the first three."""
    return image[..., :3] if image.shape[2] > 2 else image[..., :1].repeat(3, axis=2)


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """An H x W x 3 uint8 image below a black strip with white text."""
    head = np.zeros((_HEIGHT, image.shape[1], 3), np.uint8)
    cv2.putText(head, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([head, image], axis=0)
