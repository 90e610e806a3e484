"""Validation: every test sample once, however many ranks share the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppsr.engine.distributed import Group
from ppsr.generators.apply import evaluating, super_resolve
from ppsr.imaging.io import to_uint8, write_image
from ppsr.metrics.scoring import Metric, PictureError, Problem, SetScore, Triple, aligned, score_set

__all__ = ["compared", "validate"]

logger = logging.getLogger(__name__)

Write = Callable[[Path, np.ndarray], None]


def validate(
    net: nn.Layer,
    dataset: Any,
    metrics: Mapping[str, Metric],
    group: Group,
    *,
    save_folder: Path | None = None,
    write: Write = write_image,
) -> SetScore:
    """Score a network on a dataset of {lq, gt, lq_path} samples (CHW float32 in [0, 1]).

    A sample that cannot be read has no score; it is logged, and counts in no mean.

    Args:
        net: LR -> SR network; every sublayer keeps the mode it was in.
        dataset: indexable; a missing `gt` leaves only metrics that need none.
        metrics: name -> function of two HWC uint8 RGB pictures.
        group: processes that share the work.
        save_folder: where SR pictures are written, if at all.
        write: writes one, an HWC uint8 RGB array, to a path.
    """
    count = len(dataset)

    def tell(done: int) -> None:
        if group.is_main and done % max(1, count // 10) == 0:
            logger.info("Test iter: [%d/%d]", done, count)

    samples = _Samples(net, dataset, count, save_folder, write)
    with evaluating(net):
        score = score_set(samples, metrics, group=group, on_round=tell)
    for problem in score.problems if group.is_main else ():
        logger.warning("sample %s is not scored: %s", problem.name, problem.reason)
    return score


class _Samples:
    """The samples of a dataset, enlarged by a network."""

    problems: Sequence[Problem] = ()

    def __init__(
        self, net: nn.Layer, dataset: Any, count: int, save_folder: Path | None, write: Write
    ) -> None:
        self.net = net
        self.dataset = dataset
        self.names = [f"{index:05d}" for index in range(count)]
        self.save_folder = save_folder
        self.write = write

    def read(self, name: str) -> Triple:
        """Enlarge a sample, write the picture.

        Raises:
            DataError: it is unreadable.
        """
        sample = self.dataset[int(name)]
        sr = super_resolve(self.net, paddle.to_tensor(np.asarray(sample["lq"])[None]))
        picture = sr.astype("float32").numpy()[0]
        return compared(picture, sample, self.net.scale, self.save_folder, name, self.write)


def compared(
    sr: np.ndarray,
    sample: Mapping[str, Any],
    scale: int,
    save_folder: Path | None,
    name: str,
    write: Write = write_image,
) -> Triple:
    """What is scored of a sample; its picture is written if there is a folder.

    Args:
        sr: CHW float32 in [0, 1].
        sample: with `gt`, whose up to scale - 1 rows and columns beyond SR do not count, or without.
        scale: SR size / LR size.
        save_folder: for the picture.
        name: of the picture where the sample knows no path.
        write: as in `validate`.

    Raises:
        PictureError: `gt` has another size.
    """
    picture = to_uint8(sr.transpose(1, 2, 0))
    stem = Path(str(sample.get("lq_path") or sample.get("gt_path") or name)).stem
    if save_folder is not None:
        write(save_folder / f"{stem}.png", picture)
    if sample.get("gt") is None:
        return Triple(None, picture, None, stem)
    gt = to_uint8(np.asarray(sample["gt"]).transpose(1, 2, 0))
    try:
        return Triple(None, *aligned(picture, gt, scale), stem)
    except PictureError as error:
        raise PictureError(error.kind, f"{stem}: {error}") from None
