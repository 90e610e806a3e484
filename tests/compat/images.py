"""Small pairs of images for the tests of the bridge."""

from pathlib import Path

from ppsr.imaging import matlab_resize, read_image, write_image
from tests.engine.helpers import make_images


def make_pairs(folder: Path, scale: int) -> tuple[Path, Path]:
    """HR images of 48 pixels a side and their LR ones."""
    gt = make_images(folder / "gt", count=4, side=48)
    lq = folder / "lq"
    for path in sorted(gt.iterdir()):
        write_image(lq / path.name, matlab_resize(read_image(path), 1 / scale))
    return gt, lq
