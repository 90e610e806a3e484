from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.discriminators.unet import UNetDiscriminatorSN
from ppsr.errors import DataError
from ppsr.generators.blocks import twice_differentiable


def test_published_size_and_keys():
    net = UNetDiscriminatorSN(num_in_ch=3)
    assert sum(int(np.prod(p.shape)) for p in net.parameters()) == 4_376_897
    keys = set(net.state_dict())
    assert {"conv0.bias", "conv1.weight_orig", "conv8.weight_u", "conv8.weight_v", "conv9.weight"} <= keys
    assert "conv1.bias" not in keys


def test_logits_have_the_images_size_and_every_parameter_a_gradient(rng):
    net = UNetDiscriminatorSN(num_in_ch=3, num_feat=2)
    y = net(paddle.to_tensor(rng.random((2, 3, 16, 24), dtype=np.float32)))
    assert list(y.shape) == [2, 1, 16, 24]
    y.square().mean().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in net.parameters())


def test_without_skip_connections_encoder_features_are_not_added(rng):
    nets = [UNetDiscriminatorSN(num_in_ch=1, num_feat=2, skip_connection=s) for s in (True, False)]
    nets[1].set_state_dict(nets[0].state_dict())
    x = paddle.to_tensor(rng.random((1, 1, 8, 8), dtype=np.float32))
    for net in nets:
        net.eval()
    assert float((nets[0](x) - nets[1](x)).abs().max()) > 0


def test_sides_that_skip_connections_cannot_join_are_refused():
    image = paddle.zeros([1, 3, 16, 20])
    with pytest.raises(DataError, match=r"multiples of 8, got \[16, 20\]"):
        UNetDiscriminatorSN(num_in_ch=3, num_feat=2)(image)
    free = UNetDiscriminatorSN(num_in_ch=3, num_feat=2, skip_connection=False)
    assert list(free(image).shape) == [1, 1, 16, 16]


def test_the_operator_enlarges_unless_second_derivatives_are_wanted(rng, monkeypatch):
    net = UNetDiscriminatorSN(num_in_ch=3, num_feat=2)
    x = paddle.to_tensor(rng.random((1, 3, 16, 24), dtype=np.float32))
    for _ in range(5):
        net(x)  # spectral norms settle, so that logits are near one
    net.eval()
    calls = []
    operator = nn.functional.interpolate
    monkeypatch.setattr(
        nn.functional, "interpolate", lambda *args, **options: calls.append(1) or operator(*args, **options)
    )
    plain = net(x)
    assert len(calls) == 3
    with twice_differentiable():
        composite = net(x)
    assert len(calls) == 3
    np.testing.assert_allclose(composite.numpy(), plain.numpy(), rtol=1e-4, atol=1e-5)
