"""PatchGAN: size, what a logit sees, gradients of all norms, several sizes."""

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional as F

from ppsr.criterions.gan import GANLoss, r1_penalty
from ppsr.discriminators.patch import MultiScaleDiscriminator, NLayerDiscriminator
from ppsr.discriminators.unet import UNetDiscriminatorSN
from ppsr.errors import ConfigError, DataError
from ppsr.generators.blocks import twice_differentiable
from ppsr.models.base import Batch
from ppsr.models.sr import SRModel

NORMS = ["batch", "instance", "spectral", "none"]


def image(rng, *shape):
    return paddle.to_tensor(rng.random(shape, dtype=np.float32))


def test_published_size_and_keys():
    net = NLayerDiscriminator(input_nc=3)
    # 4x4 convolutions 3-64-128-256-512-1, biases of the first and the last, scale and shift of three norms
    pairs = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    expected = sum(16 * a * b for a, b in pairs) + 64 + 1 + 2 * (128 + 256 + 512)
    trained = [p for p in net.parameters() if not p.stop_gradient]
    assert sum(int(np.prod(p.shape)) for p in trained) == expected == 2_765_633
    assert {"model.0.weight", "model.0.bias", "model.3.weight", "model.11.bias"} <= set(net.state_dict())
    assert "model.2.bias" not in net.state_dict()


@pytest.mark.parametrize(("n_layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_the_published_size(n_layers, field):
    net = NLayerDiscriminator(input_nc=1, ndf=2, n_layers=n_layers, norm="none")
    for parameter in net.parameters():
        parameter.set_value(paddle.ones_like(parameter))  # nothing cancels
    x = paddle.ones([1, 1, 160, 160])
    x.stop_gradient = False
    y = net(x)
    assert list(y.shape) == [1, 1, 160 // 2**n_layers - 2, 160 // 2**n_layers - 2]
    middle = y.shape[2] // 2
    y[0, 0, middle, middle].backward()
    rows, columns = np.nonzero(x.grad.numpy()[0, 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == field
    assert len(rows) == field**2


@pytest.mark.parametrize("norm", NORMS)
def test_every_parameter_learns_also_by_the_gradient_penalty(rng, norm):
    net = NLayerDiscriminator(ndf=4, n_layers=2, norm=norm)
    x = image(rng, 2, 3, 24, 32)
    net(x).square().mean().backward()
    # a shift before a norm that takes the mean away cannot learn
    learns = [p for name, p in net.named_parameters() if not (norm == "instance" and name in _SHIFTS)]
    assert all(float(p.grad.abs().sum()) > 0 for p in learns if not p.stop_gradient)
    net.clear_gradients()
    penalty = r1_penalty(net, x)
    assert float(penalty) > 0
    penalty.backward()
    assert float(net.model[0].weight.grad.abs().sum()) > 0


_SHIFTS = ("model.2.bias", "model.5.bias")


def test_several_sizes_are_those_of_the_image_averaged_down(rng):
    net = MultiScaleDiscriminator(ndf=4, n_layers=2, num_d=3)
    x = image(rng, 1, 3, 64, 48)
    maps = net(x)
    assert [list(y.shape[2:]) for y in maps] == [[14, 10], [6, 4], [2, 1]]
    counts = F.avg_pool2d(paddle.ones_like(x), 3, stride=2, padding=1, exclusive=False)
    half = F.avg_pool2d(x, 3, stride=2, padding=1, exclusive=False) / counts  # the border has fewer pixels
    np.testing.assert_allclose(maps[1].numpy(), net.discriminators[1](half).numpy(), atol=1e-5)


def test_the_loss_of_several_maps_is_their_mean(rng):
    maps = [image(rng, 2, 1, 4, 4), image(rng, 2, 1, 2, 2)]
    for gan_type in ("vanilla", "lsgan", "hinge"):
        loss = GANLoss(gan_type=gan_type)
        alone = [float(loss(one, False, is_disc=True)) for one in maps]
        assert float(loss(maps, False, is_disc=True)) == pytest.approx(np.mean(alone), rel=1e-6)


@pytest.mark.parametrize("name", ["NLayerDiscriminator", "MultiScaleDiscriminator"])
def test_a_gan_trains_with_it(rng, name):
    model = SRModel(
        generator={"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
        discriminator={"name": name, "ndf": 4, "n_layers": 1},
        criterions=[{"name": "L1Loss"}, {"name": "GANLoss", "r1_reg_weight": 1.0}],
    )
    batch = Batch(lq=image(rng, 2, 3, 16, 16), gt=image(rng, 2, 3, 32, 32))
    losses = model.generator_losses(batch)
    assert set(losses) == {"l_l1", "l_g_gan"}
    losses |= model.discriminator_losses(batch)
    assert set(losses) == {"l_l1", "l_g_gan", "l_d_real", "l_d_fake", "l_d_r1"}
    assert all(
        value.size == 1 and np.isfinite(float(value)) for value in [*losses.values(), *batch.logs.values()]
    )


def test_wrong_options_and_small_images_are_named(rng):
    with pytest.raises(ConfigError, match="did you mean 'spectral'"):
        NLayerDiscriminator(norm="spectal")
    with pytest.raises(ConfigError, match="n_layers"):
        NLayerDiscriminator(n_layers=0)
    with pytest.raises(ConfigError, match="num_d"):
        MultiScaleDiscriminator(num_d=0)
    with pytest.raises(DataError, match=r"at least 24, got \[16, 64\]"):
        NLayerDiscriminator(ndf=2)(image(rng, 1, 3, 16, 64))


def test_published_size_and_keys_of_the_unet():
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
