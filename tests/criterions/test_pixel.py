from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions.pixel import CharbonnierLoss, L1Loss, MSELoss
from ppsr.errors import ConfigError
from ppsr.registry import CRITERIONS


def _pair(rng, shape=(2, 3, 5, 7)):
    return (paddle.to_tensor(rng.random(shape, dtype=np.float32)) for _ in range(2))


def test_losses_agree_with_their_formulas(rng):
    pred, target = _pair(rng)
    d = pred.numpy().astype(np.float64) - target.numpy()
    assert float(L1Loss(loss_weight=2.0)(pred, target)) == pytest.approx(2 * np.abs(d).mean(), rel=1e-6)
    assert float(MSELoss(reduction="sum")(pred, target)) == pytest.approx((d**2).sum(), rel=1e-6)
    smooth = CharbonnierLoss(eps=0.01, reduction="none")(pred, target).numpy()
    np.testing.assert_allclose(smooth, np.sqrt(d**2 + 0.01), rtol=1e-6)


def test_charbonnier_of_equal_images_has_zero_gradient():
    x = paddle.ones([1, 3, 2, 2])
    x.stop_gradient = False
    CharbonnierLoss()(x, paddle.ones([1, 3, 2, 2])).backward()
    assert np.array_equal(x.grad.numpy(), np.zeros([1, 3, 2, 2]))


def test_charbonnier_without_eps_is_refused():
    with pytest.raises(ConfigError, match="eps must be above 0"):
        CharbonnierLoss(eps=0.0)


def test_an_unknown_reduction_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        L1Loss(reduction="means")


def test_every_registered_criterion_can_be_found():
    names = CRITERIONS.names()
    assert {"L1Loss", "GANLoss", "PerceptualLoss", "ArtifactLoss", "LPIPSLoss"} <= set(names)
    for name in names:
        assert CRITERIONS.get(name).__name__
