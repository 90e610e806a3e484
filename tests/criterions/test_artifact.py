from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions.artifact import ArtifactLoss, artifact_map, local_variance
from ppsr.errors import ConfigError


def _tensor(array):
    return paddle.to_tensor(np.asarray(array, np.float32))


def test_local_variance_equals_numpy_over_every_window(rng):
    x = rng.random((2, 1, 9, 8))
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))
    expected = windows.var(axis=(-1, -2), ddof=1)
    np.testing.assert_allclose(local_variance(_tensor(x), 5).numpy(), expected, rtol=1e-4, atol=1e-7)


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


def test_a_perfect_image_has_loss_and_gradient_zero(rng):
    gt = _tensor(rng.random((1, 3, 8, 8)))
    sr = gt.clone().detach()
    sr.stop_gradient = False
    loss = ArtifactLoss()(sr, gt, gt)
    loss.backward()
    assert float(loss) <= 1.1e-6  # sqrt of Charbonnier's 1e-12
    assert np.array_equal(sr.grad.numpy(), np.zeros(sr.shape))


def test_detaching_changes_the_gradient_and_not_the_loss(rng):
    gt, sr, averaged = (_tensor(rng.random((1, 3, 8, 8))) for _ in range(3))
    results = []
    for detach in (False, True):
        sr.clear_gradient()
        sr.stop_gradient = False
        loss = ArtifactLoss(detach=detach)(sr, gt, averaged)
        loss.backward()
        results.append((float(loss), sr.grad.numpy().copy()))
    assert results[0][0] == results[1][0]
    assert np.abs(results[0][1] - results[1][1]).max() > 1e-6


def test_an_even_window_is_refused():
    with pytest.raises(ConfigError, match="odd"):
        ArtifactLoss(ksize=6)
