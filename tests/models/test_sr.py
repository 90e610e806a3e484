"""The plain and the adversarial SR model."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.criterions.gan import r1_penalty
from ppsr.models.base import Batch
from ppsr.models.sr import SRModel

NETS = {
    "generator": {"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
    "discriminator": {"name": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 2},
    "gan_criterion": {"name": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
}


def test_the_r1_penalty_counts_for_the_steps_that_go_without(rng):
    gan = {**NETS["gan_criterion"], "r1_reg_weight": 10.0, "net_d_reg_every": 4}
    model = SRModel(**{**NETS, "gan_criterion": gan})
    images = [paddle.to_tensor(rng.random((2, 3, 16, 16), dtype=np.float32)) for _ in range(2)]
    seen = []
    for model.step in range(8):
        losses = model.discriminator_losses(Batch(gt=images[0], sr=images[1]))
        seen.append("l_d_r1" in losses)
        if model.step == 0:
            model.nets["discriminator"].eval()  # spectral norms stay where they are
            first = float(model.discriminator_losses(Batch(gt=images[0], sr=images[1]))["l_d_r1"])
            plain = float(r1_penalty(model.nets["discriminator"], images[0]))
            assert first == pytest.approx(plain * 10 / 2 * 4, rel=1e-5)
    assert seen == [True, False, False, False] * 2
