"""Opening a backend by name, or the fastest that is installed and right."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from paddle import nn

from ppsr.errors import ConfigError, DataError, did_you_mean
from ppsr.inference import onnx_graph
from ppsr.inference.backends.base import Backend
from ppsr.inference.backends.dygraph import PaddleBackend
from ppsr.inference.backends.exported import BackendOptions, Export, ExportedBackend, computes_bf16
from ppsr.inference.backends.probe import TIMED_SIDE, Probe
from ppsr.inference.backends.survey import BACKENDS, backend_class, fastest, recorded_survey, survey
from ppsr.inference.export import export_network
from ppsr.inference.facts import NetworkFacts
from ppsr.inference.proof import PROOF_SUFFIX, Proof, example_pictures
from ppsr.precision import half_dtype
from ppsr.processor import processor_flags

__all__ = ["open_backend"]

logger = logging.getLogger(__name__)


class _Reduced:
    """A backend of fewer bits, with its full-precision twin, which is opened when it is first needed."""

    def __init__(self, fast: ExportedBackend, open_full: Callable[[], Backend], note: str) -> None:
        self.name: str = fast.name
        self.facts: NetworkFacts = fast.facts
        self.largest_side = fast.largest_side
        self.note = note
        self.temporary_folder: tempfile.TemporaryDirectory | None = None
        self._fast = fast
        self._open_full = open_full
        self._full: Backend | None = None

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        return self._fast.run(*inputs)

    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        return self._fast.degradation_map(x)

    def run_float32(self, *inputs: np.ndarray) -> np.ndarray:
        self._full = self._full or self._open_full()
        return self._full.run(*inputs)


def open_backend(
    source: nn.Layer | str | Path, name: str | None = None, options: BackendOptions | None = None
) -> Backend:
    """Make a network ready to run.

    Args:
        source: a network in dynamic mode, or the prefix or folder of an exported one.
        name: "paddle" runs a network as it is; "inference", "onnxruntime", "openvino" and "tensorrt" run an
            export (a network is exported to a temporary folder first); "auto" takes the fastest that is
            installed and right, and its `note` and the log say which. None: a network as it is, an export by
            "auto".
        options: device, precision, threads.

    Raises:
        ConfigError: unknown name, missing package, or an option that the backend lacks.
        DataError: an incomplete export, or one that this machine computes wrongly.
    """
    options = options or BackendOptions()
    if isinstance(source, nn.Layer):
        options = replace(options, trust=True)  # its graph is made here
    if name is not None and name not in BACKENDS:
        raise ConfigError(f"unknown backend '{name}'; {did_you_mean(name, BACKENDS)}")
    if isinstance(source, nn.Layer):
        return _open_network(source, name or "paddle", options)
    if name == "paddle":
        raise ConfigError(
            "backend paddle runs networks from weights (--load); an export runs on 'inference', which is "
            "Paddle's runtime, or on 'auto'"
        )
    return _open_export(Export(source), name or "auto", options)


def _open_export(export: Export, name: str, options: BackendOptions) -> ExportedBackend | _Reduced:
    options = _safe(options, export.facts)
    note = ""
    if name == "auto":
        probes = recorded_survey(export, options) or survey(export, options)
        name = fastest(probes)
        note = _why(probes)
        logger.info("backend %s: %s", name, note)
    try:
        backend = backend_class(name)(export, options)
    except ImportError as error:
        package = error.name or name
        raise ConfigError(f"backend {name} needs the package {package}: pip install {package}") from None
    proof = Proof.load(export.file(PROOF_SUFFIX))
    loss = f"{options.precision}, {_require_equal(backend, proof):.2f} dB from full precision"
    if options.precision == "fp32":
        backend.note = note
        return backend
    logger.info("backend %s: %s", name, loss)
    full = replace(options, precision="fp32")
    return _Reduced(backend, lambda: _open_export(export, name, full), "; ".join(filter(None, [note, loss])))


def _safe(options: BackendOptions, facts: NetworkFacts) -> BackendOptions:
    """bfloat16 in place of float16 for a network that is not safe in it, where the device has bfloat16; else
    float32."""
    if options.precision != "fp16" or facts.fp16_safe:
        return options
    if options.on_gpu:
        has_bf16 = half_dtype(False, device=f"gpu:{options.gpu_index}") == "bfloat16"
    else:
        has_bf16 = computes_bf16(processor_flags())
    precision = "bf16" if has_bf16 else "fp32"
    log = logger.info if has_bf16 else logger.warning
    log("%s is not safe in float16: it is computed in %s", facts.network, precision)
    return replace(options, precision=precision)


def _why(probes: Sequence[Probe]) -> str:
    """What `auto` found, fastest first."""
    passed = sorted((p for p in probes if p.passed), key=lambda p: p.seconds or 0.0)
    listed = [f"{p.backend} {1000 * (p.seconds or 0.0):.0f} ms" for p in passed]
    listed += [f"{p.backend} not usable" for p in probes if not p.passed]
    return f"the fastest of {', '.join(listed)}"


def _require_equal(backend: ExportedBackend, proof: Proof) -> float:
    """The PSNR of a backend against the network, in dB.

    Raises:
        DataError: its largest error is not tolerable.
    """
    error, psnr = proof.compare(backend.run)
    allowed = backend.tolerance.value
    if not error <= allowed:
        precision = backend.options.precision
        raise DataError(
            f"backend {backend.name} does not compute {backend.facts.network} as it was exported: error "
            f"{error:.1e} of the largest value, {allowed:.0e} is allowed in {precision}; use another backend"
            f"{'' if precision == 'fp32' else ' or --precision fp32'}"
        )
    return psnr


def _open_network(net: nn.Layer, name: str, options: BackendOptions) -> Backend:
    """Export to a temporary folder, which lives as long as the backend."""
    if name == "paddle" and options.precision == "bf16" and not options.on_gpu:
        raise ConfigError("backend paddle computes in fp32 on a CPU; use backend auto for bf16")
    dygraph = PaddleBackend(net, precision=options.precision)
    if name == "paddle":
        return dygraph
    folder = tempfile.TemporaryDirectory(prefix="ppsr-export-")
    started = time.perf_counter()
    export = export_network(
        net, Path(folder.name, "net"), formats=_formats(name), options=options, prove=False
    )
    note = ""
    if name == "auto":
        own = [_time_dygraph(dygraph)] if options.precision == "fp32" or dygraph.dtype != "float32" else []
        probes = [*own, *survey(export, options)]
        name = fastest(probes)
        note = _why(probes)
        logger.info("backend %s: %s", name, note)
        if name == "paddle":
            dygraph.note = note
            return dygraph
    backend = _open_export(export, name, options)
    backend.temporary_folder = folder
    backend.note = "; ".join(filter(None, [note, backend.note]))
    seconds = time.perf_counter() - started
    logger.info("exported for %s in %.1f s; `ppsr export` does this once and for all", name, seconds)
    return backend


def _formats(name: str) -> list[str]:
    """What a backend reads; for "auto", all that can be made here."""
    if name == "inference" or (name == "auto" and onnx_graph.missing_packages()):
        return ["paddle"]
    return ["paddle", "onnx"]


def _time_dygraph(backend: PaddleBackend) -> Probe:
    """As the other backends are timed, but in this process."""
    facts = backend.facts
    side = -(-TIMED_SIDE // facts.size_multiple) * facts.size_multiple
    x = example_pictures(facts, (1, facts.channels, side, side))[0]
    backend.run(x)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        backend.run(x)
        times.append(time.perf_counter() - started)
    return Probe("paddle", error=0.0, seconds=min(times))
