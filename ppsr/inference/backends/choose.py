"""Opening a backend by name, or the fastest that is installed and right."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from paddle import nn

from ppsr.errors import ConfigError, DataError, did_you_mean
from ppsr.inference import onnx_graph
from ppsr.inference.backends.base import Backend
from ppsr.inference.backends.dygraph import PaddleBackend
from ppsr.inference.backends.exported import BackendOptions, Export, ExportedBackend
from ppsr.inference.backends.probe import Probe
from ppsr.inference.backends.survey import BACKENDS, backend_class, fastest, recorded_survey, survey
from ppsr.inference.export import export_network
from ppsr.inference.facts import NetworkFacts
from ppsr.inference.proof import PROOF_SUFFIX, TOLERANCE, Proof, example_pictures

__all__ = ["open_backend"]

logger = logging.getLogger(__name__)

_TIMED_SIDE = 48


class _Reduced:
    """A backend of fewer bits, with its full-precision twin, which is opened when it is first needed."""

    def __init__(self, fast: ExportedBackend, open_full: Callable[[], Backend]) -> None:
        self.name: str = fast.name
        self.facts: NetworkFacts = fast.facts
        self._fast = fast
        self._open_full = open_full
        self._full: Backend | None = None

    def run(self, x: np.ndarray) -> np.ndarray:
        return self._fast.run(x)

    def run_float32(self, x: np.ndarray) -> np.ndarray:
        self._full = self._full or self._open_full()
        return self._full.run(x)


def open_backend(
    source: nn.Layer | str | Path, name: str = "auto", options: BackendOptions | None = None
) -> Backend:
    """Make a network ready to run.

    Args:
        source: a network in dynamic mode, or the prefix of an exported one.
        name: "paddle" runs a network as it is; "inference", "onnxruntime", "openvino" and "tensorrt" run an
            export (a network is exported to a temporary folder first); "auto" takes the fastest that is
            installed and right, and logs which.
        options: device, precision, threads.

    Raises:
        ConfigError: unknown name, missing package, or an option that the backend lacks.
        DataError: an incomplete export, or one that this machine computes wrongly.
    """
    options = options or BackendOptions()
    if name not in BACKENDS:
        raise ConfigError(f"unknown backend '{name}'; {did_you_mean(name, BACKENDS)}")
    if isinstance(source, nn.Layer):
        return _open_network(source, name, options)
    if name == "paddle":
        raise ConfigError(
            "backend paddle runs networks from weights (--load); an export runs on 'inference', which is "
            "Paddle's runtime, or on 'auto'"
        )
    return _open_export(Export(source), name, options)


def _open_export(export: Export, name: str, options: BackendOptions) -> Backend:
    if name == "auto":
        probes = recorded_survey(export, options) or survey(export, options)
        name = fastest(probes)
        logger.info("backend %s is the fastest of %s", name, ", ".join(p.backend for p in probes))
    try:
        backend = backend_class(name)(export, options)
    except ImportError as error:
        package = error.name or name
        raise ConfigError(f"backend {name} needs the package {package}: pip install {package}") from None
    proof = Proof.load(export.file(PROOF_SUFFIX))
    if options.precision == "fp32":
        _require_equal(backend, proof)
        return backend
    psnr = proof.psnr(backend.run)
    logger.info("%s in %s: %.2f dB from the full precision", name, options.precision, psnr)
    return _Reduced(backend, lambda: _open_export(export, name, replace(options, precision="fp32")))


def _require_equal(backend: ExportedBackend, proof: Proof) -> None:
    error = proof.error(backend.run)
    if not error <= TOLERANCE:
        raise DataError(
            f"backend {backend.name} does not compute {backend.facts.network} as it was exported: error "
            f"{error:.1e} of the largest value, {TOLERANCE:.0e} is allowed; use another backend"
        )


def _open_network(net: nn.Layer, name: str, options: BackendOptions) -> Backend:
    """Export to a temporary folder, which lives as long as the backend."""
    dygraph = PaddleBackend(net, half=options.precision == "fp16")
    if name == "paddle":
        return dygraph
    formats = ["paddle"]
    if name in ("onnxruntime", "openvino", "tensorrt") or (
        name == "auto" and not onnx_graph.missing_packages()
    ):
        formats.append("onnx")
    folder = tempfile.TemporaryDirectory(prefix="ppsr-export-")
    started = time.perf_counter()
    export = export_network(net, Path(folder.name, "net"), formats=formats, options=options, prove=False)
    if name == "auto":
        probes = [_time_dygraph(dygraph), *survey(export, options)]
        name = fastest(probes)
        logger.info("backend %s is the fastest of %s", name, ", ".join(p.backend for p in probes))
        if name == "paddle":
            return dygraph
    backend = _open_export(export, name, options)
    backend.temporary_folder = folder  # type: ignore[attr-defined]
    logger.info(
        "%s was exported for %s in %.1f s; `ppsr export` does this once and for all",
        backend.facts.network,
        name,
        time.perf_counter() - started,
    )
    return backend


def _time_dygraph(backend: PaddleBackend) -> Probe:
    """As the other backends are timed, but in this process."""
    facts = backend.facts
    side = -(-_TIMED_SIDE // facts.size_multiple) * facts.size_multiple
    x = example_pictures(facts, (1, facts.channels, side, side))[0]
    backend.run(x)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        backend.run(x)
        times.append(time.perf_counter() - started)
    return Probe("paddle", error=0.0, seconds=min(times))
