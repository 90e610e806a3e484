"""ONNX Runtime: on CPU, on CUDA, and through its TensorRT provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ppsr.errors import ConfigError
from ppsr.files import cache_folder, sha256
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend, default_device, ordered
from ppsr.inference.exported import DEGRADATION_NAME, Export

__all__ = ["OnnxRuntimeBackend", "TensorRtBackend"]


class OnnxRuntimeBackend(ExportedBackend):
    """See `ExportedBackend`."""

    name = "onnxruntime"

    @staticmethod
    def default_device() -> str:
        """A GPU where Paddle finds one and the installed wheel has CUDA, else the CPU."""
        import onnxruntime

        has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        return default_device() if has_cuda else "cpu"

    def __init__(self, export: Export, options: BackendOptions) -> None:
        super().__init__(export, options)
        options = self.options
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.cpu_threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # with an arena the memory of the largest image so far would never be given back
        settings.enable_cpu_mem_arena = False
        wanted = self._providers()
        for provider, _ in wanted:
            if provider not in onnxruntime.get_available_providers():
                raise ConfigError(
                    f"the installed onnxruntime has no {provider} (it has "
                    f"{', '.join(onnxruntime.get_available_providers())}); install onnxruntime-gpu"
                )
        graph = export.graph(".onnx", trust=options.trust)
        self._session = onnxruntime.InferenceSession(str(graph), settings, providers=wanted)
        self._inputs = ordered([port.name for port in self._session.get_inputs()])

    def _providers(self) -> list[tuple[str, dict[str, Any]]]:
        cpu: list[tuple[str, dict[str, Any]]] = [("CPUExecutionProvider", {})]
        if not self.options.on_gpu:
            return cpu
        # the default tries out every algorithm for each new size; tiles at borders have sizes of their own
        cuda = {"device_id": self.options.gpu_index, "cudnn_conv_algo_search": "HEURISTIC"}
        return [("CUDAExecutionProvider", cuda), *cpu]

    def _run(self, *inputs: np.ndarray) -> np.ndarray:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        try:
            return self._compute(*inputs)
        except (state.Fail, state.RuntimeException) as error:  # which are no RuntimeError
            raise RuntimeError(str(error)) from None

    def _compute(self, *inputs: np.ndarray) -> np.ndarray:
        return self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))[-1].astype(
            np.float32, copy=False
        )


class TensorRtBackend(OnnxRuntimeBackend):
    """TensorRT, as a provider of ONNX Runtime; builds its engine for a range of sizes when it is opened.

    Engines are kept in the user's cache, not beside the export: they are programs too, and whoever made the
    export could have put others there.
    """

    name = "tensorrt"
    precisions = ("fp32", "fp16")

    @staticmethod
    def default_device() -> str:
        """A GPU; there is nothing else."""
        return "gpu"

    def _providers(self) -> list[tuple[str, dict[str, Any]]]:
        options = self.options
        if not options.on_gpu:
            raise ConfigError("TensorRT computes on a GPU: give --device gpu")

        def profile(batch: int, side: int) -> str:
            unit = self.info.size_multiple
            side = max(1, side // unit) * unit
            steering = f",{DEGRADATION_NAME}:{batch}x{self.info.degradation_params}"
            image = f"image:{batch}x{self.info.channels}x{side}x{side}"
            return image + (steering if self.info.degradation_params else "")

        engine = {
            "device_id": options.gpu_index,
            "trt_fp16_enable": options.precision == "fp16",
            "trt_min_subgraph_size": options.min_subgraph,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(self._engine_folder()),
        }
        if None in self.export.shape:
            colours = 3 // self.info.channels  # a gray network computes colours as a batch
            engine["trt_profile_min_shapes"] = profile(1, options.min_side)
            engine["trt_profile_opt_shapes"] = profile(1, options.opt_side)
            engine["trt_profile_max_shapes"] = profile(max(options.max_batch, colours), options.max_side)
            self.largest_side = options.max_side // self.info.size_multiple * self.info.size_multiple
        return [("TensorrtExecutionProvider", engine), *super()._providers()]

    def _engine_folder(self) -> Path:
        return cache_folder() / "tensorrt" / sha256(self.export.file(".onnx"))
