"""Paddle as it is: the network itself, in dynamic mode."""

from __future__ import annotations

import logging

import numpy as np
import paddle
from paddle import nn

from ppsr.inference.facts import facts_of

__all__ = ["PaddleBackend"]

logger = logging.getLogger(__name__)


class PaddleBackend:
    """A network in Paddle's dynamic mode, on the current device.

    Args:
        net: LR -> SR network; put into evaluation mode.
        half: compute in float16. Only on a GPU and for networks that state `fp16_safe`; otherwise float32
            is used and a warning says so.
    """

    name = "paddle"
    note = ""

    def __init__(self, net: nn.Layer, *, half: bool = False) -> None:
        net.eval()
        self.net = net
        self.facts = facts_of(net)
        self.half = half and self._half_works()

    def _half_works(self) -> bool:
        if not self.facts.fp16_safe:
            logger.warning("%s is not safe in half precision; float32 is used", self.facts.network)
            return False
        if not paddle.device.get_device().startswith("gpu"):
            logger.warning("Paddle has no half precision convolution on this device; float32 is used")
            return False
        return True

    @paddle.no_grad()
    def _forward(self, x: np.ndarray, degradation: np.ndarray | None, half: bool) -> np.ndarray:
        inputs = [paddle.to_tensor(array) for array in (x, degradation) if array is not None]
        with paddle.amp.auto_cast(enable=half, level="O1", dtype="float16"):
            output = self.net(*inputs)
        sr = output[-1] if isinstance(output, (list, tuple)) else output
        return sr.astype("float32").numpy()

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """See `Backend`."""
        return self._forward(x, degradation, self.half)

    def run_float32(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """As `run`, in full precision."""
        return self._forward(x, degradation, False)

    @paddle.no_grad()
    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """See `Steered`."""
        return self.net.degradation_map(paddle.to_tensor(x)).numpy()
