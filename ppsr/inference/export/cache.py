"""Exports that opening a backend made, kept in the user's cache so that later starts need none."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from paddle import nn

from ppsr.cache import cache_folder
from ppsr.errors import DataError
from ppsr.generators.cddnet import BlindSR
from ppsr.generators.network_info import network_info
from ppsr.inference.export.artifact import Export
from ppsr.inference.export.writer import export_network
from ppsr.weights.record import stated_network

logger = logging.getLogger(__name__)

_MOST_BYTES = 2**31  # of all exports; those that were not used for longest go first
_ABANDONED = 24 * 3600  # seconds after which a temporary folder is that of a killed process
_PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "onnxruntime-gpu", "openvino", "ncnn")
_CONVERTERS = ("paddle2onnx", "onnxslim")


def versions() -> dict[str, str]:
    """The installed versions of everything that a graph and its speed depend on."""
    found = {"ppsr": _own_code()}
    for name in (*_PACKAGES, *_CONVERTERS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _own_code() -> str:
    """Digest of ppsr's source, which a checkout changes without a new version."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[2].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_place(net: nn.Layer, formats: Sequence[str]) -> Path | None:
    """The folder for the export of a network with its present weights.

    None where the arguments of its constructor are unknown, or where a layer is neither ppsr's nor Paddle's:
    the code of third-party layers is no part of the key.

    Args:
        formats: see `export_network`.
    """
    stated = [
        stated_network(part)
        for part in ([net.generator, net.predictor] if isinstance(net, BlindSR) else [net])
    ]
    own = all(type(part).__module__.startswith(("ppsr.", "paddle.")) for part in net.sublayers(True))
    if None in stated or not own:
        return None
    facts = [stated, asdict(network_info(net)), list(formats), versions()]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for key, tensor in net.state_dict().items():
        value = tensor.numpy()
        digest.update(f"{key}{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    return cache_folder() / "exports" / digest.hexdigest()[:32]


def find_cached(place: Path | None) -> Export | None:
    """The export of an earlier start."""
    try:
        if place is None:
            return None
        export = Export(place)
        os.utime(place)
    except (DataError, OSError):
        return None
    return export


def make_export(
    net: nn.Layer, formats: Sequence[str], place: Path | None
) -> tuple[Export, tempfile.TemporaryDirectory | None]:
    """Export a network, to be kept in a place of `cache_place` if the disk allows it.

    Returns:
        The export, and the temporary folder of one that is not kept.

    Raises:
        ExportError, ConfigError: as `export_network`.
    """
    try:
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".export-", dir=place and place.parent)
    except OSError as error:
        logger.debug("exports are not kept: %s", error)
        place, temporary = None, tempfile.TemporaryDirectory(prefix="ppsr-export-")
    made = Path(temporary.name, "made")
    export = export_network(net, made / "net", formats=formats, verify=())
    if place is None or export.unknown_operations():
        return export, temporary
    shutil.rmtree(place, ignore_errors=True)
    try:
        made.rename(place)
    except OSError as error:  # another process was faster
        logger.debug("the export is not kept: %s", error)
        return export, temporary
    temporary.cleanup()
    _remove_oldest(place)
    return Export(place), None


def _remove_oldest(kept: Path) -> None:
    """Keep the folder of exports within its size, and free of what killed processes left."""
    total = 0
    for folder in sorted(kept.parent.iterdir(), key=lambda path: -path.stat().st_mtime):
        age = time.time() - folder.stat().st_mtime
        total += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if folder != kept and (age > _ABANDONED if folder.name.startswith(".") else total > _MOST_BYTES):
            shutil.rmtree(folder, ignore_errors=True)
