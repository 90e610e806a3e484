"""`make quickstart`: the main job on real pictures, from nothing to a table and a before/after picture."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from ppsr import accelerate
from ppsr.cli.train import main as train
from ppsr.datasets.paired import SRDataset
from ppsr.engine.run import newest_run
from ppsr.imaging import read_image, to_uint8, write_image
from ppsr.imaging.resize import matlab_resize
from ppsr.inference.files import exit_code, upscale_files
from ppsr.inference.network import load_network
from ppsr.inference.upscaler import Upscaler
from ppsr.metrics.psnr_ssim import psnr, ssim
from ppsr.prepare.dasr_valid import make_dasr_validation
from ppsr.prepare.samples import make_samples

__all__ = ["main"]

CONFIG = Path("configs/quickstart.yaml")
SAMPLES = Path("data/samples")
SCALE = 4


def main() -> int:
    """Prepare, train, evaluate, upscale; returns the exit code."""
    if not CONFIG.is_file():
        print(f"{CONFIG} is not here; run this from the project's folder", file=sys.stderr)
        return 2
    started = time.perf_counter()
    print("1/4 pictures: those that scikit-image ships")
    make_samples(SAMPLES).require_all()
    make_dasr_validation(SAMPLES / "val", SAMPLES / "val_LRx4", kind=2).require_all()
    print("2/4 training a small CDDNet on random degradations")
    code = train(["--config-file", str(CONFIG)])
    if code:
        return code
    run = newest_run(CONFIG.stem, Path("output"))
    weights = max(run.glob("iter_*_weight.pdparams"), key=lambda p: int(p.name.split("_")[1]))
    print("3/4 scoring held-out pictures that were degraded with fixed random numbers")
    accelerate.enable()
    upscaler = Upscaler(load_network(CONFIG, weights))
    scores = compare(upscaler)
    print("4/4 upscaling")
    reports = upscale_files(upscaler, SAMPLES / "val_LRx4", run / "upscaled")
    picture = run / "before_after.png"
    write_image(picture, before_after(upscaler, "chelsea"))
    print_table(scores)
    print(f"before (bicubic), after, truth: {picture}")
    print(f"{sum(line['status'] == 'ok' for line in reports)} upscaled pictures: {run / 'upscaled'}")
    print(f"weights: {weights}")
    print(f"{time.perf_counter() - started:.0f} s in all")
    better = all(ours > theirs for ours, theirs in zip(scores["CDDNet"], scores["bicubic"], strict=True))
    if not better:
        print("the network is not better than bicubic; see log.txt of the run", file=sys.stderr)
    return exit_code(reports) or int(not better)


def compare(upscaler: Upscaler) -> dict[str, tuple[float, float]]:
    """Mean PSNR and SSIM (Y, border 4) of bicubic enlargement and of the network."""
    rows: dict[str, list[tuple[float, float]]] = {"bicubic": [], "CDDNet": []}
    dataset = SRDataset(gt_folder=str(SAMPLES / "val"), lq_folder=str(SAMPLES / "val_LRx4"), scale=SCALE)
    for index in range(len(dataset)):
        item = dataset[index]
        lq, gt = item["lq"].transpose(1, 2, 0), to_uint8(item["gt"].transpose(1, 2, 0))
        for name, sr in (("bicubic", matlab_resize(lq, SCALE)), ("CDDNet", upscaler(lq))):
            picture = to_uint8(sr)
            rows[name].append(
                (
                    psnr(picture, gt, crop_border=SCALE, test_y_channel=True),
                    ssim(picture, gt, crop_border=SCALE, test_y_channel=True),
                )
            )
    return {name: tuple(np.mean(values, axis=0)) for name, values in rows.items()}


def before_after(upscaler: Upscaler, name: str) -> np.ndarray:
    """Bicubic, network and truth side by side."""
    lq = read_image(SAMPLES / "val_LRx4" / f"{name}.png")
    gt = read_image(SAMPLES / "val" / f"{name}.png")
    return to_uint8(np.concatenate([matlab_resize(lq, SCALE), upscaler(lq), gt], axis=1))


def print_table(scores: dict[str, tuple[float, float]]) -> None:
    """The closing table."""
    print(f"\n{'x4, held-out, degraded':<24} {'PSNR (dB)':>10} {'SSIM':>8}")
    for name, (psnr_value, ssim_value) in scores.items():
        print(f"{name:<24} {psnr_value:>10.3f} {ssim_value:>8.4f}")
    print()


if __name__ == "__main__":
    sys.exit(main())
