"""Looking at a degradation: every stage of one sample as a contact sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ppsr.config import load_config
from ppsr.datasets.degrading import DegradingDataset
from ppsr.datasets.mixed import MixedDataset
from ppsr.engine.loader import build_dataset
from ppsr.errors import ConfigError
from ppsr.imaging.arrays import captioned
from ppsr.imaging.io import to_uint8, write_image
from ppsr.imaging.resize import interpolate

__all__ = ["make_preview"]

_TILE = 256
_COLUMNS = 4


def make_preview(config_file: str | Path, output: str | Path, *, index: int = 0) -> str:
    """Write the sheet: one row of stages per kind of degradation, the result last, all enlarged to one size.

    Args:
        config_file: its `dataset.train` says how images are degraded; of a mixed one, each part that does.

    Returns:
        A sentence about what was written.

    Raises:
        ConfigError: the training set does not degrade images.
    """
    config = load_config(config_file)
    dataset, _ = build_dataset(config.get("dataset", {}).get("train") or {}, "dataset.train")
    parts = dataset.parts if isinstance(dataset, MixedDataset) else [dataset]
    degrading = [part for part in parts if isinstance(part, DegradingDataset)]
    if not degrading:
        raise ConfigError(f"{config.path}: dataset.train has no degradation to preview")
    rows, counts = [], []
    for part in degrading:
        count = 0
        for degradation, stages in part.previews(index).items():
            tiles = []
            for name, image in stages:
                mode = "area" if min(image.shape[:2]) > _TILE else "bicubic"
                tile = to_uint8(interpolate(image, mode=mode, size=(_TILE, _TILE)))
                tiles.append(captioned(tile, f"{degradation}: {name}"))
            count += len(tiles)
            tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _COLUMNS)
            rows += [np.concatenate(tiles[i : i + _COLUMNS], axis=1) for i in range(0, len(tiles), _COLUMNS)]
        counts.append(f"{count} stages of {part.items[index % len(part)]}")
    write_image(output, np.concatenate(rows, axis=0))
    return f"{output}: {', '.join(counts)}"
