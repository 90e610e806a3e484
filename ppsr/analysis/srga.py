"""SRGA: how far the deep features of a degradation are from those of a reference, as one number.

Liu et al., "Evaluating the Generalization Ability of Super-Resolution Networks", TPAMI 2023, arXiv:2205.07019
(https://github.com/lyh-18/SRGA). The features of the deepest layer of each data set go through a PCA of its
own; all scores together are described by a generalised Gaussian; the index is the logarithm of the divergence
between that of the reference and that of the data set. Smaller means that the network treats both alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gamma, gammaln

from ppsr.analysis.ddr import principal_components
from ppsr.errors import DataError

__all__ = ["GeneralisedGaussian", "describe_features", "fit", "srga"]

_COMPONENTS = 300
_OUTLIER = 5.0
_SHAPES = np.arange(0.2, 10.0, 0.001)
_FLOOR = 1e-5


@dataclass(frozen=True)
class GeneralisedGaussian:
    """Zero-mean density proportional to exp(-|x / scale| ** shape).

    Attributes:
        shape: 2 is a Gaussian, 1 a Laplacian.
    """

    sigma: float
    shape: float

    @property
    def scale(self) -> float:
        return self.sigma * float(np.exp((gammaln(1 / self.shape) - gammaln(3 / self.shape)) / 2))

    def divergence(self, other: GeneralisedGaussian) -> float:
        """Kullback-Leibler divergence of `other` from this, in nats."""
        b1, b2 = self.shape, other.shape
        constant = np.log(b1 * other.scale / (b2 * self.scale)) + gammaln(1 / b2) - gammaln(1 / b1)
        moment = (self.scale / other.scale) ** b2 * gamma((b2 + 1) / b1) / gamma(1 / b1)
        return float(constant + moment - 1 / b1)


def fit(values: np.ndarray) -> GeneralisedGaussian:
    """Moment matching: the shape, in steps of 0.001 from 0.2 to 10, whose ratio of moments is nearest."""
    square = float(np.mean(values**2))
    magnitude = float(np.mean(np.abs(values - values.mean())))
    if magnitude == 0:
        raise DataError("all features are equal; a distribution cannot be fitted")
    ratios = np.exp(gammaln(1 / _SHAPES) + gammaln(3 / _SHAPES) - 2 * gammaln(2 / _SHAPES))
    return GeneralisedGaussian(square**0.5, float(_SHAPES[np.abs(square / magnitude**2 - ratios).argmin()]))


def describe_features(features: np.ndarray) -> GeneralisedGaussian:
    """The distribution of the PCA scores of a data set's features (N, D), without outliers beyond 5 sigma.

    At most 300 components, and fewer than there are samples.
    """
    scores = principal_components(features, min(_COMPONENTS, len(features) - 1)).scores.ravel()
    inside = np.abs(scores - scores.mean()) < _OUTLIER * scores.std()
    return fit(scores[inside])


def srga(reference: GeneralisedGaussian, tested: GeneralisedGaussian) -> float:
    """The index: log10 of the divergence plus 5; 0 for equal distributions."""
    return float(np.log10(max(reference.divergence(tested), 0.0) + _FLOOR) + 5)
