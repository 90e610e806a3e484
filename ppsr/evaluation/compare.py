"""Comparing networks on one image by eye: a sheet of crops, and a page with a slider."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

import numpy as np

from ppsr.errors import ConfigError
from ppsr.files import atomic_write
from ppsr.imaging.arrays import captioned, displayed
from ppsr.imaging.io import write_image

__all__ = ["choose_crops", "write_comparison"]


def write_comparison(
    images: Mapping[str, np.ndarray], folder: str | Path, *, title: str, crops: int = 3, side: int = 128
) -> list[Path]:
    """Write every image as PNG, sheet.png with labelled crops, and index.html with a slider.

    Args:
        images: label -> H x W x 3 uint8, all of one size.
        folder: where the files go.

    Returns:
        The page, the sheet, and the images in their order.

    Raises:
        ConfigError: the images differ in size.
    """
    folder = Path(folder)
    sizes = {label: f"{image.shape[1]} x {image.shape[0]}" for label, image in images.items()}
    if len(set(sizes.values())) != 1:
        listed = ", ".join(f"{label}: {size}" for label, size in sizes.items())
        raise ConfigError(f"images of one size are needed to compare them, got {listed}")
    names = (re.sub(r"[^\w.+-]+", "_", label) for label in images)
    files = {label: f"{i}_{name}.png" for i, (label, name) in enumerate(zip(images, names, strict=True))}
    images = {label: displayed(image) for label, image in images.items()}
    for label, image in images.items():
        write_image(folder / files[label], image)
    rows = []
    for top, left in choose_crops(images, crops, side):
        tiles = {label: image[top : top + side, left : left + side] for label, image in images.items()}
        # twice the size, so that single pixels can be seen
        captions = [captioned(tile.repeat(2, 0).repeat(2, 1), label) for label, tile in tiles.items()]
        rows.append(np.concatenate(captions, axis=1))
    write_image(folder / "sheet.png", np.concatenate(rows, axis=0))
    page = Template(Path(__file__).with_name("compare.html").read_text(encoding="utf-8"))
    listed = json.dumps(files).replace("<", "\\u003c")  # cannot end the script
    width = next(iter(images.values())).shape[1]
    atomic_write(folder / "index.html", page.substitute(title=html.escape(title), images=listed, width=width))
    return [folder / "index.html", folder / "sheet.png", *(folder / name for name in files.values())]


def choose_crops(images: Mapping[str, np.ndarray], count: int, side: int) -> list[tuple[int, int]]:
    """Top left corners of the windows in which the images differ most, without overlap.

    Args:
        images: H x W x 3 uint8 of one size.
        count: how many windows at most; fewer where there is no room.
    """
    arrays = [image.astype(np.float32) for image in images.values()]
    spread = (np.max(arrays, axis=0) - np.min(arrays, axis=0)).mean(axis=2)
    height, width = spread.shape
    places = [
        (top, left)
        for top in range(0, max(1, height - side + 1), max(1, side // 2))
        for left in range(0, max(1, width - side + 1), max(1, side // 2))
    ]
    places.sort(
        key=lambda place: -float(spread[place[0] : place[0] + side, place[1] : place[1] + side].mean())
    )
    chosen: list[tuple[int, int]] = []
    for top, left in places:
        if len(chosen) < count and all(abs(top - t) >= side or abs(left - x) >= side for t, x in chosen):
            chosen.append((top, left))
    return chosen
