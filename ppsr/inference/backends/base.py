"""The interface of all backends, Paddle's dynamic mode as the first of them, and the steps around a network
that are the same for all: value range, padding, self-ensemble."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Protocol

import numpy as np
import paddle
from paddle import nn

from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import evaluating
from ppsr.generators.network_info import NetworkInfo, network_info
from ppsr.imaging.luma import on_luma
from ppsr.precision import half_dtype

__all__ = ["Backend", "PaddleBackend", "apply_backend"]

logger = logging.getLogger(__name__)

_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


class Backend(Protocol):
    """A network, ready to run.

    A backend of reduced precision may have `run_float32`, which computes as `run` in full precision.

    Attributes:
        name: value of `--backend`.
    """

    name: str
    info: NetworkInfo

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """Compute SR images.

        Args:
            x: (N, C, H, W) float32 in 0..rgb_range, H and W multiples of `size_multiple`.
            degradation: (N, degradation_params) float32 for a network that is steered; None: predicted.

        Returns:
            (N, C, scale * H, scale * W) float32 in the same range, not clipped.
        """

    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """(N, C, H, W) -> (N, degradation_params, h, w) float32; its mean over h and w is the parameters."""


class PaddleBackend:
    """A network in Paddle's dynamic mode, on the current device.

    Args:
        net: LR -> SR network; put into evaluation mode.
        precision: fp32, fp16 or bf16. A network without `fp16_safe` takes bfloat16 in place of float16 where
            the device has it. Where the device has neither, float32 is used with a warning.

    Raises:
        ConfigError: it makes no SR images, or has parameters of another type than float32.

    Attributes:
        dtype: the type that convolutions and products compute in.
    """

    name = "paddle"
    note = ""

    def __init__(self, net: nn.Layer, *, precision: str = "fp32") -> None:
        net.eval()
        types = {str(parameter.dtype).rpartition(".")[2] for parameter in net.parameters()} - {"float32"}
        if types:
            raise ConfigError(
                f"{type(net).__name__} has parameters of type {', '.join(sorted(types))}; upscaling takes "
                "float32: net.float(), or paddle.set_default_dtype('float32') before a network is made"
            )
        self.net = net
        self.info = network_info(net)
        self.dtype = "float32" if precision == "fp32" else self._half_dtype(_DTYPES[precision])

    def _half_dtype(self, wanted: str) -> str:
        name, device = self.info.network, paddle.device.get_device()
        dtype = half_dtype(self.info.fp16_safe, wanted=wanted, device=device)
        if dtype == "float32":
            logger.warning("%s is computed in float32: there is no half precision for it on %s", name, device)
        elif dtype != wanted:
            logger.info("%s is computed in %s: %s is not safe or not there", name, dtype, wanted)
        return dtype

    @paddle.no_grad()
    def _forward(self, x: np.ndarray, degradation: np.ndarray | None, dtype: str) -> np.ndarray:
        inputs = [paddle.to_tensor(array) for array in (x, degradation) if array is not None]
        half = dtype != "float32"
        mode = evaluating(self.net) if self.net.training else nullcontext()  # trained further since
        with mode, paddle.amp.auto_cast(enable=half, level="O1", dtype=dtype if half else "float16"):
            output = self.net(*inputs)
        sr = output[-1] if isinstance(output, (list, tuple)) else output
        return sr.astype("float32").numpy()

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """See `Backend`."""
        return self._forward(x, degradation, self.dtype)

    def run_float32(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """Like `run`, in full precision."""
        return self._forward(x, degradation, "float32")

    @paddle.no_grad()
    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """See `Backend`."""
        return self.net.degradation_map(paddle.to_tensor(x)).numpy()


def apply_backend(
    backend: Backend, lq: np.ndarray, degradation: np.ndarray | None = None, *, self_ensemble: bool = False
) -> np.ndarray:
    """Apply a network to images of any size.

    Args:
        lq: (N, C, H, W) float32 in [0, 1]; for a luma network, 3 channels are RGB.
        degradation: (degradation_params,) for all images; None: predicted from each, where there are any.
        self_ensemble: mean over the eight flips and turns of the input (Lim et al., EDSR, CVPRW 2017).

    Returns:
        (N, C, scale * H, scale * W) float32, in [0, 1] up to what the network overshoots.

    Raises:
        DataError: the network gave another shape, or NaN or infinity in full precision.
    """
    if self_ensemble:
        return _self_ensemble(backend, lq, degradation)
    info = backend.info
    if info.luma and lq.shape[1] == 3:
        return on_luma(lambda y: apply_backend(backend, y), np.asarray(lq, np.float32), info.scale)
    height, width = lq.shape[2:]
    inputs = [_padded(np.asarray(lq * np.float32(info.rgb_range), np.float32), info.size_multiple)]
    if degradation is not None:
        inputs.append(np.tile(np.float32(degradation), (len(lq), 1)))
    sr = backend.run(*inputs)
    if not np.isfinite(sr).all() and hasattr(backend, "run_float32"):
        logger.warning("%s: values that are not finite; computed again in full precision", info.network)
        sr = backend.run_float32(*inputs)
    expected = (*lq.shape[:2], *(side * info.scale for side in inputs[0].shape[2:]))
    if sr.shape != expected:
        raise DataError(
            f"{info.network} makes an array {sr.shape} of one of {inputs[0].shape}; at x{info.scale} it must "
            f"be {expected}"
        )
    if not np.isfinite(sr).all():
        raise DataError("the network gave values that are not finite; its weights are broken")
    sr = sr[:, :, : height * info.scale, : width * info.scale]
    return sr if info.rgb_range == 1 else sr / np.float32(info.rgb_range)


def _self_ensemble(backend: Backend, lq: np.ndarray, degradation: np.ndarray | None) -> np.ndarray:
    total = np.float32(0)
    for turn in range(4):
        for flip in (False, True):
            view = np.rot90(lq[..., ::-1] if flip else lq, turn, (2, 3))
            sr = np.rot90(apply_backend(backend, np.ascontiguousarray(view), degradation), -turn, (2, 3))
            total = total + (sr[..., ::-1] if flip else sr)
    return total / np.float32(8)


def _padded(x: np.ndarray, multiple: int) -> np.ndarray:
    """Bottom and right up to a multiple: by reflection, by repetition where the image is too small."""
    bottom, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    if not bottom and not right:
        return np.ascontiguousarray(x)
    reflects = bottom < x.shape[2] and right < x.shape[3]
    return np.pad(x, ((0, 0), (0, 0), (0, bottom), (0, right)), mode="reflect" if reflects else "edge")
