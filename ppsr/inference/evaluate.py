"""Scores of a backend on a dataset, in batches of pictures of one size."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.engine.evaluator import compared
from ppsr.inference.backends.base import Backend, super_resolve
from ppsr.metrics.scoring import Metric, SetScore, score_picture

__all__ = ["Scores", "evaluate_backend"]


@dataclass(frozen=True)
class Scores:
    """Means of the metrics, empty without ground truth, and the seconds spent in the network."""

    mean: dict[str, float]
    seconds: float


def evaluate_backend(
    backend: Backend,
    dataset: Any,
    metrics: Mapping[str, Metric],
    *,
    batch_size: int = 1,
    save_folder: Path | None = None,
) -> Scores:
    """Apply a network to every sample of {lq, gt, lq_path} (CHW float32 in [0, 1]) and score it.

    Args:
        backend: the network.
        dataset: indexable; a missing `gt` leaves only metrics that need none.
        metrics: name -> function of two HWC uint8 RGB pictures.
        batch_size: largest number of neighbouring samples of one size that run together.
        save_folder: where SR pictures are written, if at all.
    """
    score = SetScore("", "")
    seconds, index = 0.0, 0
    for batch in _batches(dataset, batch_size):
        lq = np.stack([np.asarray(sample["lq"], np.float32) for sample in batch])
        started = time.perf_counter()
        pictures = super_resolve(backend, lq)
        seconds += time.perf_counter() - started
        for sample, sr in zip(batch, pictures, strict=True):
            name = f"{index:05d}"
            read = partial(compared, sr, sample, backend.facts.scale, save_folder, name)
            score_picture(score, name, read, metrics)
            index += 1
    return Scores(score.means, seconds)


def _batches(dataset: Any, size: int) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for index in range(len(dataset)):
        sample = dataset[index]
        if batch and (len(batch) == size or np.shape(sample["lq"]) != np.shape(batch[0]["lq"])):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch
