"""Small operations on image arrays that data sets, evaluation and upscaling share."""

from __future__ import annotations

import zlib

import cv2
import numpy as np


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
