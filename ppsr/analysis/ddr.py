"""Deep degradation representation: do the features of a network separate degradations?

Liu et al., "Discovering Distinctive Semantics in Super-Resolution Networks", arXiv:2108.00406, used by
Reflash Dropout (Kong et al., CVPR 2022, arXiv:2112.12089): features of one layer over images and
degradations, PCA, t-SNE to the plane, and the Calinski-Harabasz index of the clusters. Less separable
degradations (a lower index) mean that the network treats them alike. No code was published: sizes and
defaults are choices of this project. PCA is computed from the products of the samples, so that samples of a
million features need little memory.
"""

from __future__ import annotations

import logging
import math
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from ppsr.analysis.batches import MEMORY_MIB, OnStep, fitting_batch, in_batches
from ppsr.analysis.layers import frozen, inspect_layers
from ppsr.degradations.reflash_benchmark import degrade
from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import capture, super_resolve
from ppsr.imaging.io import read_image, to_uint8

__all__ = [
    "DEGRADATIONS",
    "Patches",
    "Pca",
    "calinski_harabasz",
    "check_embedding",
    "degraded_patches",
    "embed",
    "layer_features",
    "principal_components",
]

logger = logging.getLogger(__name__)

DEGRADATIONS = ("bicubic", "blur2_bicubic", "bicubic_noise20", "bicubic_jepg50", "blur2_bicubic_noise20")
_BLOCK = 1 << 14
_LARGEST_PCA = 50
_SEEDS = 2**32  # those of scikit-learn


@dataclass(frozen=True)
class Patches:
    """The same LR patches under several degradations.

    Attributes:
        lq: (K * N, C, h, w) in [0, 1], one degradation after the other.
        labels: (K * N,), index of the degradation.
    """

    lq: np.ndarray
    labels: np.ndarray
    degradations: tuple[str, ...]


@dataclass(frozen=True)
class Pca:
    """Principal components of samples.

    Attributes:
        scores: (N, K), the samples in the components; the largest magnitude of each column is positive.
        variance: (K,).
        variance_ratio: (K,), by the variance of all components.
    """

    scores: np.ndarray
    variance: np.ndarray
    variance_ratio: np.ndarray


def degraded_patches(
    paths: Sequence[Path],
    degradations: Sequence[str] = DEGRADATIONS,
    *,
    scale: int,
    count: int = 100,
    side: int = 32,
    channels: int = 3,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Patches:
    """Cut windows from HR images and degrade each in every way.

    Args:
        degradations: names of `ppsr.degradations.reflash_benchmark.VARIANTS`.
        channels: 3, or 1 for images made gray (luma) before they are degraded.
        seed: seed of places and noise, which also depend on the degradation and the index of the window.

    Raises:
        ConfigError: no degradation, an unknown one or one twice, a side below 1, or a negative seed.
        DataError: no image is large enough.
    """
    if not degradations:
        raise ConfigError("name at least one degradation")
    if len(set(degradations)) < len(degradations):
        raise ConfigError(f"name each degradation once; got {', '.join(degradations)}")
    if side < 1 or seed < 0:
        raise ConfigError(f"a side of at least 1 and a seed of at least 0 are needed; got {side} and {seed}")
    gray = channels == 1
    large = []
    for path in paths:
        try:
            image = to_uint8(read_image(path, gray=gray))
        except DataError as error:
            logger.warning("left out: %s", error)
            continue
        if min(image.shape[:2]) >= side * scale:
            large.append(image)
    if not large:
        raise DataError(
            f"none of {len(paths)} images, such as {paths[0]}, is at least {side * scale} x {side * scale}, "
            f"which patches of side {side} need at x{scale}; give larger images or a smaller side"
        )
    groups: list[list[np.ndarray]] = [[] for _ in degradations]
    for k in range(count):
        if on_step is not None:
            on_step(k, count)
        image = large[k % len(large)]
        place = np.random.default_rng([seed, k])
        top, left = (int(place.integers(0, s - side * scale + 1)) for s in image.shape[:2])
        hr = image[top : top + side * scale, left : left + side * scale]
        hr = np.ascontiguousarray(hr[..., 0] if gray else hr)
        for group, name in zip(groups, degradations, strict=True):
            noise = np.random.default_rng([seed, k, zlib.crc32(name.encode())])
            lq = degrade(hr, name, scale=scale, rng=noise).astype(np.float32) / 255
            planes = np.atleast_3d(lq).transpose(2, 0, 1)
            group.append(planes[:channels])  # JPEG makes three equal planes of a gray one
    labels = np.repeat(np.arange(len(degradations)), count)
    return Patches(np.asarray([lq for group in groups for lq in group]), labels, tuple(degradations))


def layer_features(
    net: nn.Layer, lq: np.ndarray, name: str, *, memory_mib: int = MEMORY_MIB, on_step: OnStep | None = None
) -> np.ndarray:
    """Features of one layer, flattened.

    Args:
        lq: (N, C, H, W) in [0, 1].

    Returns:
        (N, features) float32, in a temporary file that the system maps into memory.

    Raises:
        ConfigError: the layer is unknown or gives no map.
    """
    inspect_layers(net).find([name])
    features: np.ndarray | None = None
    with frozen(net), capture(net, [name]) as seen:

        def work(start: int, stop: int) -> np.ndarray:
            super_resolve(net, paddle.to_tensor(lq[start:stop]))
            return seen[name].numpy().reshape(stop - start, -1)

        batch = fitting_batch(net, paddle.to_tensor(lq[:1]), memory_mib=memory_mib, most=len(lq))
        for start, stop, rows in in_batches(work, len(lq), batch, on_step=on_step):
            if features is None:
                with tempfile.TemporaryFile() as file:  # the mapping outlives the handle
                    features = np.memmap(file, np.float32, "w+", shape=(len(lq), rows.shape[1]))
            features[start:stop] = rows
    if features is None:
        raise DataError("there are no images")
    return features


def principal_components(samples: np.ndarray, count: int) -> Pca:
    """Centred PCA without whitening, in float64.

    Args:
        count: components wanted; at most min(N, features) are there.

    Raises:
        DataError: fewer than two samples, or values that are not finite.
    """
    if samples.ndim != 2 or len(samples) < 2:
        raise DataError(f"PCA needs at least two samples (N, features), got {samples.shape}")
    products = np.zeros((len(samples), len(samples)))
    for start in range(0, samples.shape[1], _BLOCK):
        block = samples[:, start : start + _BLOCK].astype(np.float64)
        block -= block.mean(axis=0)
        products += block @ block.T
    if not np.isfinite(products).all():
        raise DataError("features are not finite; the network's weights are broken")
    powers, vectors = np.linalg.eigh(products)
    powers, vectors = np.maximum(powers[::-1], 0), vectors[:, ::-1]
    kept = min(count, *samples.shape)
    scores = vectors[:, :kept] * np.sqrt(powers[:kept])
    largest = np.abs(scores).argmax(axis=0)
    scores *= np.where(scores[largest, np.arange(kept)] < 0, -1.0, 1.0)
    variance = powers / (len(samples) - 1)
    ratio = variance[:kept] / max(variance.sum(), np.finfo(np.float64).tiny)
    return Pca(scores, variance[:kept], ratio)


def check_embedding(*, perplexity: float, seed: int) -> None:
    """Whether t-SNE takes these.

    Raises:
        ConfigError: the perplexity is not positive and finite, or the seed is not in 0..2^32 - 1.
    """
    if not (math.isfinite(perplexity) and perplexity > 0):
        raise ConfigError(f"perplexity must be a positive number, got {perplexity}")
    if not 0 <= seed < _SEEDS:
        raise ConfigError(f"the seed must be in 0..{_SEEDS - 1}, got {seed}")


def embed(features: np.ndarray, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """t-SNE to the plane after PCA to at most 50 components; (N, features) -> (N, 2).

    Raises:
        ConfigError: scikit-learn is missing, or as `check_embedding`.
        DataError: fewer than five samples.
    """
    check_embedding(perplexity=perplexity, seed=seed)
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise ConfigError("t-SNE comes with scikit-learn: pip install 'ppsr[analysis]'") from None
    if len(features) < 5:
        raise DataError(f"t-SNE needs at least five samples, got {len(features)}")
    scores = principal_components(features, _LARGEST_PCA).scores
    neighbours = min(perplexity, (len(features) - 1) / 3)
    return TSNE(2, perplexity=neighbours, init="pca", random_state=seed).fit_transform(scores)


def calinski_harabasz(points: np.ndarray, labels: np.ndarray) -> float:
    """Dispersion between groups by that within them, each by its degrees of freedom; large when separable.

    Calinski, Harabasz, "A dendrite method for cluster analysis", 1974.

    Raises:
        DataError: fewer than two groups, or as many groups as points.
    """
    groups = [points[labels == label].astype(np.float64) for label in np.unique(labels)]
    if not 2 <= len(groups) < len(points):
        raise DataError(f"{len(points)} points in {len(groups)} groups have no dispersion to compare")
    centre = points.astype(np.float64).mean(axis=0)
    between = sum(len(group) * float(((group.mean(axis=0) - centre) ** 2).sum()) for group in groups)
    within = sum(float(((group - group.mean(axis=0)) ** 2).sum()) for group in groups)
    if within == 0:
        return float("inf")
    return between / (len(groups) - 1) / (within / (len(points) - len(groups)))
