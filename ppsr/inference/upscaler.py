"""Upscaling pictures with a network."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from tqdm import tqdm

from ppsr.errors import DataError
from ppsr.files import atomic_write
from ppsr.generators.apply import super_resolve
from ppsr.imaging.io import list_images, read_image, to_uint8, write_image

__all__ = ["Upscaler", "upscale_files"]

logger = logging.getLogger(__name__)


class Upscaler:
    """A network with the steps around it.

    Args:
        net: LR -> SR network in evaluation mode.
    """

    def __init__(self, net: nn.Layer) -> None:
        self.net = net
        self.scale = int(net.scale)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """H x W x 3 RGB float32 in [0, 1] -> scale times that size, clipped to [0, 1].

        Raises:
            DataError: the network gave NaN or infinity.
        """
        lq = paddle.to_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32))
        sr = super_resolve(self.net, lq).numpy()[0].transpose(1, 2, 0)
        if not np.isfinite(sr).all():
            raise DataError("the network gave values that are not finite; its weights are broken")
        return np.clip(sr, 0, 1)


def upscale_files(
    upscaler: Upscaler, source: Path, target: Path, *, suffix: str = "", extension: str = "png"
) -> list[dict[str, object]]:
    """Upscale a picture or every picture of a folder.

    Args:
        upscaler: what to apply.
        source: file or folder.
        target: folder, or a file name for a single picture.
        suffix: appended to the names.
        extension: format of the results in a folder.

    Returns:
        One report per picture: path, status (ok or error), reason, output, seconds. A bad file stops
        nothing. The same
        lines are written to `report.jsonl` in the target folder.

    Raises:
        DataError: nothing to do.
    """
    pictures = list_images(source) if source.is_dir() else [source]
    if not pictures:
        raise DataError(f"{source} holds no pictures")
    single = not source.is_dir() and target.suffix != ""
    names = _outputs(pictures, target, suffix, extension, single=single)
    reports = []
    for path, output in zip(tqdm(pictures, unit="picture", disable=None), names, strict=True):
        started = time.perf_counter()
        report: dict[str, object] = {"path": str(path), "status": "ok", "output": str(output)}
        try:
            write_image(output, to_uint8(upscaler(read_image(path))))
        except DataError as error:
            report.update(status="error", reason=str(error))
            logger.error("%s: %s", path, error)
        report["seconds"] = round(time.perf_counter() - started, 3)
        reports.append(report)
    folder = target.parent if single else target
    atomic_write(folder / "report.jsonl", "".join(json.dumps(line) + "\n" for line in reports))
    return reports


def _outputs(
    pictures: Sequence[Path], target: Path, suffix: str, extension: str, *, single: bool
) -> list[Path]:
    """Where each result goes; inputs that differ in their format only keep it in the name."""
    if single:
        return [target]
    stems = [p.stem for p in pictures]
    return [
        target / f"{p.stem if stems.count(p.stem) == 1 else p.name}{suffix}.{extension.lstrip('.')}"
        for p in pictures
    ]
