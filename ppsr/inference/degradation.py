"""Degradation parameters of CDDNet and DASR: predicted once from a whole image, or given by the user."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ppsr.errors import ConfigError
from ppsr.files import read_regular
from ppsr.generators.degradation_predictor import DegradationPredictor
from ppsr.imaging.io import to_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ppsr.inference.backends.base import Backend

_SIDE = 256  # pixels of a part; a multiple of the map's stride


def predict_degradation(backend: Backend, pixels: np.ndarray, colours: int) -> np.ndarray:
    """The parameters that the predictor finds in a whole image, computed in parts.

    Every part is read as far as the predictor's convolutions see, so that the result is that of the image at
    once, whatever its size, up to rounding.

    Args:
        colours: number of bands that are not alpha.

    Returns:
        (degradation_params,) float32.
    """
    info, (height, width) = backend.info, pixels.shape[:2]
    if info.channels == 1 < colours:
        colours = 1  # the parameters of the first band, for all
    radius, stride = DegradationPredictor.map_radius, DegradationPredictor.map_stride
    total, count = np.zeros(info.degradation_params), 0
    for top, left in product(range(0, height, _SIDE), range(0, width, _SIDE)):
        first, before = max(0, top - radius), max(0, left - radius)
        bottom, right = min(top + _SIDE, height), min(left + _SIDE, width)
        region = slice(first, min(bottom + radius, height)), slice(before, min(right + radius, width))
        planes = to_unit(pixels[region])[..., :colours].transpose(2, 0, 1)[None] * np.float32(info.rgb_range)
        part = np.ascontiguousarray(np.broadcast_to(planes, (1, info.channels, *planes.shape[2:])))
        values = backend.degradation_map(part)[0]
        rows = slice((top - first) // stride, -(-(bottom - first) // stride))
        columns = slice((left - before) // stride, -(-(right - before) // stride))
        kept = values[:, rows, columns]
        total += kept.sum(axis=(1, 2), dtype=np.float64)
        count += kept[0].size
    return (total / count).astype(np.float32)


def check_degradation(values: Sequence[float] | np.ndarray, wanted: int, network: str) -> np.ndarray:
    """Given parameters as (wanted,) float32.

    Raises:
        ConfigError: another number of them, not finite, or the network takes none.
    """
    if not wanted:
        raise ConfigError(f"{network} takes no degradation parameters; they are for CDDNet and DASR")
    vector = np.asarray(values, np.float32).reshape(-1)
    if len(vector) != wanted or not np.isfinite(vector).all():
        raise ConfigError(
            f"{network} takes {wanted} finite degradation parameters, got {len(vector)} numbers"
        )
    return vector


def read_degradation(text: str) -> np.ndarray:
    """Numbers from a text such as "0.1,0.5,0" or from a text file that holds them.

    Raises:
        ConfigError: a file that cannot be read, or other text than numbers.
    """
    path = Path(text)
    source, content = "--degradation", text
    try:
        if path.is_file():
            source, content = str(path), read_regular(path).decode("utf-8-sig")
        return np.array([float(part) for part in re.split(r"[\s,;\[\]]+", content) if part], np.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{source}: expected numbers divided by commas or blanks, or a text file of them ({error})"
        ) from None
