"""Paddle Inference, the runtime inside Paddle's own wheel: fused operations, oneDNN on CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ppsr.errors import ConfigError
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.export.artifact import Export
from ppsr.inference.export.graph_check import check_parameters
from ppsr.processor import has_bfloat16

# Searches for operations to fuse on a CPU that take minutes in large graphs: two are never worth it with the
# networks here, the others not once there are many convolutions, with whose number cubed their time grows.
_SLOW_PASSES = ("scale_matmul_fuse_pass", "conv_elementwise_add_mkldnn_fuse_pass")
_CONVOLUTION_PASSES = (
    "conv_bn_fuse_pass",
    "conv_eltwiseadd_bn_fuse_pass",
    "conv_transpose_bn_fuse_pass",
    "conv_transpose_eltwiseadd_bn_fuse_pass",
    "conv_affine_channel_mkldnn_fuse_pass",
    "conv_bias_mkldnn_fuse_pass",
    "conv_transpose_bias_mkldnn_fuse_pass",
    "conv_activation_mkldnn_fuse_pass",
)
_MANY_CONVOLUTIONS = 500  # RRDBNet has 351, RCAN 817
_LARGE_GRAPH = 4_000_000  # bytes; a state-space network has 15 million, whose constants take minutes to fold
_NAMELESS = "std::exception"  # all that remains of an allocation inside oneDNN that failed


def _hopeless_passes(graph: Path) -> tuple[str, ...]:
    """Passes over a graph that cost minutes when it is opened."""
    if graph.suffix != ".pdmodel":  # .json has other passes, and quick ones
        return ()
    # each convolution names this input of its own once
    many = graph.read_bytes().count(b"\x0a\x06Filter") > _MANY_CONVOLUTIONS
    large = graph.stat().st_size > _LARGE_GRAPH
    return _SLOW_PASSES + _CONVOLUTION_PASSES * many + ("constant_folding_pass",) * large


class PaddleInferenceBackend(ExportedBackend):
    """See `ExportedBackend`. oneDNN is used where the export was verified with it, unless the options forbid
    it."""

    name = "inference"
    graphs = (".json", ".pdmodel")
    package = "paddle"
    precisions = ("fp32", "fp16", "bf16")

    def __init__(self, export: Export, options: BackendOptions) -> None:
        super().__init__(export, options)
        options = self.options
        from paddle import inference

        graph = export.graph(*self.graphs, trust=options.trust)
        parameters = export.file(".pdiparams")
        check_parameters(parameters)
        config = inference.Config(str(graph), str(parameters))
        config.disable_glog_info()
        if graph.suffix == ".pdmodel":  # else every value that was computed stays to the end
            config.enable_memory_optim()
        if options.on_gpu:
            options.require_device()
            types = inference.PrecisionType
            precision = {"fp32": types.Float32, "fp16": types.Half, "bf16": types.Bfloat16}[options.precision]
            config.enable_use_gpu(100, options.gpu_index, precision)
        else:
            self._use_cpu(config)
            for name in _hopeless_passes(graph):
                config.delete_pass(name)
        self._session = inference.create_predictor(config)
        self._output = self._session.get_output_handle(self._session.get_output_names()[0])

    def _use_cpu(self, config: Any) -> None:
        if self.options.precision == "fp16":
            raise ConfigError("Paddle Inference has no half precision on a CPU; use --precision fp32 or bf16")
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(self.options.cpu_threads)
        if not (self.options.onednn and self.export.entries.get("onednn", True)):
            config.disable_mkldnn()
            return
        config.enable_mkldnn()
        # what oneDNN prepares for a shape, buffers included, is kept for this many: tiles at the borders have
        # shapes of their own, and ten of them took three times the memory
        config.set_mkldnn_cache_capacity(1)
        if self.options.precision == "bf16":
            if not has_bfloat16():
                raise ConfigError(
                    "this processor has no bfloat16 arithmetic (avx512_bf16 or amx_bf16), so bf16 would only "
                    "be slower; use fp32"
                )
            config.enable_mkldnn_bfloat16()

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        for name, array in inputs.items():
            handle = self._session.get_input_handle(name)
            handle.reshape(array.shape)
            handle.copy_from_cpu(array)
        try:
            self._session.run()
        except RuntimeError as error:
            if str(error) != _NAMELESS:
                raise
            raise MemoryError("Paddle Inference ended without a reason, which it does for memory") from None
        return self._output.copy_to_cpu().astype(np.float32, copy=False)
