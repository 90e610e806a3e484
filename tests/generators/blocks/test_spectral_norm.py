from __future__ import annotations

import numpy as np
import paddle

from ppsr.generators.blocks.spectral_norm import SpectralNormConv2D


def test_iterations_converge_to_the_largest_singular_value(rng):
    paddle.seed(0)  # two nearly equal singular values would need many more iterations
    conv = SpectralNormConv2D(3, 5, 3, padding=1)
    for _ in range(300):
        conv.iterate()
    matrix = conv.weight_orig.numpy().reshape(5, -1).astype(np.float64)
    assert abs(float(conv.sigma()) - np.linalg.svd(matrix, compute_uv=False)[0]) < 1e-5


def test_vectors_change_in_training_only(rng):
    conv = SpectralNormConv2D(3, 5, 3, padding=1)
    x = paddle.to_tensor(rng.random((1, 3, 4, 4), dtype=np.float32))
    before = conv.weight_u.numpy().copy()
    conv.eval()
    conv(x)
    assert np.array_equal(conv.weight_u.numpy(), before)
    conv.train()
    conv(x)
    assert not np.array_equal(conv.weight_u.numpy(), before)


def test_two_forwards_before_one_backward_work(rng):
    conv = SpectralNormConv2D(3, 5, 3, padding=1)
    x = paddle.to_tensor(rng.random((1, 3, 4, 4), dtype=np.float32))
    (conv(x).sum() - conv(2 * x).sum()).backward()
    assert np.isfinite(conv.weight_orig.grad.numpy()).all()
    assert set(conv.state_dict()) == {"weight_orig", "weight_u", "weight_v"}
