from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions.artifact import ArtifactLoss, artifact_map, local_variance
from ppsr.errors import ConfigError


def _tensor(array):
    return paddle.to_tensor(np.asarray(array, np.float32))


def test_local_variance_keeps_its_digits_on_a_large_offset(rng):
    x = rng.random((1, 1, 12, 12)) * 1e-2
    plain, shifted = local_variance(_tensor(x)), local_variance(_tensor(x + 1))
    np.testing.assert_allclose(shifted.numpy(), plain.numpy(), rtol=2e-3)


def test_the_map_is_zero_where_the_trained_image_is_better(rng):
    gt, sr = rng.random((1, 3, 10, 10)), rng.random((1, 3, 10, 10))
    averaged = sr.copy()
    averaged[..., :5] = gt[..., :5]
    averaged[..., 5:] = gt[..., 5:] + 1
    result = artifact_map(*(_tensor(x) for x in (gt, sr, averaged))).numpy()
    assert (result[..., :5] > 0).all()
    assert (result[..., 5:] == 0).all()


def test_an_even_window_is_refused():
    with pytest.raises(ConfigError, match="odd"):
        ArtifactLoss(ksize=6)
