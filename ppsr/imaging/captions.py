"""Names above the images of a contact sheet."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["captioned", "displayed"]

_HEIGHT = 24


def displayed(image: np.ndarray) -> np.ndarray:
    """An H x W x C image as H x W x 3: gray repeated, of four and more bands the first three."""
    return image[..., :3] if image.shape[2] > 2 else image[..., :1].repeat(3, axis=2)


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """An H x W x 3 uint8 image below a black strip with white text."""
    head = np.zeros((_HEIGHT, image.shape[1], 3), np.uint8)
    cv2.putText(head, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([head, image], axis=0)
