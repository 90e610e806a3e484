"""OpenVINO, from the ONNX file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppsr.errors import ConfigError
from ppsr.inference.backends.exported import BackendOptions, Export, ExportedBackend

__all__ = ["OpenVinoBackend"]

_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


class OpenVinoBackend(ExportedBackend):
    """See `ExportedBackend`. Full precision is asked for explicitly: left alone, OpenVINO takes bfloat16
    where the processor has it."""

    name = "openvino"
    precisions = ("fp32", "fp16", "bf16")

    def __init__(self, export: Export, options: BackendOptions) -> None:
        super().__init__(export, options)
        import openvino

        core = openvino.Core()
        device = f"GPU.{options.gpu_index}" if options.on_gpu else "CPU"
        self._require(core, device, options.precision)
        settings = {"INFERENCE_PRECISION_HINT": _TYPES[options.precision], "PERFORMANCE_HINT": "LATENCY"}
        if not options.on_gpu:
            settings["INFERENCE_NUM_THREADS"] = str(options.cpu_threads)
        compiled = core.compile_model(core.read_model(str(export.file(".onnx"))), device, settings)
        self._request = compiled.create_infer_request()
        self._output = compiled.outputs[-1]

    @staticmethod
    def _require(core: Any, device: str, precision: str) -> None:
        """The types that a device computes in are known to OpenVINO.

        Raises:
            ConfigError: it lacks this one.
        """
        has = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        if precision.upper() not in has:
            raise ConfigError(f"OpenVINO computes in {', '.join(has)} on this {device}, not in {precision}")

    def _run(self, x: np.ndarray) -> np.ndarray:
        # the result lies in memory that the next call overwrites
        return self._request.infer({0: x})[self._output].astype(np.float32)
