"""Colours, mosaics and files that all figures share."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppsr.files import atomic_path, atomic_write

__all__ = [
    "draw_tiles",
    "file_name",
    "mosaic",
    "save_figure",
    "save_report",
    "seismic",
    "show_image",
    "to_hwc",
]

_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "ppsr", "font.size": 9, "axes.titlesize": 9}


def seismic(values: np.ndarray) -> np.ndarray:
    """[-1, 1] -> RGB uint8 from blue over white to red, as the released code colours maps."""
    return (255 * mpl.colormaps["seismic"](0.5 + 0.5 * values)[..., :3]).astype(np.uint8)


def to_hwc(image: np.ndarray) -> np.ndarray:
    """(C, H, W) -> H x W x 3 in [0, 1]."""
    clipped = np.clip(image, 0, 1).transpose(1, 2, 0)
    return np.repeat(clipped, 3, axis=2) if clipped.shape[2] == 1 else clipped


def show_image(axes: Axes, image: np.ndarray, title: str = "", **options: Any) -> None:
    """Show an array in pixels as they are, without ticks."""
    axes.imshow(image, interpolation="nearest", **options)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])


def mosaic(tiles: np.ndarray, *, columns: int, gap: int = 1) -> np.ndarray:
    """Tiles (K, H, W) side by side in rows, NaN between them and where there are none."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan, np.float32)
    for k, tile in enumerate(tiles):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def draw_tiles(tiles: np.ndarray, title: str, *, columns: int, **options: Any) -> Figure:
    """A figure of one sheet of tiles (K, H, W), as `mosaic` lays them out."""
    sheet = mosaic(tiles, columns=min(columns, len(tiles)), gap=max(1, tiles.shape[2] // 16))
    width, heading = 8.0, 0.3
    height = width * sheet.shape[0] / sheet.shape[1]
    figure = Figure(figsize=(width, height + heading))
    axes = figure.add_axes((0, 0, 1, height / (height + heading)))
    show_image(axes, sheet, title, **options)
    axes.set_frame_on(False)
    return figure


def file_name(text: str) -> str:
    """A label as part of a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)


def save_report(path: str | Path, report: Mapping[str, Any]) -> None:
    """Write what made an image and what came out as JSON."""
    atomic_write(path, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def save_figure(
    figure: Figure, stem: str | Path, report: Mapping[str, Any], arrays: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write `stem`.png, .svg, .json (what made it and what came out) and, where there are arrays, .npz."""
    stem = Path(stem)
    written = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".svg", ".json")]
    with mpl.rc_context(_STYLE):
        for path in written[:2]:
            # no date: the same analysis gives the same bytes
            metadata = {"Date": None} if path.suffix == ".svg" else None
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=150, metadata=metadata)
    save_report(written[2], report)
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        written.append(stem.with_name(f"{stem.name}.npz"))
        atomic_write(written[-1], buffer.getvalue())
    return written
