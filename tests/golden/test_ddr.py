"""Principal components and the Calinski-Harabasz index against scikit-learn's recorded results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppsr.analysis.ddr import calinski_harabasz, principal_components
from tests.golden.files import Golden, assert_close, golden


@golden("functions_reflash_ddr*")
@pytest.mark.smoke
def test_principal_components_equal_the_recorded_ones(path: Path) -> None:
    case = Golden(path)
    pca = principal_components(case["input/features"], case.meta["n_components"])
    assert_close(np.abs(pca.scores), case["output/pca_abs"], rtol=1e-8, what="scores")
    assert_close(pca.scores @ pca.scores.T, case["output/pca_gram"], rtol=1e-8, what="products")
    assert_close(pca.variance, case["output/explained_variance"], rtol=1e-8, what="variance")
    assert_close(pca.variance_ratio, case["output/explained_variance_ratio"], rtol=1e-8, what="ratio")


@golden("functions_reflash_ddr*")
def test_index_equals_the_recorded_one(path: Path) -> None:
    case = Golden(path)
    features, labels = case["input/features"], case["input/labels"]
    scores = principal_components(features, case.meta["n_components"]).scores
    for name, points in (("raw", features), ("pca", scores), ("pca2d", scores[:, :2])):
        assert_close(calinski_harabasz(points, labels), case[f"output/chi_{name}"], rtol=1e-8, what=name)
