"""Scores of a backend on a dataset, in batches of images of one size."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.engine.evaluator import compared, sample_label
from ppsr.errors import DataError
from ppsr.inference.backends.base import Backend, apply_backend
from ppsr.memory import is_out_of_memory, release_memory
from ppsr.metrics.scoring import FailedImage, Metric, SetScore, score_image

__all__ = ["Scores", "evaluate_backend"]

logger = logging.getLogger(__name__)

Sample = tuple[str, Mapping[str, Any]]  # its number as text, and the images


@dataclass(frozen=True)
class Scores:
    """Scores of the images, without metrics where there is no ground truth, and seconds of the network."""

    images: SetScore
    seconds: float


def evaluate_backend(
    backend: Backend,
    dataset: Any,
    metrics: Mapping[str, Metric],
    *,
    batch_size: int = 1,
    save_folder: Path | None = None,
    folders: Sequence[Path] = (),
) -> Scores:
    """Apply a network to every sample of {lq, gt, lq_path} (CHW float32 in [0, 1]) and score it.

    A sample that cannot be read or compared, or does not fit into memory, has no score; it is logged, and
    counts in no mean.

    Args:
        backend: the network.
        dataset: indexable; a missing `gt` leaves only metrics that need none.
        metrics: name -> function of two HWC uint8 RGB images.
        batch_size: largest number of neighbouring samples of one size that run together.
        save_folder: where SR images are written, if at all.
        folders: of the dataset; a sample is named by its path below them.
    """
    score, seconds = SetScore("", ""), 0.0
    for batch in _batches(_readable(dataset, score), batch_size):
        lq = np.stack([np.asarray(sample["lq"], np.float32) for _, sample in batch])
        started = time.perf_counter()
        images = _computed(backend, lq)
        if images is None:
            release_memory()  # after the traceback, which holds the arrays, is gone
            reason = f"{lq.shape[3]} x {lq.shape[2]} pixels in a batch of {len(lq)} do not fit into memory"
            score.problems += [FailedImage(name, "out of memory", reason) for name, _ in batch]
            continue
        seconds += time.perf_counter() - started
        for (name, sample), sr in zip(batch, images, strict=True):
            label = sample_label(sample, folders) or name
            read = partial(compared, sr, sample, backend.info.scale, save_folder, label)
            score_image(score, name, read, metrics)
    for problem in score.problems:
        logger.warning("sample %s is not scored: %s", problem.name, problem.reason)
    return Scores(score, seconds)


def _computed(backend: Backend, lq: np.ndarray) -> np.ndarray | None:
    """SR of a batch; None where memory is short for it."""
    try:
        return apply_backend(backend, lq)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def _readable(dataset: Any, score: SetScore) -> Iterator[Sample]:
    """The samples; those that cannot be read become problems of the score."""
    for index in range(len(dataset)):
        name = f"{index:05d}"
        try:
            sample = dataset[index]
        except DataError as error:
            score.problems.append(FailedImage(name, "not scored", str(error)))
        else:
            yield name, sample


def _batches(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for name, sample in samples:
        if batch and (len(batch) == size or np.shape(sample["lq"]) != np.shape(batch[0][1]["lq"])):
            yield batch
            batch = []
        batch.append((name, sample))
    if batch:
        yield batch
