"""OpenVINO, from the ONNX file."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ppsr.errors import ConfigError
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.export.artifact import INPUT_NAME, Export

_UNTOUCHED = np.uint32(0x7FC0_BEEF)  # a NaN that no arithmetic makes
_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}


@cache
def _core() -> Any:
    """One for the whole process.

    Each sets a stack for the handlers of signals and gives the one before back at its end. Several that end
    in another order leave one that is freed, and the next signal that Python handles ends the process.
    """
    import openvino

    return openvino.Core()


class OpenVinoBackend(ExportedBackend):
    """See `ExportedBackend`. Full precision is asked for explicitly: left alone, OpenVINO takes bfloat16
    where the processor has it."""

    name = "openvino"
    package = "openvino"
    precisions = ("fp32", "fp16", "bf16")

    @classmethod
    def uses_gpu(cls) -> bool:
        """No: a GPU that Paddle finds is not one of Intel's."""
        return False

    def __init__(self, export: Export, options: BackendOptions) -> None:
        super().__init__(export, options)
        options, core = self.options, _core()
        device = f"GPU.{options.gpu_index}" if options.on_gpu else "CPU"
        known = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        if options.precision.upper() not in known:
            raise ConfigError(
                f"OpenVINO computes in {', '.join(known)} on this {device}, not in {options.precision}"
            )
        settings = {"INFERENCE_PRECISION_HINT": _TYPES[options.precision], "PERFORMANCE_HINT": "LATENCY"}
        if not options.on_gpu:
            settings["INFERENCE_NUM_THREADS"] = str(options.cpu_threads)
        graph = export.graph(*self.graphs, trust=options.trust)
        compiled = core.compile_model(core.read_model(str(graph)), device, settings)
        self._request = compiled.create_infer_request()
        self._output = compiled.outputs[-1]
        self._result: np.ndarray | None = None

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        if self._result is not None:
            self._result.view(np.uint32)[...] = _UNTOUCHED
        self._result = self._request.infer(inputs)[self._output]
        # where memory is short OpenVINO may end without an error, and leave the result of the call before
        expected, image = self._result.shape, inputs[INPUT_NAME]
        if not self.export.part:
            expected = (*image.shape[:2], *(side * self.info.scale for side in image.shape[2:]))
        if self._result.shape != expected or (self._result.view(np.uint32) == _UNTOUCHED).any():
            shape, self._result = self._result.shape, None
            raise MemoryError(f"OpenVINO left a result of shape {shape} behind in place of {expected}")
        return self._result.copy()  # the next call overwrites this memory
