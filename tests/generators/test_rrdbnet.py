"""RRDBNet: what the recorded outputs of evaluation do not show."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.generators.rrdbnet import ResidualDenseBlock


@pytest.mark.parametrize(("plus", "deviation"), [(True, 0.1), (False, 0.0)])
def test_dense_blocks_of_esrgan_plus_have_relative_noise_in_training(plus, deviation):
    paddle.seed(0)
    block = ResidualDenseBlock(8, 4, plus)
    x = paddle.rand([1, 8, 64, 64])
    block.eval()
    quiet = block(x).numpy()
    np.testing.assert_array_equal(block(x).numpy(), quiet)
    block.train()
    ratio = block(x).numpy() / quiet
    # 32768 draws: the standard errors of the mean and of the deviation are 6e-4 and 4e-4
    assert ratio.mean() == pytest.approx(1, abs=3e-3)
    assert ratio.std() == pytest.approx(deviation, abs=2e-3)
