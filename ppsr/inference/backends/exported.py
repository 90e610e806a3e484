"""What all backends of exported networks share: their files, their options, checks of the input."""

from __future__ import annotations

import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ppsr.accelerate import cpu_threads
from ppsr.errors import ConfigError, DataError
from ppsr.inference.exported import DEGRADATION_NAME, Export
from ppsr.inference.reference import Tolerance, tolerance
from ppsr.processor import processor_flags

__all__ = [
    "BackendOptions",
    "ExportedBackend",
    "default_device",
    "ordered",
]

PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class BackendOptions:
    """How a backend computes.

    Attributes:
        device: cpu, gpu or gpu:N; None: a GPU where both Paddle and the backend can use one, else the CPU.
        precision: fp32, fp16 or bf16, as far as the backend has them.
        threads: of the CPU; None: OMP_NUM_THREADS or all cores.
        onednn: False keeps Paddle Inference from oneDNN on a CPU.
        trust: open exported graphs also with operations that are not known to only compute.
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
        kind, _, index = (self.device or "cpu").partition(":")
        if kind not in ("cpu", "gpu") or (index and not index.isdigit()):
            raise ConfigError(f"device is cpu, gpu or gpu:N; got {self.device!r}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}")

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""
        return (self.device or default_device()).startswith("gpu")

    @property
    def gpu_index(self) -> int:
        """Number of the GPU."""
        return int((self.device or "").partition(":")[2] or 0)

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

        if self.on_gpu and not (
            default_device() == "gpu" and self.gpu_index < paddle.device.cuda.device_count()
        ):
            raise ConfigError(f"there is no {self.device} that this Paddle can use; use --device cpu")

    @property
    def cpu_threads(self) -> int:
        """Number of threads, decided."""
        return self.threads or cpu_threads()


def default_device() -> str:
    """gpu where this Paddle has one, else cpu."""
    import paddle

    return "gpu" if paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() else "cpu"


def ordered(names: Sequence[str]) -> list[str]:
    """Names of a graph's inputs, the image first: runtimes and converters list them in any order."""
    return sorted(names, key=lambda name: name == DEGRADATION_NAME)


class ExportedBackend(ABC):
    """An exported network in some runtime. Calls of several threads take turns.

    Args:
        export: the files.
        options: how to compute.

    Attributes:
        note: for the user: why this backend, and what it costs.
        largest_side: of an image; None: any.
        temporary_folder: of the files, removed with the backend; None: they are kept.

    Raises:
        ConfigError: the runtime lacks an option.
        DataError: the files are incomplete.
    """

    name: str
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    note = ""
    largest_side: int | None = None
    temporary_folder: tempfile.TemporaryDirectory | None = None

    def __init__(self, export: Export, options: BackendOptions) -> None:
        if options.precision not in self.precisions:
            raise ConfigError(
                f"backend {self.name} computes in {', '.join(self.precisions)}, not in {options.precision}"
            )
        self.export = export
        self.info = export.info
        self.options = replace(options, device=options.device or self.default_device())
        self._turn = threading.Lock()
        self._predictor: ExportedBackend | None = None
        if export.info.degradation_params:
            self._predictor = type(self)(export.predictor(), options)

    @staticmethod
    def default_device() -> str:
        """Where the backend computes unless told: cpu or gpu."""
        return default_device()

    @property
    def tolerance(self) -> Tolerance:
        """How far its results may be from the network's."""
        return tolerance(self.name, self.options.device or "cpu", self.options.precision)

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """See `Steered`.

        Raises:
            DataError: a shape that the export does not take.
        """
        fits = x.ndim == len(self.export.shape) and all(
            fixed in (None, size) for fixed, size in zip(self.export.shape, x.shape, strict=True)
        )
        if not fits or x.shape[1] != self.info.channels:
            wanted = [fixed or "any" for fixed in self.export.shape]
            raise DataError(
                f"{self.export.prefix} takes images of shape {wanted} with {self.info.channels} channels, "
                f"got {list(x.shape)}"
            )
        inputs = [x]
        if self._predictor is not None:
            inputs.append(self.degradation_map(x).mean(axis=(2, 3)) if degradation is None else degradation)
        with self._turn:
            return self._run(*(np.ascontiguousarray(array, np.float32) for array in inputs))

    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """See `Steered`."""
        assert self._predictor is not None
        return self._predictor.run(x)

    @abstractmethod
    def _run(self, *inputs: np.ndarray) -> np.ndarray:
        """The computation on the image, and the degradation parameters where the graph takes them."""


def computes_bf16(flags: frozenset[str]) -> bool:
    """Whether a processor with these instruction sets has bfloat16 arithmetic."""
    return bool(flags & {"avx512_bf16", "amx_bf16", "avx_ne_convert"})


def require_bf16(flags: frozenset[str] | None = None) -> None:
    """Raises ConfigError where the processor has no bfloat16 arithmetic."""
    if not computes_bf16(processor_flags() if flags is None else flags):
        raise ConfigError(
            "this processor has no bfloat16 arithmetic (avx512_bf16 or amx_bf16), so bf16 would only be "
            "slower; use fp32"
        )
