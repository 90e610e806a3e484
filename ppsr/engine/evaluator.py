"""Validation: every test sample once, however many ranks share the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppsr.engine.distributed import Group
from ppsr.generators.apply import super_resolve
from ppsr.imaging.io import to_uint8, write_image

__all__ = ["score_picture", "validate"]

logger = logging.getLogger(__name__)


def validate(
    net: nn.Layer,
    dataset: Any,
    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], float]],
    group: Group,
    *,
    save_folder: Path | None = None,
    limit: int | None = None,
) -> dict[str, float]:
    """Mean of each metric over a dataset of {lq, gt, lq_path} samples (CHW float32 in [0, 1]).

    Each round gives every rank one picture and ends in a reduction, so that no rank waits long for another.

    Args:
        net: LR -> SR network; it is left in the mode it was in.
        dataset: indexable; a missing `gt` yields pictures but no scores.
        metrics: name -> function of two HWC uint8 RGB pictures.
        group: processes that share the work.
        save_folder: where SR pictures are written, if at all.
        limit: number of samples to use.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    was_training = net.training
    net.eval()
    totals = np.zeros(len(metrics) + 1)
    for first in range(0, count, group.world):
        index = first + group.rank
        row = [0.0] * len(totals)
        if index < count:
            row = _score(net, dataset[index], metrics, save_folder, index)
        totals += group.sum(row)
        if group.is_main and first % max(1, count // 10) == 0:
            logger.info("Test iter: [%d/%d]", first, count)
    if was_training:
        net.train()
    if not totals[-1]:
        return {}
    return {name: float(total / totals[-1]) for name, total in zip(metrics, totals[:-1], strict=True)}


def _score(
    net: nn.Layer,
    sample: Mapping[str, Any],
    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], float]],
    save_folder: Path | None,
    index: int,
) -> list[float]:
    sr = super_resolve(net, paddle.to_tensor(np.asarray(sample["lq"])[None]))
    return score_picture(sr.numpy()[0], sample, metrics, save_folder, index)


def score_picture(
    sr: np.ndarray,
    sample: Mapping[str, Any],
    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], float]],
    save_folder: Path | None,
    index: int,
) -> list[float]:
    """The metrics of one SR picture (CHW float32 in [0, 1]), then 1 if its sample has a ground truth."""
    picture = to_uint8(sr.transpose(1, 2, 0))
    if save_folder is not None:
        stem = Path(str(sample.get("lq_path") or sample.get("gt_path") or f"{index:05d}")).stem
        write_image(save_folder / f"{stem}.png", picture)
    if sample.get("gt") is None:
        return [0.0] * (len(metrics) + 1)
    gt = to_uint8(np.asarray(sample["gt"]).transpose(1, 2, 0))
    gt = gt[: picture.shape[0], : picture.shape[1]]
    return [*(float(metric(picture, gt)) for metric in metrics.values()), 1.0]
