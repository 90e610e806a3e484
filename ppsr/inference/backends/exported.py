"""Base class of backends for exported networks: options, files, input checks."""

from __future__ import annotations

import importlib.util
import tempfile
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ppsr.accelerate import cpu_threads
from ppsr.errors import ConfigError, DataError
from ppsr.inference.export.artifact import (
    DEGRADATION_NAME,
    INPUT_NAME,
    REFERENCE_SUFFIX,
    Export,
    ReferenceOutputs,
    tolerance,
)
from ppsr.memory import default_device

__all__ = ["BackendOptions", "ExportedBackend"]

PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class BackendOptions:
    """How a backend computes.

    Attributes:
        device: cpu, gpu or gpu:N; None: a GPU where both Paddle and the backend can use one, else the CPU.
        precision: fp32, fp16 or bf16, as far as the backend has them.
        threads: number of CPU threads; None: OMP_NUM_THREADS or all cores.
        onednn: False keeps Paddle Inference from oneDNN on a CPU.
        trust: also open graphs with operations that are not known to only compute.
        min_side, opt_side, max_side: smallest, usual and largest side of an image that a TensorRT engine is
            built for.
        max_batch: largest batch of that engine.
        min_subgraph: operations that TensorRT must be able to join before it takes them.
    """

    device: str | None = None
    precision: str = "fp32"
    threads: int | None = None
    onednn: bool = True
    trust: bool = False
    min_side: int = 1
    opt_side: int = 640
    max_side: int = 1280
    max_batch: int = 1
    min_subgraph: int = 3

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision is one of {', '.join(PRECISIONS)}; got {self.precision!r}")
        kind, _, index = str("cpu" if self.device is None else self.device).partition(":")
        if kind not in ("cpu", "gpu") or (index and not index.isdigit()):
            raise ConfigError(f"device is cpu, gpu or gpu:N; got {self.device!r}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}")

    @property
    def on_gpu(self) -> bool:
        """Whether the network runs on a GPU."""
        return (self.device or default_device()).startswith("gpu")

    @property
    def gpu_index(self) -> int:
        """Number of the GPU."""
        return int((self.device or "").partition(":")[2] or 0)

    @property
    def cpu_threads(self) -> int:
        """Number of threads, decided."""
        return self.threads or cpu_threads()

    def use_device(self) -> None:
        """Let Paddle's dynamic mode compute there as well.

        Raises:
            ConfigError: this Paddle has no GPU, or not this one.
        """
        import paddle

        self.require_device()
        paddle.set_device(f"gpu:{self.gpu_index}" if self.on_gpu else "cpu")

    def require_device(self) -> None:
        """Raises ConfigError where Paddle has no GPU, or not this one."""
        import paddle

        has_gpu = default_device() == "gpu"
        if self.on_gpu and not (has_gpu and self.gpu_index < paddle.device.cuda.device_count()):
            raise ConfigError(f"there is no {self.device} that this Paddle can use; use --device cpu")


class ExportedBackend(ABC):
    """An exported network in a runtime. Calls of several threads take turns.

    Attributes:
        name: value of `--backend`.
        graphs: suffixes of the graphs that it reads.
        package: what must be installed, by the name of its module.
        precisions: those that it can compute in.
        note: for the user: why this backend, and what it costs.
        largest_side: limit of the image side; None: no limit.
        temporary_folder: folder of the files, removed with the backend; None: the files are kept.

    Raises:
        ConfigError: the runtime is not installed or lacks an option.
        DataError: the files are incomplete.
    """

    name: str
    graphs: ClassVar[tuple[str, ...]] = (".onnx",)
    package: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    note = ""
    largest_side: int | None = None
    temporary_folder: tempfile.TemporaryDirectory | None = None

    def __init__(self, export: Export, options: BackendOptions) -> None:
        if importlib.util.find_spec(self.package) is None:
            raise ConfigError(
                f"backend {self.name} needs the package {self.package}: pip install {self.package}"
            )
        if options.precision not in self.precisions:
            raise ConfigError(
                f"backend {self.name} computes in {', '.join(self.precisions)}, not in {options.precision}"
            )
        self.export = export
        self.info = export.info
        self.options = replace(options, device=options.device or self.default_device())
        self._lock = threading.Lock()
        self._full_precision: ExportedBackend | None = None
        self._predictor: ExportedBackend | None = None
        if export.info.degradation_params:
            self._predictor = type(self)(export.predictor(), options)

    @classmethod
    def uses_gpu(cls) -> bool:
        """Whether the installed runtime can use the GPUs that Paddle finds."""
        return True

    @classmethod
    def default_device(cls) -> str:
        """The device where none is asked for."""
        return default_device() if cls.uses_gpu() else "cpu"

    @classmethod
    def is_available(cls, options: BackendOptions) -> bool:
        """Whether it is installed for the device that is asked for."""
        asks_for_gpu = options.device is not None and options.on_gpu
        return importlib.util.find_spec(cls.package) is not None and (not asks_for_gpu or cls.uses_gpu())

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """See `Backend`.

        Raises:
            DataError: a shape that the export does not take.
        """
        wanted = [self.export.shape[0], self.info.channels, *self.export.shape[2:]]
        if x.ndim != 4 or any(size not in (None, got) for size, got in zip(wanted, x.shape, strict=True)):
            raise DataError(
                f"{self.export.prefix} takes images of shape {[size or 'any' for size in wanted]}, "
                f"got {list(x.shape)}"
            )
        inputs = {INPUT_NAME: x}
        if self._predictor is not None:
            known = self.degradation_map(x).mean(axis=(2, 3)) if degradation is None else degradation
            inputs[DEGRADATION_NAME] = known
        with self._lock:
            return self._run({k: np.ascontiguousarray(array, np.float32) for k, array in inputs.items()})

    def run_float32(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """Like `run`, in full precision; that runtime is loaded and verified on first use.

        Raises:
            DataError: see `verify`.
        """
        if self.options.precision == "fp32":
            return self.run(x, degradation)
        if self._full_precision is None:
            full = type(self)(self.export, replace(self.options, precision="fp32"))
            full.verify()
            self._full_precision = full
        return self._full_precision.run(x, degradation)

    def verify(self) -> tuple[float, float]:
        """Largest relative error and PSNR in dB against the reference outputs of the export.

        Raises:
            DataError: the error is above the backend's tolerance.
        """
        options = self.options
        error, psnr = ReferenceOutputs.load(self.export.file(REFERENCE_SUFFIX)).compare(self.run)
        allowed, reason = tolerance(self.name, options.device or "cpu", options.precision)
        if not error <= allowed:
            advice = "" if options.precision == "fp32" else " or --precision fp32"
            raise DataError(
                f"backend {self.name} does not compute {self.info.network} as it was exported: error "
                f"{error:.1e} of the largest value, {allowed:.0e} is allowed in {options.precision}, because "
                f"{reason}; use another backend{advice}"
            )
        return error, psnr

    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """See `Backend`."""
        assert self._predictor is not None
        return self._predictor.run(x)

    @abstractmethod
    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The computation; the degradation parameters are an input where the graph takes them."""
