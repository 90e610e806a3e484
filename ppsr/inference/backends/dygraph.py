"""Paddle as it is: the network itself, in dynamic mode."""

from __future__ import annotations

import logging

import numpy as np
import paddle
from paddle import nn

from ppsr.inference.facts import facts_of
from ppsr.precision import half_dtype

__all__ = ["PaddleBackend"]

logger = logging.getLogger(__name__)

_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


class PaddleBackend:
    """A network in Paddle's dynamic mode, on the current device.

    Args:
        net: LR -> SR network; put into evaluation mode.
        precision: fp32, fp16 or bf16. A network that does not state `fp16_safe` takes bfloat16 in place of
            float16 where the device has it. Where the device has neither, float32 is used and a warning says
            so.

    Attributes:
        dtype: the type that convolutions and products compute in.
    """

    name = "paddle"
    note = ""

    def __init__(self, net: nn.Layer, *, precision: str = "fp32") -> None:
        net.eval()
        self.net = net
        self.facts = facts_of(net)
        self.dtype = "float32" if precision == "fp32" else self._half_dtype(_DTYPES[precision])

    def _half_dtype(self, wanted: str) -> str:
        name, device = self.facts.network, paddle.device.get_device()
        dtype = half_dtype(self.facts.fp16_safe, wanted=wanted, device=device)
        if dtype == "float32":
            logger.warning("%s is computed in float32: there is no half precision for it on %s", name, device)
        elif dtype != wanted:
            logger.info("%s is computed in %s: %s is not safe or not there", name, dtype, wanted)
        return dtype

    @paddle.no_grad()
    def _forward(self, x: np.ndarray, degradation: np.ndarray | None, dtype: str) -> np.ndarray:
        inputs = [paddle.to_tensor(array) for array in (x, degradation) if array is not None]
        half = dtype != "float32"
        with paddle.amp.auto_cast(enable=half, level="O1", dtype=dtype if half else "float16"):
            output = self.net(*inputs)
        sr = output[-1] if isinstance(output, (list, tuple)) else output
        return sr.astype("float32").numpy()

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """See `Backend`."""
        return self._forward(x, degradation, self.dtype)

    def run_float32(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """As `run`, in full precision."""
        return self._forward(x, degradation, "float32")

    @paddle.no_grad()
    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """See `Steered`."""
        return self.net.degradation_map(paddle.to_tensor(x)).numpy()
