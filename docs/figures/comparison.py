"""LR, bicubic, SR and truth of an image side by side, cropped and labelled.

    python docs/figures/comparison.py LQ SR GT OUT --top 60 --left 170 --side 120

The sizes are pixels of the truth. LR is shown pixel by pixel.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ppsr.imaging.io import read_image, to_uint8, write_image
from ppsr.imaging.resize import matlab_resize

CAPTION = 28
GAP = 8
ENLARGE = 2


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("lq", "sr", "gt", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--top", type=int, default=0)
    parser.add_argument("--left", type=int, default=0)
    parser.add_argument("--side", type=int, default=120)
    parser.add_argument("--title", default="ppsr", help="over the SR image")
    options = parser.parse_args()
    lq, sr, gt = (read_image(path) for path in (options.lq, options.sr, options.gt))
    scale = gt.shape[0] // lq.shape[0]
    images = {
        "LR": lq.repeat(scale, 0).repeat(scale, 1),
        "bicubic": matlab_resize(lq, scale),
        options.title: sr,
        "truth": gt,
    }
    rows = slice(options.top, options.top + options.side)
    columns = slice(options.left, options.left + options.side)
    tiles = [captioned(image[rows, columns], title) for title, image in images.items()]
    gap = np.full((len(tiles[0]), GAP, 3), 255, np.uint8)
    write_image(options.out, np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1))


def captioned(image: np.ndarray, title: str) -> np.ndarray:
    """The image, every pixel a square, with its title above on white."""
    tile = to_uint8(image).repeat(ENLARGE, 0).repeat(ENLARGE, 1)
    head = np.full((CAPTION, tile.shape[1], 3), 255, np.uint8)
    cv2.putText(head, title, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([head, tile])


if __name__ == "__main__":
    main()
