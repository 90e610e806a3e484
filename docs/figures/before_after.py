"""A crop of an LR image, its pixels enlarged, beside the same crop of its SR image.

python docs/figures/before_after.py LR SR OUT [--left 20 --top 10 --side 72]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ppsr.imaging.io import read_image, write_image

GAP = 8  # white columns between the two


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("lr", "sr", "out"):
        parser.add_argument(name, type=Path)
    for name, value in (("left", 20), ("top", 10), ("side", 72)):
        parser.add_argument(f"--{name}", type=int, default=value, help="of the crop, LR pixels")
    options = parser.parse_args()
    lr, sr = read_image(options.lr), read_image(options.sr)
    scale = len(sr) // len(lr)
    rows = slice(options.top, options.top + options.side)
    columns = slice(options.left, options.left + options.side)
    before = lr[rows, columns].repeat(scale, 0).repeat(scale, 1)
    after = sr[rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale]
    gap = np.ones((len(before), GAP, 3), np.float32)
    write_image(options.out, np.concatenate([before, gap, after], axis=1))


if __name__ == "__main__":
    main()
