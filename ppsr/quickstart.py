"""`ppsr quickstart`: published weights on a photo, then a network that is trained, scored and drawn here."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from ppsr import accelerate
from ppsr.cli.train import main as train
from ppsr.engine.run import newest_run
from ppsr.errors import WeightError
from ppsr.imaging import read_image, to_uint8, write_image
from ppsr.imaging.resize import matlab_resize
from ppsr.inference.upscaler import Upscaler
from ppsr.logs import setup_logging
from ppsr.metrics.psnr_ssim import psnr, ssim
from ppsr.prepare.bicubic import Bicubic
from ppsr.prepare.samples import VALIDATION, make_samples
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
Scores = dict[str, tuple[float, float]]


def main() -> int:
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
    scores, rows = compare(Upscaler(run))
    sheet = OUTPUT / "sheet.png"
    draw(sheet, photo, rows)
    print_table(scores)
    print(f"photo:   {OUTPUT / 'photo.png'}" if photo else "photo:   not made, see above")
    print(f"sheet:   {sheet}")
    print(f"weights: {run} (ppsr upscale IN -o OUT --load {run})")
    print(f"{time.perf_counter() - started:.0f} s in all")
    if scores["FSRCNN"][0] <= scores["bicubic"][0]:
        logger.error("the network is not better than bicubic; see %s", run / "log.txt")
        return 1
    return 0


def enlarge_photo() -> dict[str, np.ndarray]:
    """Enlarge a part of a photo by published weights; empty where they cannot be had, which is said."""
    name, window = PHOTO
    lq = read_image(SAMPLES / "val" / f"{name}.png")[window]
    try:
        upscaler = Upscaler(PUBLISHED)
    except WeightError as error:
        print(f"    left out: {error}", flush=True)
        return {}
    sr = upscaler(lq)
    write_image(OUTPUT / "photo_input.png", lq)
    write_image(OUTPUT / "photo.png", sr)
    print(f"    {OUTPUT / 'photo.png'}: {sr.shape[1]} x {sr.shape[0]} pixels", flush=True)
    bicubic = np.clip(matlab_resize(lq, upscaler.scale), 0, 1)
    return {"bicubic x4": bicubic, f"{PUBLISHED}, published weights": sr}


def compare(upscaler: Upscaler) -> tuple[Scores, dict[str, dict[str, np.ndarray]]]:
    """Mean PSNR and SSIM (Y, border 3) of bicubic enlargement and of the network, and their images."""
    values: dict[str, list[tuple[float, float]]] = {"bicubic": [], "FSRCNN": []}
    rows: dict[str, dict[str, np.ndarray]] = {}
    for file in VALIDATION:
        name = Path(file).stem
        lq = read_image(VAL / "LR_bicubic" / f"X{SCALE}" / f"{name}x{SCALE}.png")
        gt = read_image(VAL / "HR" / f"{name}.png")
        rows[name] = {}
        for method, sr in (("bicubic", matlab_resize(lq, SCALE)), ("FSRCNN", upscaler(lq))):
            image, truth = to_uint8(sr), to_uint8(gt)
            score = (
                psnr(image, truth, crop_border=SCALE, test_y_channel=True),
                ssim(image, truth, crop_border=SCALE, test_y_channel=True),
            )
            values[method].append(score)
            rows[name][f"{method} x{SCALE}, {score[0]:.2f} dB"] = np.clip(sr, 0, 1)
        rows[name]["truth"] = gt
    means = {method: np.mean(scores, axis=0) for method, scores in values.items()}
    return {method: (float(mean[0]), float(mean[1])) for method, mean in means.items()}, rows


def draw(path: Path, photo: dict[str, np.ndarray], rows: dict[str, dict[str, np.ndarray]]) -> None:
    """Write a sheet of labelled crops: the enlarged photo, then each held-out image by each method."""
    from matplotlib.figure import Figure

    lines = ([photo] if photo else []) + list(rows.values())
    figure = Figure(figsize=(12, 4 * len(lines)), layout="constrained")
    axes = figure.subplots(len(lines), 3, squeeze=False)
    for row, images in zip(axes, lines, strict=True):
        for axis in row:
            axis.axis("off")
        for axis, (title, image) in zip(row, images.items(), strict=False):
            axis.set_title(title)
            axis.imshow(_middle(image), interpolation="nearest")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _middle(image: np.ndarray, side: int = 160) -> np.ndarray:
    """A square from the middle, large enough to see pixels."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def print_table(scores: Scores) -> None:
    """The closing table."""
    print(f"\n{f'x{SCALE}, held-out images':<24} {'PSNR (dB)':>10} {'SSIM':>8}")
    for name, (psnr_value, ssim_value) in scores.items():
        print(f"{name:<24} {psnr_value:>10.3f} {ssim_value:>8.4f}")
    print()
