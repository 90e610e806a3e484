"""Images of the inputs and outputs of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional as F

from ppsr.imaging.io import to_uint8, write_image

__all__ = ["save_visuals"]

_SHOWN = ("lq", "sr", "gt")


def save_visuals(folder: Path, step: int, batch: Mapping[str, Any], count: int = 0) -> None:
    """Write one sheet: a row per sample with LR (enlarged by repetition), SR and GT.

    Args:
        folder: where `iterN.png` goes.
        step: its number.
        batch: tensors (N, 3, H, W) in [0, 1]; those present of lq, sr, gt are shown.
        count: rows at most; 0 shows four.
    """
    tensors = [batch[name][: count or 4].astype("float32") for name in _SHOWN if name in batch]
    height, width = (max(t.shape[axis] for t in tensors) for axis in (2, 3))
    with paddle.no_grad():
        columns = [F.interpolate(t, size=[height, width], mode="nearest").numpy() for t in tensors]
    sheet = np.concatenate([np.concatenate(list(column), axis=1) for column in columns], axis=2)
    write_image(folder / f"iter{step}.png", to_uint8(sheet.transpose(1, 2, 0)))
