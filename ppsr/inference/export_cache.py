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
from typing import Any

import numpy as np
from paddle import nn

from ppsr.errors import DataError
from ppsr.files import cache_folder
from ppsr.generators.cddnet import BlindSR
from ppsr.inference.export import export_network
from ppsr.inference.exported import Export
from ppsr.inference.network_info import network_info
from ppsr.weights.record import stated_network

__all__ = ["ExportCache", "versions"]

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
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class ExportCache:
    """The export of one network with its present weights.

    Args:
        net: in dynamic mode. It is kept if all its layers are ppsr's and Paddle's, as the code of others may
            change unnoticed.
        formats: see `export_network`.

    Attributes:
        folder: folder of the export; None if it is not cached.
    """

    def __init__(self, net: nn.Layer, formats: Sequence[str]) -> None:
        self.net, self.formats = net, formats
        self.folder: Path | None = None
        arguments = _arguments(net)
        own = all(type(part).__module__.startswith(("ppsr.", "paddle.")) for part in net.sublayers(True))
        if arguments is None or not own:
            return
        digest = hashlib.sha256()
        facts = [arguments, asdict(network_info(net)), list(formats), versions()]
        digest.update(json.dumps(facts, sort_keys=True).encode())
        for key, tensor in net.state_dict().items():
            value = tensor.numpy()
            digest.update(f"{key}{value.dtype}{value.shape}".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        self.folder = cache_folder() / "exports" / digest.hexdigest()[:32]

    def find(self) -> Export | None:
        """The export of an earlier start."""
        if self.folder is None:
            return None
        try:
            export = Export(self.folder)
            os.utime(self.folder)
        except (DataError, OSError):
            return None
        return export

    def make(self) -> tuple[Export, tempfile.TemporaryDirectory | None]:
        """Export the network; returns also the temporary folder of an export that is not kept.

        Raises:
            ExportError, ConfigError: as `export_network`.
        """
        root = None if self.folder is None else self.folder.parent
        try:
            if root is not None:
                root.mkdir(parents=True, exist_ok=True)
            temporary = tempfile.TemporaryDirectory(prefix=".export-", dir=root)
        except OSError as error:
            logger.debug("exports are not kept: %s", error)
            self.folder, temporary = None, tempfile.TemporaryDirectory(prefix="ppsr-export-")
        made = Path(temporary.name, "made")
        export = export_network(self.net, made / "net", formats=self.formats, verify=())
        if self.folder is None or export.unknown_operations():
            return export, temporary
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            made.rename(self.folder)
        except OSError as error:  # another process was faster
            logger.debug("the export is not kept: %s", error)
            return export, temporary
        temporary.cleanup()
        _remove_oldest(self.folder)
        return Export(self.folder), None


def _arguments(net: nn.Layer) -> Any:
    """The constructor arguments of a network that was built by its name; None where they are unknown."""
    stated = stated_network(net)
    if stated is None and isinstance(net, BlindSR):
        parts = [stated_network(net.generator), stated_network(net.predictor)]
        return None if None in parts else parts
    return stated


def _remove_oldest(kept: Path) -> None:
    """Keep the folder of exports within its size, and free of what killed processes left."""
    total = 0
    for folder in sorted(kept.parent.iterdir(), key=lambda path: -path.stat().st_mtime):
        age = time.time() - folder.stat().st_mtime
        total += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if folder != kept and (age > _ABANDONED if folder.name.startswith(".") else total > _MOST_BYTES):
            shutil.rmtree(folder, ignore_errors=True)
