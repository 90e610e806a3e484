"""The one interface of all backends, and the steps around a network that are the same for all of them."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

import numpy as np

from ppsr.errors import DataError
from ppsr.imaging.luma import on_luma
from ppsr.inference.facts import NetworkFacts

__all__ = ["Backend", "ReducedPrecision", "Steered", "self_ensemble", "super_resolve"]

logger = logging.getLogger(__name__)


class Backend(Protocol):
    """A network, ready to run.

    Attributes:
        name: as `--backend` spells it.
        facts: what the network states of itself.
    """

    name: str
    facts: NetworkFacts

    def run(self, x: np.ndarray) -> np.ndarray:
        """(N, C, H, W) float32 in 0..rgb_range, H and W multiples of `size_multiple` -> SR float32, in the
        same range and not clipped."""


class Steered(Backend, Protocol):
    """A backend whose network is steered by degradation parameters (`facts.degradation_params` > 0)."""

    def run(self, x: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
        """See `Backend`.

        Args:
            x: the images.
            degradation: (N, degradation_params) float32; None: predicted from `x`.
        """

    def degradation_map(self, x: np.ndarray) -> np.ndarray:
        """(N, C, H, W) -> (N, degradation_params, h, w) float32; the mean over h and w is the parameters."""


@runtime_checkable
class ReducedPrecision(Backend, Protocol):
    """A backend that computes with fewer bits, and can repeat a result that overflowed in full precision."""

    def run_float32(self, x: np.ndarray, *degradation: np.ndarray) -> np.ndarray:
        """As `run`, in full precision."""


def super_resolve(backend: Backend, lq: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
    """Apply a network to pictures of any size.

    Args:
        backend: the network.
        lq: (N, C, H, W) float32 in [0, 1]; of a network for luma 3 channels are RGB.
        degradation: (degradation_params,) for all images; None: predicted from each, where there are any.

    Returns:
        (N, C, scale * H, scale * W) float32, in [0, 1] up to what the network overshoots.

    Raises:
        DataError: the network gave NaN or infinity in full precision.
    """
    facts = backend.facts
    if facts.luma and lq.shape[1] == 3:
        return on_luma(lambda y: super_resolve(backend, y), np.asarray(lq, np.float32), facts.scale)
    height, width = lq.shape[2:]
    ready = _padded(np.asarray(lq * np.float32(facts.rgb_range), np.float32), facts.size_multiple)
    steering = [] if degradation is None else [np.tile(np.float32(degradation), (len(lq), 1))]
    sr = backend.run(ready, *steering)
    if not np.isfinite(sr).all():
        if isinstance(backend, ReducedPrecision):
            logger.warning("%s: values that are not finite; computed again in full precision", facts.network)
            sr = backend.run_float32(ready, *steering)
        if not np.isfinite(sr).all():
            raise DataError("the network gave values that are not finite; its weights are broken")
    sr = sr[:, :, : height * facts.scale, : width * facts.scale]
    return sr if facts.rgb_range == 1 else sr / np.float32(facts.rgb_range)


def self_ensemble(backend: Backend, lq: np.ndarray, degradation: np.ndarray | None = None) -> np.ndarray:
    """Mean of the results on the eight flips and turns of the input (Lim et al., EDSR, CVPRW 2017)."""
    total: np.ndarray | None = None
    for turn in range(4):
        for flip in (False, True):
            view = np.rot90(lq[..., ::-1] if flip else lq, turn, (2, 3))
            sr = np.rot90(super_resolve(backend, np.ascontiguousarray(view), degradation), -turn, (2, 3))
            sr = sr[..., ::-1] if flip else sr
            total = sr.astype(np.float32) if total is None else total + sr
    assert total is not None
    return total / np.float32(8)


def _padded(x: np.ndarray, multiple: int) -> np.ndarray:
    """Bottom and right up to a multiple: by reflection, by repetition where the picture is too small."""
    bottom, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    if not bottom and not right:
        return np.ascontiguousarray(x)
    reflects = bottom < x.shape[2] and right < x.shape[3]
    return np.pad(x, ((0, 0), (0, 0), (0, bottom), (0, right)), mode="reflect" if reflects else "edge")
