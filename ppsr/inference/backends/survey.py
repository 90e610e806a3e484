"""Which backends are installed for an exported network, which of them are right, and which is fastest."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module, metadata
from typing import Any

from ppsr.errors import ConfigError, DataError, did_you_mean
from ppsr.inference.backends.exported import BackendOptions, Export, ExportedBackend, default_device
from ppsr.inference.backends.probe import Probe, probe
from ppsr.processor import processor_name

__all__ = ["BACKENDS", "backend_class", "fastest", "installed", "recorded_survey", "survey", "survey_record"]

logger = logging.getLogger(__name__)

_CLASSES = {
    "inference": "ppsr.inference.backends.paddle_inference:PaddleInferenceBackend",
    "onnxruntime": "ppsr.inference.backends.onnx_runtime:OnnxRuntimeBackend",
    "openvino": "ppsr.inference.backends.open_vino:OpenVinoBackend",
    "tensorrt": "ppsr.inference.backends.onnx_runtime:TensorRtBackend",
}
BACKENDS = ("auto", "paddle", *_CLASSES)
_PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "onnxruntime-gpu", "openvino")


def backend_class(name: str) -> type[ExportedBackend]:
    """The class of a backend for exported networks.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in _CLASSES:
        raise ConfigError(
            f"no backend '{name}' runs exported networks; {did_you_mean(name, ['auto', *_CLASSES])}"
        )
    module, _, attribute = _CLASSES[name].partition(":")
    return getattr(import_module(module), attribute)


def installed(export: Export, options: BackendOptions) -> list[str]:
    """Backends that this machine and this export have, on the device and in the precision asked for; without
    a device, each on its default."""
    found = ["inference"]
    needs_gpu = options.device is not None and options.on_gpu
    if ".onnx" in export.entries.get("files", {}):
        if importlib.util.find_spec("onnxruntime") is not None:
            import onnxruntime

            providers = onnxruntime.get_available_providers()
            if not needs_gpu or "CUDAExecutionProvider" in providers:
                found.append("onnxruntime")
            if options.on_gpu and "TensorrtExecutionProvider" in providers:
                found.append("tensorrt")
        if not needs_gpu and importlib.util.find_spec("openvino") is not None:
            found.append("openvino")
    return [name for name in found if options.precision in backend_class(name).precisions]


def survey(
    export: Export,
    options: BackendOptions,
    *,
    tolerance: float | None = None,
    names: Sequence[str] | None = None,
) -> list[Probe]:
    """Try every installed backend, or the named ones, each in a process of its own."""
    probes = []
    for name in installed(export, options) if names is None else names:
        found = probe(name, export, options, tolerance=tolerance)
        if found.passed:
            logger.info("%s: %.4f s, error %.1e, %.1f dB", name, found.seconds, found.error, found.psnr)
        else:
            logger.warning("%s: not usable: %s", name, found.reason)
        probes.append(found)
    return probes


def fastest(probes: Sequence[Probe]) -> str:
    """Name of the fastest backend that passed.

    Raises:
        DataError: none did.
    """
    passed = [p for p in probes if p.passed and p.seconds is not None]
    if not passed:
        listed = "; ".join(f"{p.backend}: {p.reason}" for p in probes) or "none is installed"
        raise DataError(f"no backend runs this export: {listed}")
    return min(passed, key=lambda p: p.seconds or 0.0).backend


def survey_record(probes: Sequence[Probe], options: BackendOptions) -> dict[str, Any]:
    """What a facts file keeps of a survey: the results, and the machine they hold for."""
    return {"machine": _machine(options), "probes": [asdict(p) for p in probes]}


def recorded_survey(export: Export, options: BackendOptions) -> list[Probe] | None:
    """The survey in the facts file, if it was made on such a machine with these versions and options."""
    record = export.entries.get("survey") or {}
    if record.get("machine") != _machine(options):
        return None
    return [Probe(**entry) for entry in record["probes"]]


def _machine(options: BackendOptions) -> dict[str, Any]:
    return {
        "processor": processor_name(),
        "device": options.device or default_device(),
        "precision": options.precision,
        "threads": options.cpu_threads,
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
