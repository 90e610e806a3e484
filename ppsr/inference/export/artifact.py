"""The files of an exported network: found by their common prefix, checked before anything opens them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

from ppsr.cache import cache_get, cache_put
from ppsr.errors import ConfigError, DataError
from ppsr.files import sha256
from ppsr.generators.network_info import INFO_SUFFIX, NetworkInfo
from ppsr.inference.export.graph_check import check_graph, unknown_operations

__all__ = ["DEGRADATION_NAME", "INPUT_NAME", "PREDICTOR_PART", "Export", "find_export", "without_suffix"]

INPUT_NAME = "image"
DEGRADATION_NAME = "degradation"  # second input of networks that are steered by degradation parameters
PREDICTOR_PART = ".predictor"  # between the prefix and the suffixes of the graph of degradation parameters
_MADE_HERE = "exports.json"
_FILE_SUFFIXES = (INFO_SUFFIX, ".json", ".pdmodel", ".pdiparams", ".onnx", ".ncnn.param", ".ncnn.bin")


def find_export(given: Path) -> Path | None:
    """The prefix of the export that a path means, if any.

    Args:
        given: path without suffixes, one of the files, or a folder that holds a single export.
    """
    if given.is_dir():
        found = [p.with_name(p.name.removesuffix(INFO_SUFFIX)) for p in given.glob(f"*{INFO_SUFFIX}")]
        return found[0] if len(found) == 1 else None
    for suffix in ("", *_FILE_SUFFIXES):
        name = given.name.removesuffix(suffix) if given.name.endswith(suffix) else ""
        if name and given.with_name(name + INFO_SUFFIX).is_file():
            return given.with_name(name)
    return None


def without_suffix(path: Path) -> Path:
    """The prefix of an export to be made, where the name of one of its files is given."""
    found = next((suffix for suffix in _FILE_SUFFIXES if path.name.endswith(suffix)), "")
    return path.with_name(path.name.removesuffix(found) or path.name)


class Export:
    """The files of an exported network, found by their common prefix.

    Args:
        prefix: path without suffixes, one of the files, or a folder that holds a single export.

    Attributes:
        entries: what else the file of these states.

    Raises:
        DataError: incomplete or altered.
    """

    def __init__(self, prefix: str | Path) -> None:
        found = find_export(Path(prefix))
        if found is None:
            raise DataError(
                f"{prefix} is neither a folder with a single export nor the prefix of a complete one: a file "
                f"{Path(prefix).name}{INFO_SUFFIX} belongs to it; make one with `ppsr export`"
            )
        self.prefix = found
        self.part = ""
        self.info, self.entries = NetworkInfo.read(self.path(INFO_SUFFIX))

    def path(self, suffix: str) -> Path:
        """The file of this suffix."""
        return self.prefix.with_name(self.prefix.name + self.part + suffix)

    def predictor(self) -> Export:
        """The graph that maps an image to the map of its degradation parameters, as an export of its own."""
        predictor = copy(self)
        predictor.part = PREDICTOR_PART
        predictor.info = replace(self.info, degradation_params=0)
        return predictor

    def file(self, *suffixes: str) -> Path:
        """The first of some files that belongs to the export, checked against its digest.

        Raises:
            DataError: it has none of them, or another file took its place.
        """
        known = self.entries.get("files", {})
        for suffix in suffixes:
            if self.part + suffix in known:
                path = self.path(suffix)
                if not path.is_file() or sha256(path) != known[self.part + suffix]:
                    raise DataError(f"{path} is missing or not the file that was exported; export again")
                return path
        raise DataError(
            f"{self.prefix} was exported without {' or '.join(suffixes)}; export again with `--formats`"
        )

    def graph(self, *suffixes: str, trust: bool) -> Path:
        """`file` of a graph, checked before a runtime may open it.

        Args:
            suffixes: as in `file`.
            trust: leave out the check of its operations.

        Raises:
            DataError: as `file`, or an operation is not known to only compute.
        """
        path = self.file(*suffixes)
        if not trust:
            check_graph(path)
        return path

    def unknown_operations(self) -> list[str]:
        """Operations of its graphs that are not known to only compute."""
        files = self.entries.get("files", {})
        graphs = [self.path(suffix) for suffix in files if suffix.endswith((".json", ".pdmodel", ".onnx"))]
        return sorted({name for graph in graphs for name in unknown_operations(graph)})

    @property
    def made_here(self) -> bool:
        """Whether ppsr made these very files on this machine, for this user."""
        return self._digests() in cache_get(_MADE_HERE)

    def remember(self) -> None:
        """Note in the user's cache that it was made here."""
        cache_put(_MADE_HERE, self._digests(), True)

    def _digests(self) -> str:
        return json.dumps(self.entries.get("files"), sort_keys=True)

    def require_open_sizes(self) -> None:
        """Raises ConfigError for an export that takes images of one size alone."""
        if self.shape[2] is not None or self.shape[3] is not None:
            raise ConfigError(
                f"{self.prefix} was exported for the input shape {list(self.shape)}; to upscale images of "
                "any size, export it with open sizes (-1)"
            )

    @property
    def shape(self) -> Sequence[int | None]:
        """The input shape; None means any size."""
        return self.entries.get("input_shape") or (None, None, None, None)
