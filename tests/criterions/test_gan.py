import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.criterions.gan import GANLoss, r1_penalty
from ppsr.discriminators.unet import UNetDiscriminatorSN
from ppsr.errors import ConfigError

_LOGITS = np.array([[-3.0, -0.5, 0.0, 2.0]], np.float32)


def _loss(real, is_disc, **options):
    return float(GANLoss(**options)(paddle.to_tensor(_LOGITS), real, is_disc=is_disc))


def test_vanilla_loss_is_binary_cross_entropy_with_soft_labels():
    p = 1 / (1 + np.exp(-_LOGITS.astype(np.float64)))
    expected = -(0.9 * np.log(p) + 0.1 * np.log(1 - p)).mean()
    assert _loss(True, True, real_label_val=0.9) == pytest.approx(expected, rel=1e-6)


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="did you mean 'vanilla'"):
        GANLoss(gan_type="vanila")
    with pytest.raises(ConfigError, match="net_d_reg_every must be 1 or more, got 0"):
        GANLoss(net_d_reg_every=0)


class _Quadratic(nn.Layer):
    """a * sum x^2, whose gradient is 2 a x."""

    def __init__(self):
        super().__init__()
        self.a = self.create_parameter([1], default_initializer=nn.initializer.Constant(3.0))

    def forward(self, x):
        return self.a * (x * x).sum(axis=[1, 2, 3])


def test_r1_penalty_of_a_quadratic_is_known(rng):
    x = rng.random((4, 3, 2, 2), dtype=np.float32)
    net = _Quadratic()
    penalty = r1_penalty(net, paddle.to_tensor(x))
    squares = (x.astype(np.float64) ** 2).sum() / 4
    assert float(penalty) == pytest.approx(4 * 9 * squares, rel=1e-5)
    penalty.backward()
    assert net.a.grad.item() == pytest.approx(8 * 3 * squares, rel=1e-5)


def test_r1_penalty_of_the_unet_has_the_gradient_of_finite_differences(rng):
    paddle.seed(0)
    net = UNetDiscriminatorSN(num_in_ch=3, num_feat=2)
    x = paddle.to_tensor(rng.random((1, 3, 8, 8), dtype=np.float32))
    for _ in range(10):
        net(x)
    net.eval()
    penalty = r1_penalty(net, x)
    penalty.backward()
    weight = net.conv5.weight_orig
    gradient = weight.grad.numpy()
    direction = gradient / np.linalg.norm(gradient)
    start, step = weight.numpy(), 1e-3
    ends = []
    for sign in (1, -1):
        weight.set_value(start + sign * step * direction)
        ends.append(float(r1_penalty(net, x)))
    slope = (ends[0] - ends[1]) / (2 * step)
    # the penalty is piecewise smooth: LeakyReLU bends within the step leave a small error
    assert slope == pytest.approx(float(np.linalg.norm(gradient)), rel=0.05)


def test_the_penalty_of_a_traced_discriminator_is_refused():
    net = UNetDiscriminatorSN(num_in_ch=3, num_feat=2)
    net.forward = paddle.jit.to_static(net.forward, full_graph=True)
    with pytest.raises(ConfigError, match="to_static"):
        r1_penalty(net, paddle.zeros([1, 3, 8, 8]))
