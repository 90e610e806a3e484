"""OpenVINO, from the ONNX file."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppsr.errors import ConfigError
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend, ordered
from ppsr.inference.exported import Export

__all__ = ["OpenVinoBackend"]

_UNTOUCHED = np.uint32(0x7FC0_BEEF)  # a NaN that no arithmetic makes
_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


class OpenVinoBackend(ExportedBackend):
    """See `ExportedBackend`. Full precision is asked for explicitly: left alone, OpenVINO takes bfloat16
    where the processor has it."""

    name = "openvino"
    precisions = ("fp32", "fp16", "bf16")

    def __init__(self, export: Export, options: BackendOptions) -> None:
        super().__init__(export, options)
        options = self.options
        import openvino

        core = openvino.Core()
        device = f"GPU.{options.gpu_index}" if options.on_gpu else "CPU"
        self._require(core, device, options.precision)
        settings = {"INFERENCE_PRECISION_HINT": _TYPES[options.precision], "PERFORMANCE_HINT": "LATENCY"}
        if not options.on_gpu:
            settings["INFERENCE_NUM_THREADS"] = str(options.cpu_threads)
        graph = export.graph(".onnx", trust=options.trust)
        compiled = core.compile_model(core.read_model(str(graph)), device, settings)
        self._request = compiled.create_infer_request()
        self._inputs = ordered([port.any_name for port in compiled.inputs])
        self._output = compiled.outputs[-1]
        self._result: np.ndarray | None = None

    @staticmethod
    def default_device() -> str:
        """The CPU: a GPU that Paddle finds is none of Intel's."""
        return "cpu"

    @staticmethod
    def _require(core: Any, device: str, precision: str) -> None:
        """The types that a device computes in are known to OpenVINO.

        Raises:
            ConfigError: it lacks this one.
        """
        has = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        if precision.upper() not in has:
            raise ConfigError(f"OpenVINO computes in {', '.join(has)} on this {device}, not in {precision}")

    def _run(self, *inputs: np.ndarray) -> np.ndarray:
        if self._result is not None:
            self._result.view(np.uint32)[...] = _UNTOUCHED
        self._result = self._request.infer(dict(zip(self._inputs, inputs, strict=True)))[self._output]
        # where memory is short OpenVINO may end without a word, and the result of the call before is there
        expected = self._result.shape
        if not self.export.part:
            expected = (*inputs[0].shape[:2], *(side * self.info.scale for side in inputs[0].shape[2:]))
        if self._result.shape != expected or (self._result.view(np.uint32) == _UNTOUCHED).any():
            shape, self._result = self._result.shape, None
            raise MemoryError(f"OpenVINO left a result of shape {shape} behind in place of {expected}")
        # it lies in memory that the next call overwrites
        return self._result.copy()
