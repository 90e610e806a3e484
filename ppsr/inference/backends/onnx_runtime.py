"""ONNX Runtime: on CPU, on CUDA, and through its TensorRT provider."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppsr.cache import cache_folder
from ppsr.errors import ConfigError
from ppsr.files import sha256
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.export.artifact import DEGRADATION_NAME, INPUT_NAME, Export


class OnnxRuntimeBackend(ExportedBackend):
    """See `ExportedBackend`."""

    name = "onnxruntime"
    package = "onnxruntime"
    provider = "CUDAExecutionProvider"

    @classmethod
    def uses_gpu(cls) -> bool:
        """Whether the installed wheel can use a GPU by this backend's provider."""
        import onnxruntime

        return cls.provider in onnxruntime.get_available_providers()

    def __init__(self, export: Export, options: BackendOptions) -> None:
        super().__init__(export, options)
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.cpu_threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # with an arena the memory of the largest image so far would never be given back
        settings.enable_cpu_mem_arena = False
        wanted = self._providers()
        known = onnxruntime.get_available_providers()
        for provider, _ in wanted:
            if provider not in known:
                raise ConfigError(
                    f"the installed onnxruntime has no {provider} (it has {', '.join(known)}): pip uninstall "
                    "onnxruntime, then pip install onnxruntime-gpu, as the two share a folder"
                )
        graph = export.graph(*self.graphs, trust=options.trust)
        self._session = onnxruntime.InferenceSession(str(graph), settings, providers=wanted)

    def _providers(self) -> list[tuple[str, dict[str, Any]]]:
        cpu: list[tuple[str, dict[str, Any]]] = [("CPUExecutionProvider", {})]
        if not self.options.on_gpu:
            return cpu
        # the default tries out every algorithm for each new size; tiles at borders have sizes of their own
        cuda = {"device_id": self.options.gpu_index, "cudnn_conv_algo_search": "HEURISTIC"}
        return [("CUDAExecutionProvider", cuda), *cpu]

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return self._session.run(None, inputs)[-1].astype(np.float32, copy=False)


class TensorRtBackend(OnnxRuntimeBackend):
    """TensorRT, as a provider of ONNX Runtime; builds its engine for a range of sizes when it is opened.

    Engines are kept in the user's cache, not beside the export: they are programs too, and whoever made the
    export could have put others there.
    """

    name = "tensorrt"
    precisions = ("fp32", "fp16")
    provider = "TensorrtExecutionProvider"

    @classmethod
    def is_available(cls, options: BackendOptions) -> bool:
        """See `ExportedBackend`."""
        return options.on_gpu and super().is_available(options) and cls.uses_gpu()

    @classmethod
    def default_device(cls) -> str:
        """A GPU; there is nothing else."""
        return "gpu"

    def _profile(self, batch: int, side: int) -> str:
        info = self.info
        side = max(1, side // info.size_multiple) * info.size_multiple
        steering = f",{DEGRADATION_NAME}:{batch}x{info.degradation_params}" * bool(info.degradation_params)
        return f"{INPUT_NAME}:{batch}x{info.channels}x{side}x{side}{steering}"

    def _providers(self) -> list[tuple[str, dict[str, Any]]]:
        options = self.options
        if not options.on_gpu:
            raise ConfigError("TensorRT computes on a GPU: give --device gpu")
        engine = {
            "device_id": options.gpu_index,
            "trt_fp16_enable": options.precision == "fp16",
            "trt_min_subgraph_size": options.min_subgraph,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(cache_folder() / "tensorrt" / sha256(self.export.file(".onnx"))),
        }
        if None in self.export.shape:
            colours = 3 // self.info.channels  # a gray network computes colours as a batch
            engine["trt_profile_min_shapes"] = self._profile(1, options.min_side)
            engine["trt_profile_opt_shapes"] = self._profile(1, options.opt_side)
            engine["trt_profile_max_shapes"] = self._profile(
                max(options.max_batch, colours), options.max_side
            )
            self.largest_side = options.max_side // self.info.size_multiple * self.info.size_multiple
        return [(self.provider, engine), *super()._providers()]
