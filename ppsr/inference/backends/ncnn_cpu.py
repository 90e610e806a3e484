"""ncnn, from its own pair of files: Winograd convolutions take 2.25 to 4 times fewer multiplications."""

from __future__ import annotations

import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.export.artifact import INPUT_NAME, Export

_REDUCED = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "int8_inference")


class NcnnBackend(ExportedBackend):
    """See `ExportedBackend`. Values are float32 throughout, where ncnn's default is less."""

    name = "ncnn"
    graphs = (".ncnn.param",)
    package = "ncnn"

    @classmethod
    def uses_gpu(cls) -> bool:
        """No."""
        return False

    def __init__(self, export: Export, options: BackendOptions) -> None:
        super().__init__(export, options)
        import ncnn

        if self.options.on_gpu:
            raise ConfigError("backend ncnn computes on the CPU; use --device cpu or another backend")
        graph = export.graph(*self.graphs, trust=options.trust)
        self._net = ncnn.Net()
        self._net.opt.num_threads = options.cpu_threads
        for name in _REDUCED:
            setattr(self._net.opt, f"use_{name}", False)
        if self._net.load_param(str(graph)) or self._net.load_model(str(export.file(".ncnn.bin"))):
            raise DataError(f"ncnn cannot read {graph}; export again")

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return np.stack([self._single(x) for x in inputs[INPUT_NAME]])

    def _single(self, x: np.ndarray) -> np.ndarray:
        """(C, H, W) -> SR; ncnn knows no batches."""
        import ncnn

        extractor = self._net.create_extractor()
        extractor.input(self._net.input_names()[0], ncnn.Mat(x).clone())
        code, sr = extractor.extract(self._net.output_names()[0])
        if code:
            raise MemoryError(f"ncnn ended with code {code}, which it does where memory is short")
        return np.array(sr)
