"""Scores of blind networks, or of bicubic enlargement, by degradation; and what they were trained on."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.evaluation.evaluate import Evaluation, evaluate
from ppsr.files import atomic_write

DASR_METRICS = ("psnr", "ssim")  # LPIPS needs weights


def degradation_scores(
    protocol: str, folder: str = "data/Set14", **method: Any
) -> dict[str, dict[str, float]]:
    """Means and sharpness by degradation, of x4.

    Args:
        protocol: reflash or dasr; the latter reads the LR images of `LR_type1`, `LR_type2` and `LR_type3`.
        folder: of the test set, with its HR images in `HR`.
        method: `upscale` or `load` of a network, or `use_bicubic=True`.
    """
    places: dict[str, Any] = {"gt": f"{folder}/HR", "name": "set"}
    if protocol == "dasr":
        places |= {"lq": f"{folder}/LR_{{variant}}", "metrics": DASR_METRICS}
    scored = evaluate(protocol, **places, **method)
    sharp = sharpness(scored)
    return {
        VARIANTS.get(score.variant, score.variant): {**score.means, "sharpness": sharp[score.variant]}
        for score in scored.sets
    }


def bicubic_scores(protocol: str, output: Path) -> dict[str, dict[str, float]]:
    """`degradation_scores` of bicubic enlargement, computed once and kept in a folder."""
    kept = output / f"bicubic_{protocol}.json"
    if not kept.exists():
        atomic_write(kept, json.dumps(degradation_scores(protocol, use_bicubic=True)))
    return json.loads(kept.read_text("utf-8"))


def sharpness(scored: Evaluation) -> dict[str, float]:
    """By degradation, the mean over images of <grad SR, grad HR> / <grad HR, grad HR>, of gray values.

    1 if all edges of HR are as steep in SR. Noise and ringing hardly count, as they do not follow HR.
    """
    found = {}
    for source in scored.sources:
        triplets = [source.read(name) for name in source.names]
        found[source.task.variant] = float(np.mean([shared_gradient(t.sr, t.gt) for t in triplets]))
    return found


def shared_gradient(sr: np.ndarray, hr: np.ndarray) -> float:
    """The share of one image, both H x W x C of any range."""
    ours, true = (np.stack(np.gradient(image.mean(axis=2))) for image in (sr, hr))
    return float((ours * true).sum() / (true * true).sum())


def machine() -> str:
    """The processor's name and what of it a run uses."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else platform.processor()}, {os.environ['OMP_NUM_THREADS']} thread"
