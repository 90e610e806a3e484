"""Scores of a backend on a dataset."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.engine.evaluator import score_dataset
from ppsr.inference.backend import Backend, apply_backend
from ppsr.metrics.scoring import Metric, SetScore

__all__ = ["evaluate_backend"]


def evaluate_backend(
    backend: Backend,
    dataset: Any,
    metrics: Mapping[str, Metric],
    *,
    save_folder: Path | None = None,
    folders: Sequence[Path] = (),
) -> tuple[SetScore, float]:
    """Apply a network to every sample of a dataset and score it, see `score_dataset`.

    Returns:
        The scores, and the seconds of the network.
    """
    seconds = 0.0

    def enlarge(lq: np.ndarray) -> np.ndarray:
        nonlocal seconds
        started = time.perf_counter()
        sr = apply_backend(backend, lq[None])[0]
        seconds += time.perf_counter() - started
        return sr

    score = score_dataset(
        enlarge, dataset, metrics, backend.info.scale, save_folder=save_folder, folders=folders
    )
    return score, seconds
