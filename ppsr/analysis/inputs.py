"""Inputs of an analysis: networks with labels, and an image with or without its ground truth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from ppsr.analysis.figures import file_name
from ppsr.analysis.layers import Layers, inspect_layers
from ppsr.config import load_config
from ppsr.degradations.reflash_benchmark import degrade
from ppsr.errors import ConfigError, DataError
from ppsr.files import sha256
from ppsr.imaging.io import read_image, to_uint8
from ppsr.inference.network import load_network
from ppsr.weights.fetch import resolve_weights

__all__ = ["AnalyzedNetwork", "Image", "load_image", "load_networks"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnalyzedNetwork:
    """A network to analyze.

    Attributes:
        origin: files and settings it came from, for the report.
    """

    label: str
    net: nn.Layer
    layers: Layers
    origin: dict[str, Any]


@dataclass(frozen=True)
class Image:
    """An image to look at.

    Attributes:
        lq: (C, H, W) in [0, 1].
        gt: (C, sH, sW) in [0, 1], where it is known.
        origin: files and settings it came from, for the report.
    """

    lq: np.ndarray
    gt: np.ndarray | None
    origin: dict[str, Any]


def load_networks(
    configs: Sequence[Path], loads: Sequence[Path], labels: Sequence[str] = ()
) -> list[AnalyzedNetwork]:
    """Networks by configs and weight files: one config for all files, one file for each config, or as pairs.

    Args:
        configs: training configs; none to infer the networks from the weights.
        loads: weight files, folders of runs, or published names; none for networks as they are initialised.
        labels: names in figures; by default those of the files.

    Raises:
        ConfigError: nothing given, numbers that do not fit, labels that name one file, different scales, or
            as `load_network`.
        WeightError: as `load_network`.
    """
    count = max(len(configs), len(loads))
    if not count:
        raise ConfigError("name the network by --config-file, or give its weights by --load")
    if not {len(configs), len(loads)} <= {0, 1, count}:
        raise ConfigError(
            f"{len(configs)} configs and {len(loads)} weight files are not pairs; give one of one kind"
        )
    if labels and len(labels) != count:
        raise ConfigError(f"{len(labels)} labels for {count} networks")
    sources = [(_one(configs, k), _one(loads, k)) for k in range(count)]
    names = list(labels) or _labels([load if len(loads) == count else config for config, load in sources])
    if len({file_name(name) for name in names}) < count:
        raise ConfigError(
            f"each network needs a label of its own, also as part of a file name; got {', '.join(names)}"
        )
    networks = [_load(name, *source) for name, source in zip(names, sources, strict=True)]
    if len({(s.net.scale, s.layers.in_channels) for s in networks}) > 1:
        found = ", ".join(f"{s.label} x{s.net.scale} {s.layers.in_channels} channels" for s in networks)
        raise ConfigError(f"networks to compare must have the same scale and number of channels, got {found}")
    return networks


def _one(paths: Sequence[Path], index: int) -> Path | None:
    return paths[index if len(paths) > 1 else 0] if paths else None


def _labels(paths: Sequence[Path | None]) -> list[str]:
    """Stems, with the folder where they are alike, with numbers where that is not enough."""
    names = [path.stem if path else "" for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.absolute().parent.name}-{path.stem}" if path else "" for path in paths]
    distinct = len({file_name(name) for name in names}) == len(names)
    return names if distinct else [f"{name}-{k}" for k, name in enumerate(names)]


def _load(label: str, config: Path | None, load: Path | None) -> AnalyzedNetwork:
    load = load and resolve_weights(load)
    net = load_network(config, load)
    if load is None:
        logger.warning("%s has no weights: the network is as initialised, untrained", label)
    layers = inspect_layers(net)
    origin = {
        "label": label,
        "network": type(net).__name__,
        "scale": int(net.scale),
        "config_file": str(config) if config else None,
        "config_sha256": sha256(config) if config else None,
        "model": load_config(config)["model"] if config else None,
        "load": str(load) if load else None,
        "load_sha256": sha256(load) if load else None,
    }
    return AnalyzedNetwork(label, net, layers, origin)


def load_image(
    path: Path,
    network: AnalyzedNetwork,
    *,
    gt: Path | None = None,
    from_hr: bool = False,
    crop: int | None = None,
) -> Image:
    """Read an image for a network.

    Args:
        path: LR image, or HR with `from_hr`.
        from_hr: `path` is HR: cut to a multiple of the scale at the right and below, and shrunk bicubically
            (Pillow, 8 bit), as the published tools do.
        crop: side of the square in the middle of the LR image to look at; None is all of it.

    Raises:
        ConfigError: both a truth and `from_hr`, or a crop below 1.
        DataError: unreadable, smaller than the crop, or sizes that do not fit.
    """
    if gt is not None and from_hr:
        raise ConfigError("with --from-hr the image is its own truth; leave --gt out")
    if crop is not None and crop < 1:
        raise ConfigError(f"a crop must have a side of at least one pixel, got {crop}")
    gray, scale = network.layers.in_channels == 1, int(network.net.scale)
    image = read_image(path, gray=gray)
    truth = image if from_hr else read_image(gt, gray=gray) if gt else None
    height, width = (side // scale if from_hr else side for side in image.shape[:2])
    if truth is not None and (truth.shape[0] // scale, truth.shape[1] // scale) != (height, width):
        raise DataError(f"a truth of {truth.shape[:2]} is not x{scale} of an image of {image.shape[:2]}")
    if crop is not None and crop > min(height, width):
        raise DataError(f"{path}: a crop of {crop} is larger than the LR image of {width} x {height}")
    side_y, side_x = (height, width) if crop is None else (crop, crop)
    top, left = (height - side_y) // 2, (width - side_x) // 2
    if truth is not None:
        truth = truth[top * scale : (top + side_y) * scale, left * scale : (left + side_x) * scale]
    if from_hr and truth is not None:
        eight_bit = np.ascontiguousarray(to_uint8(truth[..., 0] if gray else truth))
        lq = degrade(eight_bit, "bicubic", scale=scale).astype(np.float32) / 255
        lq = lq[..., None] if gray else lq
    else:
        lq = image[top : top + side_y, left : left + side_x]
    origin = {
        "image": str(path),
        "image_sha256": sha256(path),
        "gt": str(gt) if gt else None,
        "gt_sha256": sha256(gt) if gt else None,
        "from_hr": from_hr,
        "crop": crop,
        "lr_size": [side_y, side_x],
    }
    return Image(_channels_first(lq), None if truth is None else _channels_first(truth), origin)


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
