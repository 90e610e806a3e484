"""The files of an exported network: found by their common prefix, checked before anything opens them."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ppsr.cache import cache_get, cache_put
from ppsr.errors import ConfigError, DataError
from ppsr.files import sha256
from ppsr.generators.network_info import INFO_SUFFIX, NetworkInfo
from ppsr.inference.export.graph_check import check_graph, unknown_operations

__all__ = [
    "DEGRADATION_NAME",
    "INPUT_NAME",
    "PREDICTOR_PART",
    "REFERENCE_SUFFIX",
    "Export",
    "ReferenceOutputs",
    "Tolerance",
    "compute_reference",
    "example_images",
    "find_export",
    "relative_error",
    "tolerance",
    "without_suffix",
]

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
        """Raises ConfigError for an export that takes images of one size, or a batch of several, alone."""
        if self.shape[0] not in (None, 1) or self.shape[2] is not None or self.shape[3] is not None:
            shape = ", ".join("any" if size is None else str(size) for size in self.shape)
            raise ConfigError(
                f"{self.prefix} was exported for the input shape ({shape}); to upscale images of any size, "
                "export it with open sizes (-1) and any batch, or one of 1"
            )

    @property
    def shape(self) -> Sequence[int | None]:
        """The input shape; None means any size."""
        return self.entries.get("input_shape") or (None, None, None, None)


REFERENCE_SUFFIX = ".reference.npz"
_LARGEST = 2**29  # bytes
Run = Callable[[np.ndarray], np.ndarray]
Shape = Sequence[int | None]
_ANY_SIZE: Shape = (None, None, None, None)


class Tolerance(NamedTuple):
    """Largest error of a backend, relative to the largest expected value, and the reason for it."""

    value: float
    reason: str


# ncnn's Winograd convolutions differed by at most 1.7e-6 for Real-ESRGAN's networks, and 1.5e-6 for 23 blocks
_FLOAT32 = Tolerance(1e-4, "another order of float32 sums stays below 1e-5 in deep networks")
# The other bounds are about ten times what networks of full size showed when the factors (and in float16 and
# bfloat16 the results too) of every product were rounded on a CPU: 1.1e-3, 1.5e-3 and 1.2e-2 for RRDBNet with
# 23 blocks, less for DRCT, HAT, SwinIR, RCAN, DRN-L and SRVGGNet.
_TF32 = Tolerance(1e-2, "by default NVIDIA GPUs since Ampere round the factors of products to 11 bits (TF32)")
_FLOAT16 = Tolerance(2e-2, "float16 keeps 11 bits of every value")
_BFLOAT16 = Tolerance(1e-1, "bfloat16 keeps 8 bits of every value")


def tolerance(backend: str, device: str, precision: str) -> Tolerance:
    """How far a backend on a device ("cpu", "gpu" or "gpu:N") may be from float32 without TF32."""
    if precision == "fp32":  # OpenVINO's GPUs are not NVIDIA's, and full precision is asked for
        return _TF32 if device.startswith("gpu") and backend != "openvino" else _FLOAT32
    return _FLOAT16 if precision == "fp16" else _BFLOAT16


def relative_error(actual: np.ndarray, expected: np.ndarray, rgb_range: float = 1.0) -> float:
    """Largest difference, relative to the largest expected value; infinite for another shape or NaN."""
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return math.inf
    # a network with near-zero outputs must not pass or fail by rounding alone
    scale = max(float(np.abs(expected).max()), 1e-3 * rgb_range)
    return float(np.abs(actual.astype(np.float64) - expected).max()) / scale


@dataclass(frozen=True)
class ReferenceOutputs:
    """Example images and a network's outputs, computed in float32.

    Attributes:
        inputs: (N, C, H, W) float32 in 0..rgb_range, of different N, H and W.
    """

    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]
    rgb_range: float = 1.0

    def compare(self, run: Run) -> tuple[float, float]:
        """How far a function is from the network over all images, each computed once.

        Returns:
            The largest relative error; and the PSNR in dB over all values, both clipped as images are,
            infinite where they agree.
        """
        error, squares, count = 0.0, 0.0, 0
        for x, expected in zip(self.inputs, self.outputs, strict=True):
            actual = run(x)
            error = max(error, relative_error(actual, expected, self.rgb_range))
            if actual.shape == expected.shape:
                clipped = [np.clip(y, 0, self.rgb_range).astype(np.float64) for y in (actual, expected)]
                squares += float(((clipped[0] - clipped[1]) ** 2).sum())
                count += expected.size
        return error, 10 * math.log10(self.rgb_range**2 * count / squares) if squares else math.inf

    def save(self, path: Path) -> None:
        """Write to a .npz file."""
        arrays: dict[str, Any] = {f"inputs{i}": x for i, x in enumerate(self.inputs)}
        arrays |= {f"outputs{i}": y for i, y in enumerate(self.outputs)}
        with path.open("wb") as handle:
            np.savez(handle, rgb_range=np.float32(self.rgb_range), **arrays)

    @classmethod
    def load(cls, path: Path) -> ReferenceOutputs:
        """Read what `save` wrote.

        Raises:
            DataError: missing, damaged, or its arrays take more memory than those of an export.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > _LARGEST:
                raise ValueError(f"its arrays take {size / 1e6:.0f} MB")
            with np.load(path, allow_pickle=False) as arrays:
                count = sum(name.startswith("inputs") for name in arrays)
                inputs, outputs = ([arrays[f"{k}{i}"] for i in range(count)] for k in ("inputs", "outputs"))
                return cls(inputs, outputs, float(arrays["rgb_range"]))
        except (OSError, KeyError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {path}: {error}; export again") from None


def example_images(info: NetworkInfo, shape: Shape = _ANY_SIZE) -> list[np.ndarray]:
    """Two inputs of different batch sizes, heights and widths, where the shape leaves these open.

    Noise on slopes: every frequency, and values over the whole range.
    """
    unit = info.size_multiple
    rng = np.random.default_rng(0)
    images = []
    for n, h, w in ((1, 20, 31), (2, 33, 17)):
        usual = (n, info.channels, -(-h // unit) * unit, -(-w // unit) * unit)
        size = [want if fixed is None else fixed for want, fixed in zip(usual, shape, strict=True)]
        slope = np.linspace(0, 1, size[2])[:, None] * np.linspace(0.2, 1, size[3])
        image = 0.7 * slope + 0.3 * rng.random(size)
        images.append((image * info.rgb_range).astype(np.float32))
    return images


def compute_reference(run: Run, info: NetworkInfo, shape: Shape = _ANY_SIZE) -> ReferenceOutputs:
    """Run the network on the example images.

    Raises:
        DataError: its outputs are not finite.
    """
    inputs = example_images(info, shape)
    outputs = [run(x) for x in inputs]
    if not all(np.isfinite(y).all() for y in outputs):
        raise DataError(f"{info.network} gives values that are not finite; its weights are broken")
    return ReferenceOutputs(inputs, outputs, info.rgb_range)
