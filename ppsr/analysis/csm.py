"""Channel saliency maps and channel ablation: what each channel of a layer does for the SR image.

Kong et al., "Reflash Dropout in Image Super-Resolution", CVPR 2022, arXiv:2112.12089. The released code does
this for the 64 channels of one network with a class per layer; here any layer of any generator is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import paddle
from paddle import Tensor, nn

from ppsr.analysis.batches import MEMORY_MIB, OnStep, fitting_batch, in_batches
from ppsr.analysis.lam import edge_strength
from ppsr.analysis.layers import MapLayer, as_map, edited, frozen, inspect_layers
from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import apply_generator, capture, super_resolve
from ppsr.metrics.psnr_ssim import psnr

__all__ = [
    "Ablation",
    "ChannelSaliency",
    "LayerSaliency",
    "ablate",
    "channel_saliency",
    "cumulative_gains",
    "published_psnr",
    "single_gains",
]

_PSNR_OF_EQUALS = 80.0


@dataclass(frozen=True)
class LayerSaliency:
    """One layer.

    Attributes:
        features: (C, H, W).
        gradient: (C, H, W), of the edge strength of the SR image by the features.
    """

    layer: MapLayer
    features: np.ndarray
    gradient: np.ndarray

    @property
    def peak(self) -> float:
        """Largest magnitude of the gradient in the layer."""
        return float(np.abs(self.gradient).max())

    @cached_property
    def maps(self) -> np.ndarray:
        """(C, H, W) in [0, 1]: magnitude of the gradient by the layer's largest."""
        return np.abs(self.gradient) / max(self.peak, np.finfo(np.float32).tiny)

    @cached_property
    def importance(self) -> np.ndarray:
        """(C,): sum of each map, the attribution of the channel."""
        return self.maps.sum(axis=(1, 2), dtype=np.float64)


@dataclass(frozen=True)
class ChannelSaliency:
    """Saliency of several layers for one image.

    Attributes:
        objective: edge strength of the SR image.
        sr: (C, sH, sW), not clipped.
        lq_gradient: (C, H, W), of the objective by the LR image.
    """

    objective: float
    sr: np.ndarray
    lq_gradient: np.ndarray
    layers: dict[str, LayerSaliency]


@dataclass(frozen=True)
class Ablation:
    """Effect of removing some channels.

    Attributes:
        psnr: (K,) in dB against the truth, as `published_psnr`.
        change: (K,) mean absolute change of the SR image.
    """

    psnr: np.ndarray
    change: np.ndarray


def channel_saliency(net: nn.Layer, lq: np.ndarray, names: Sequence[str]) -> ChannelSaliency:
    """Gradients of the edge strength by the features of layers, in one forward and backward pass.

    Args:
        lq: (C, H, W) in [0, 1].

    Raises:
        ConfigError: a layer is unknown or gives no map.
        DataError: the network gives values that are not finite.
    """
    layers = inspect_layers(net).find(names)
    with frozen(net), capture(net, names) as seen:
        x = paddle.to_tensor(lq[None].astype(np.float32), stop_gradient=False)
        sr = apply_generator(net, x)
        for output in seen.values():
            output.retain_grads()
        objective = edge_strength(sr).sum()
        objective.backward()
    if not np.isfinite(float(objective)):
        raise DataError("the network gave values that are not finite; its weights are broken")
    found = {
        layer.name: LayerSaliency(
            layer, as_map(layer, seen[layer.name].numpy()[0]), as_map(layer, _gradient(seen[layer.name])[0])
        )
        for layer in layers
    }
    return ChannelSaliency(float(objective), sr.numpy()[0], x.grad.numpy()[0], found)


def _gradient(tensor: Tensor) -> np.ndarray:
    """Zero where the SR image does not depend on the tensor."""
    return np.zeros(tensor.shape, np.float32) if tensor.grad is None else tensor.grad.numpy()


def single_gains(features: np.ndarray) -> np.ndarray:
    """(C, C) gains that remove one channel each: row k removes channel k.

    The others are raised so that the sum of magnitudes of the layer stays, as published.
    """
    return _gains(features, ~np.eye(len(features), dtype=bool))


def cumulative_gains(features: np.ndarray, order: Sequence[int] | np.ndarray) -> np.ndarray:
    """(C - 1, C) gains: row k removes the first k + 1 channels of `order`; the last one always stays."""
    order = np.asarray(order, dtype=np.int64)
    count = len(features)
    if sorted(order.tolist()) != list(range(count)):
        raise ConfigError(f"the order must name each of the {count} channels once, got {order.tolist()}")
    kept = np.ones((count - 1, count), dtype=bool)
    for k in range(count - 1):
        kept[k, order[: k + 1]] = False
    return _gains(features, kept)


def _gains(features: np.ndarray, kept: np.ndarray) -> np.ndarray:
    mass = np.abs(features.astype(np.float64)).sum(axis=(1, 2))
    rest = kept @ mass
    # where all that is kept is zero there is nothing to raise
    raised = np.divide(mass.sum(), rest, out=np.zeros_like(rest), where=rest > 0)
    return (kept * raised[:, None]).astype(np.float32)


def ablate(
    net: nn.Layer,
    lq: np.ndarray,
    gt: np.ndarray,
    name: str,
    gains: np.ndarray,
    *,
    memory_mib: int = MEMORY_MIB,
    on_step: OnStep | None = None,
) -> Ablation:
    """Run a network with the channels of one layer multiplied by gains, and score the results.

    Args:
        lq: (C, H, W) in [0, 1].
        gt: (C, sH, sW) in [0, 1].
        gains: (K, channels), one row per run, of `single_gains` or `cumulative_gains`.

    Raises:
        ConfigError: the layer is unknown, or the gains do not fit it.
        DataError: the truth has another size than the SR image.
    """
    (layer,) = inspect_layers(net).find([name])
    if gains.ndim != 2 or gains.shape[1] != layer.channels:
        raise ConfigError(f"gains (K, {layer.channels}) are needed for '{name}', got {gains.shape}")
    x = paddle.to_tensor(lq[None].astype(np.float32))
    scores, changes = np.empty(len(gains)), np.empty(len(gains))
    with frozen(net):
        intact = super_resolve(net, x).numpy()[0]

        def work(start: int, stop: int) -> np.ndarray:
            shape = [stop - start, 1, 1, -1] if layer.channels_last else [stop - start, -1, 1, 1]
            factors = paddle.to_tensor(gains[start:stop]).reshape(shape)
            with edited(net, layer, lambda output: output * factors):
                return super_resolve(net, x.tile([stop - start, 1, 1, 1])).numpy()

        batch = fitting_batch(net, x, memory_mib=memory_mib, most=len(gains))
        for start, stop, images in in_batches(work, len(gains), batch, on_step=on_step):
            scores[start:stop] = [published_psnr(sr, gt) for sr in images]
            changes[start:stop] = np.abs(images - intact).mean(axis=(1, 2, 3))
    return Ablation(scores, changes)


def published_psnr(sr: np.ndarray, gt: np.ndarray) -> float:
    """PSNR in dB of the released code: clipped, cut (not rounded) to 8 bit, all channels, no border cut off;
    80 for equal images.
    """
    pair = [(np.clip(p, 0, 1) * np.float32(255)).astype(np.uint8).transpose(1, 2, 0) for p in (sr, gt)]
    value = psnr(*pair)
    return value if np.isfinite(value) else _PSNR_OF_EQUALS
