"""Scores of blind networks, or of bicubic enlargement, by degradation; and what they were trained on."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import numpy as np

from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.evaluation.protocols import find_protocol
from ppsr.evaluation.sources import ImageSource, Upscale, bicubic, find_sets
from ppsr.files import atomic_write
from ppsr.metrics.scoring import score_set
from ppsr.registry import METRICS

DASR_METRICS = ("psnr", "ssim")  # LPIPS needs weights


def degradation_scores(
    protocol: str, upscale: Upscale, folder: str = "data/Set14"
) -> dict[str, dict[str, float]]:
    """Means and sharpness by degradation, of x4; one pass for all, as networks take minutes.

    Args:
        protocol: reflash or dasr; the latter reads the LR images of `LR_type1`, `LR_type2` and `LR_type3`.
        upscale: LR -> SR.
        folder: of the test set, with its HR images in `HR`.
    """
    chosen = find_protocol(protocol, 4)
    configs = chosen.metric_configs(4, DASR_METRICS if protocol == "dasr" else None, {})
    metrics = {name: METRICS.build(config) for name, config in configs.items()}
    lq = None if chosen.make_lq else f"{folder}/LR_{{variant}}"
    tasks, _ = find_sets(chosen, 4, gt=f"{folder}/HR", sr=None, lq=lq, data=None, sets=None, name="set")
    found = {}
    for task in tasks:
        source = ImageSource(task, chosen, scale=4, upscale=upscale, seed=0, published=True)
        means = score_set(source, {**metrics, "sharpness": shared_gradient}).means
        found[VARIANTS.get(task.variant, task.variant)] = means
    return found


def bicubic_scores(protocol: str, output: Path) -> dict[str, dict[str, float]]:
    """`degradation_scores` of bicubic enlargement, computed once and kept in a folder."""
    kept = output / f"bicubic_{protocol}.json"
    if not kept.exists():
        atomic_write(kept, json.dumps(degradation_scores(protocol, bicubic(4))))
    return json.loads(kept.read_text("utf-8"))


def shared_gradient(sr: np.ndarray, hr: np.ndarray) -> float:
    """<grad SR, grad HR> / <grad HR, grad HR> of gray values, both H x W x C of any range.

    1 if all edges of HR are as steep in SR. Noise and ringing hardly count, as they do not follow HR.
    """
    ours, true = (np.stack(np.gradient(image.mean(axis=2))) for image in (sr, hr))
    return float((ours * true).sum() / (true * true).sum())


def machine() -> str:
    """The processor's name and what of it a run uses."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else platform.processor()}, {os.environ['OMP_NUM_THREADS']} thread"
