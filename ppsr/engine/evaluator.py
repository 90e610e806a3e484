"""Validation: every test sample once, however many ranks share the work."""

from __future__ import annotations

import glob
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from ppsr.engine.distributed import Group
from ppsr.generators.apply import evaluating, super_resolve
from ppsr.generators.network_info import network_info
from ppsr.imaging.io import IMAGE_SUFFIXES, to_uint8, write_image
from ppsr.metrics.scoring import (
    FailedImage,
    ImageError,
    ImageTriplet,
    Metric,
    SetScore,
    aligned,
    enlarged,
    score_set,
)
from ppsr.tiling import Tiler, make_tiles

logger = logging.getLogger(__name__)

Write = Callable[[Path, np.ndarray], None]


def validate(
    net: nn.Layer,
    dataset: Any,
    metrics: Mapping[str, Metric],
    group: Group,
    *,
    tile: int = 0,
    on_round: Callable[[], None] = lambda: None,
    **options: Any,
) -> SetScore:
    """Score a network on a dataset with all processes of a group.

    Args:
        net: LR -> SR network; every sublayer keeps the mode it was in.
        tile: side of the tiles in LR pixels that larger images are cut into; 0 never cuts.
        on_round: called by all processes before each round of one sample per process.
        options: other arguments of `DatasetImages`.
    """
    count = len(dataset)

    def before_round(done: int) -> None:
        on_round()
        if group.is_main and done % max(1, count // 10) == 0:
            logger.info("Test iter: [%d/%d]", done, count)

    advice = f"lower validate.tile={tile}" if tile else "set validate.tile=256"
    images = DatasetImages(partial(_enlarged, net, tile=tile), dataset, net.scale, advice=advice, **options)
    with evaluating(net):
        return score_dataset(images, metrics, group=group, on_round=before_round)


def score_dataset(
    images: DatasetImages,
    metrics: Mapping[str, Metric],
    *,
    group: Group | None = None,
    on_round: Callable[[int], None] = lambda done: None,
) -> SetScore:
    """`score_set` of a dataset; samples without a score are logged, and count in no mean."""
    score = score_set(images, metrics, group=group, on_round=on_round)
    for problem in score.problems if group is None or group.rank == 0 else ():
        logger.warning("sample %s is not scored: %s", problem.name, problem.reason)
    return score


@dataclass
class DatasetImages:
    """SR images of a dataset of {lq, gt, lq_path} samples, as `score_set` reads them.

    Attributes:
        enlarge: LR (C, H, W) -> SR (C, scale * H, scale * W), float32 in [0, 1].
        dataset: indexable; a missing `gt` leaves only metrics that need none.
        save_folder: where SR images are written, if at all.
        write: writes one, an HWC uint8 RGB array, to a path.
        folders: data set folders; a sample is named by its path relative to them, see `sample_label`.
        advice: how to take less memory, for the message about an image that does not fit.
    """

    enlarge: Callable[[np.ndarray], np.ndarray]
    dataset: Any
    scale: int
    save_folder: Path | None = None
    write: Write = write_image
    folders: Sequence[Path] = ()
    advice: str = "use a smaller image or more memory"
    problems: Sequence[FailedImage] = ()

    @property
    def names(self) -> Sequence[str]:
        return [f"{index:05d}" for index in range(len(self.dataset))]

    def read(self, name: str) -> ImageTriplet:
        """Enlarge a sample, write the image."""
        sample = self.dataset[int(name)]
        label = sample_label(sample, self.folders) or name
        lq = np.asarray(sample["lq"], np.float32)
        size = f"{label}: {lq.shape[2]} x {lq.shape[1]}"
        return self._compared(enlarged(self.enlarge, lq, size, self.advice), sample, label)

    def _compared(self, sr: np.ndarray, sample: Mapping[str, Any], label: str) -> ImageTriplet:
        image = to_uint8(sr.transpose(1, 2, 0))
        if self.save_folder is not None:
            self.write(self.save_folder / f"{label}.png", image)
        if sample.get("gt") is None:
            return ImageTriplet(None, image, None, label)
        gt = to_uint8(np.asarray(sample["gt"]).transpose(1, 2, 0))
        try:
            return ImageTriplet(None, *aligned(image, gt, self.scale), label)
        except ImageError as error:
            raise ImageError(error.kind, f"{label}: {error}") from None


def _enlarged(net: nn.Layer, lq: np.ndarray, tile: int) -> np.ndarray:
    """SR (C, scale * H, scale * W) float32 of LR (C, H, W), in tiles if one side is larger than `tile`."""
    run = partial(super_resolve, net)
    if not tile or max(lq.shape[1:]) <= tile:
        return _as_array(run(paddle.to_tensor(lq[None])))
    if hasattr(net, "degradation_map"):  # the tiles share what the network predicts from the whole image
        with paddle.no_grad():
            degradation = net.degradation_map(paddle.to_tensor(lq[None])).mean(axis=[2, 3])
        run = paddle.no_grad()(lambda part: net(part, degradation))

    def enlarge(part: np.ndarray) -> np.ndarray:
        return _as_array(run(paddle.to_tensor(part.transpose(2, 0, 1)[None]))).transpose(1, 2, 0)

    info = network_info(net)
    tiler = Tiler(enlarge, info.scale, info.size_multiple, make_tiles(info, tile), retile_on_oom=False)
    return np.concatenate(list(tiler.bands(lq.transpose(1, 2, 0)))).transpose(2, 0, 1)


def _as_array(sr: Tensor) -> np.ndarray:
    return sr.astype("float32").numpy()[0]


def sample_label(sample: Mapping[str, Any], folders: Sequence[Path] = ()) -> str:
    """Name of a sample: its path below the dataset's folder, so that equal names in sub-folders stay apart.

    The suffix is left out, unless another image of its folder differs in the suffix alone. With several
    folders, the folder's own name comes first.

    Args:
        sample: with `lq_path` or `gt_path`, else it has no name.
        folders: data set folders; without them the label is the file name.
    """
    given = sample.get("lq_path") or sample.get("gt_path")
    if not given:
        return ""
    path = Path(str(given))
    folder = next((folder for folder in folders if path.is_relative_to(folder)), path.parent)
    label = path.relative_to(folder)
    if len(folders) > 1 and folder in folders:
        label = folder.name / label
    twins = path.parent.glob(f"{glob.escape(path.stem)}.*")
    alone = sum(twin.suffix.lower() in IMAGE_SUFFIXES for twin in twins) <= 1
    return (label.with_suffix("") if alone else label).as_posix()


def section_folders(section: Mapping[str, Any]) -> tuple[Path, ...]:
    """The folders of a dataset's section below which `sample_label` names samples."""
    given = section.get("lq_folder") or section.get("gt_folder") or []
    return tuple(map(Path, given if isinstance(given, (list, tuple)) else [given]))
