"""`ppsr quickstart`: published weights on a photo, then a network that is trained and scored here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ppsr import accelerate
from ppsr.engine.run import newest_run
from ppsr.errors import WeightError
from ppsr.evaluation.compare import write_comparison
from ppsr.evaluation.evaluate import evaluate
from ppsr.evaluation.report import table_lines, write_report
from ppsr.imaging import read_image, to_uint8
from ppsr.imaging.resize import matlab_resize
from ppsr.inference.upscaler import Upscaler
from ppsr.logs import setup_logging
from ppsr.prepare.bicubic import Bicubic
from ppsr.prepare.samples import make_samples
from ppsr.prepare.subimages import SubImages

__all__ = ["main"]

CONFIG = "quickstart_fsrcnn_x3"
PUBLISHED = "realesrgan-x4plus"
SAMPLES = Path("data/samples")
TRAIN, VAL = SAMPLES / "train_x3", SAMPLES / "val_x3"  # as the config reads them
OUTPUT = Path("output/quickstart")
SCALE = 3  # of the config
PHOTO = ("chelsea", (slice(60, 180), slice(120, 280)))  # what is enlarged first: 160 x 120 pixels

logger = logging.getLogger(__name__)


def main(train: Callable[[Sequence[str]], int]) -> int:
    """Do all of it below the current folder; returns the exit code."""
    started = time.perf_counter()
    accelerate.enable()
    setup_logging(None)
    print("1/4 images: those that scikit-image ships", flush=True)
    make_samples(SAMPLES).require_all()
    print(f"2/4 enlarging a photo by published weights ({PUBLISHED})", flush=True)
    photo = enlarge_photo()
    print(f"    {time.perf_counter() - started:.0f} s so far", flush=True)
    print("3/4 training a small network on this machine", flush=True)
    SubImages(SAMPLES / "train_sub", size=120, step=120).make(SAMPLES / "train").require_all()
    for source, target in (("train_sub", TRAIN), ("val", VAL)):
        Bicubic(target, scales=(SCALE,), multiple=SCALE).make(SAMPLES / source).require_all()
    code = train(["--config-file", CONFIG, "--device", "cpu"])
    if code:
        return code
    run = newest_run(Path(CONFIG).stem, Path("output"))
    print("4/4 scoring held-out images", flush=True)
    held_out: dict[str, Any] = {
        "gt": VAL / "HR",
        "lq": VAL / f"LR_bicubic/X{SCALE}",
        "scale": SCALE,
        "name": "held-out",
    }
    bicubic, network = evaluate("bicubic", **held_out), evaluate(run, **held_out)
    network.method = "FSRCNN"
    write_report(network, OUTPUT / "report")
    print("", *table_lines([bicubic, network]), "", sep="\n")
    print(f"photo:   {photo}" if photo else "photo:   not made, see above")
    print(f"report:  {OUTPUT / 'report'}, with the best and the worst image")
    print(f"weights: {run} (ppsr upscale IN -o OUT --load {run})")
    print(f"{time.perf_counter() - started:.0f} s in all")
    if network.means["psnr"] <= bicubic.means["psnr"]:
        logger.error("the network is not better than bicubic; see %s", run / "log.txt")
        return 1
    return 0


def enlarge_photo() -> Path | None:
    """Compare a part of a photo, enlarged by published weights, with bicubic interpolation.

    Returns:
        A page with both images; None, after a message, where the weights cannot be had.
    """
    name, window = PHOTO
    lq = read_image(SAMPLES / "val" / f"{name}.png")[window]
    try:
        upscaler = Upscaler(PUBLISHED)
    except WeightError as error:
        print(f"    left out: {error}", flush=True)
        return None
    bicubic, sr = (to_uint8(image) for image in (matlab_resize(lq, upscaler.scale), upscaler(lq)))
    images = {f"bicubic x{upscaler.scale}": bicubic, Path(PUBLISHED).name: sr}
    page, *_ = write_comparison(images, OUTPUT / "photo", title="Published weights on a photo")
    print(f"    {page}: {sr.shape[1]} x {sr.shape[0]} pixels", flush=True)
    return page
