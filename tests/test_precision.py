"""Where half precision would lose the result, float32 is used."""

import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.criterions.alignment import AlignmentLoss
from ppsr.criterions.artifact import ArtifactLoss
from ppsr.criterions.dual_regression import drn_losses
from ppsr.criterions.gan import GANLoss, r1_penalty
from ppsr.criterions.lpips import LPIPS
from ppsr.criterions.perceptual import gram_matrix
from ppsr.discriminators.unet import UNetDiscriminatorSN
from ppsr.generators.blocks.spectral_norm import SpectralNormConv2D
from ppsr.precision import float32_parameters, half_dtype, in_float32
from tests.autocast import rounded_products

HALF = ["float16", "bfloat16"]


def tensor(rng, *shape, scale=1.0):
    return paddle.to_tensor(rng.standard_normal(shape).astype(np.float32) * np.float32(scale))


def kernels(rng, scale=1.0):
    """(6, 4, 3, 3) with one large singular value, which power iterations find within a few steps."""
    dominant = np.outer(rng.standard_normal(6), rng.standard_normal(36))
    return paddle.to_tensor(
        (scale * (dominant + rng.standard_normal((6, 36)) / 10)).astype(np.float32).reshape(6, 4, 3, 3)
    )


def test_the_simulated_autocast_rounds_products_and_can_be_switched_off():
    x = paddle.full([2, 2], 300.0)
    with rounded_products():
        assert paddle.isinf(paddle.matmul(x, x)).all()
        with paddle.amp.auto_cast(enable=False):
            assert float(paddle.matmul(x, x)[0, 0]) == 180000.0
    assert float(paddle.matmul(x, x)[0, 0]) == 180000.0


def test_a_gram_matrix_does_not_overflow_under_autocast(rng):
    maps = tensor(rng, 1, 4, 32, 32, scale=30.0)
    flat = maps.numpy().reshape(4, -1).astype(np.float64)
    with rounded_products():
        ours = gram_matrix(maps)
    np.testing.assert_allclose(ours.numpy()[0], flat @ flat.T / flat.size, rtol=1e-4, atol=1e-4)


def test_spectral_norm_keeps_the_digits_of_its_vectors_under_autocast(rng):
    layer = SpectralNormConv2D(4, 6, 3, 1, 1)
    layer.weight_orig.set_value(kernels(rng))
    with rounded_products():
        for _ in range(20):
            layer(paddle.zeros([1, 4, 8, 8]))
    left, values, right = np.linalg.svd(layer.weight_orig.numpy().reshape(6, -1).astype(np.float64))
    # float16 has 11 bits, so rounded products would leave errors of 1e-4 and more
    np.testing.assert_allclose(np.abs(layer.weight_u.numpy()), np.abs(left[:, 0]), atol=2e-6)
    np.testing.assert_allclose(np.abs(layer.weight_v.numpy()), np.abs(right[0]), atol=2e-6)
    assert float(layer.sigma()) == pytest.approx(values[0], rel=1e-6)


@pytest.mark.parametrize("dtype", HALF)
def test_spectral_norm_of_half_precision_parameters_keeps_its_vectors_in_float32(rng, dtype):
    layer = SpectralNormConv2D(4, 6, 3, 1, 1)
    layer.weight_orig.set_value(kernels(rng))
    layer.to(dtype=dtype)
    for _ in range(20):
        layer.iterate()
    assert layer.weight_u.dtype == layer.weight_v.dtype == paddle.float32
    matrix = layer.weight_orig.astype("float32").numpy().reshape(6, -1)
    assert float(layer.sigma()) == pytest.approx(np.linalg.svd(matrix, compute_uv=False)[0], rel=1e-4)


def test_the_r1_penalty_of_small_gradients_is_not_lost_under_autocast(rng):
    """Gradients of 1e-5 squared are 1e-10: float16 knows no number between 0 and 6e-8."""
    net = nn.Sequential(nn.Conv2D(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2D(4, 1, 3))
    for parameter in net.parameters():
        parameter.set_value(parameter * 1e-3)
    real = tensor(rng, 2, 3, 12, 12)
    expected = float(r1_penalty(net, real))
    with rounded_products():
        assert float(r1_penalty(net, real)) == expected > 0


@pytest.mark.parametrize("dtype", HALF)
def test_the_r1_penalty_of_half_precision_parameters_is_that_of_their_values_in_float32(rng, dtype):
    nets = [UNetDiscriminatorSN(num_in_ch=3, num_feat=2) for _ in range(2)]
    half, full = nets
    half.to(dtype=dtype)
    full.set_state_dict({key: value.astype("float32") for key, value in half.state_dict().items()})
    real = tensor(rng, 1, 3, 16, 16)
    penalties = []
    for net in nets:
        net.eval()
        penalties.append(r1_penalty(net, real.astype(dtype).astype("float32")))
        penalties[-1].backward()
    assert float(penalties[0]) == pytest.approx(float(penalties[1]), rel=1e-6)
    for ours, theirs in zip(half.parameters(), full.parameters(), strict=True):
        assert str(ours.dtype) == f"paddle.{dtype}"
        if theirs.grad is not None:
            expected = theirs.grad.astype(dtype).astype("float32").numpy()
            np.testing.assert_array_equal(ours.grad.astype("float32").numpy(), expected)


def test_float32_copies_of_parameters_are_gone_afterwards():
    net = nn.Linear(2, 2)
    net.to(dtype="bfloat16")
    own = net.weight
    with float32_parameters(net):
        assert net.weight.dtype == paddle.float32
    assert net.weight is own


@pytest.mark.parametrize("dtype", HALF)
def test_losses_that_are_no_layers_take_half_precision_too(rng, dtype):
    views = [tensor(rng, 4, 8).astype(dtype) for _ in range(2)]
    losses = AlignmentLoss(nonlinear_weight=0)(*views)
    wide = AlignmentLoss(nonlinear_weight=0)(*(view.astype("float32") for view in views))
    assert float(losses["l_reg"]) == float(wide["l_reg"])
    images = [tensor(rng, 1, 3, 8, 8, scale=255).astype(dtype) for _ in range(5)]
    terms = drn_losses(images[:2], images[2:3], images[3:4], images[4])
    assert all(term.dtype == paddle.float32 for term in terms.values())
    assert GANLoss()(views[0], True).dtype == paddle.float32
    artifacts = ArtifactLoss()(*images[:3])
    assert float(artifacts) == float(ArtifactLoss()(*(image.astype("float32") for image in images[:3])))


def test_small_distances_of_features_are_not_lost_under_autocast(rng):
    """Squared differences of normalised features, which the calibration multiplies, are 0 in float16."""
    paddle.seed(0)
    metric = LPIPS(net="alex")
    for number in range(5):
        weight = getattr(metric, f"lin{number}").model[1].weight
        weight.set_value(weight.abs())
    maps = paddle.rand([1, 64, 8, 8]) + 1
    near = maps + 1e-4 * paddle.rand(maps.shape)
    expected = metric._share(0, maps, near, [8, 8])
    with rounded_products():
        assert metric._share(0, maps, near, [8, 8]).item() == expected.item() > 0


def test_the_decorator_raises_half_precision_inside_lists_and_leaves_float64():
    seen = in_float32(lambda *args: args)(
        paddle.zeros([1], "float16"), [paddle.zeros([1], "bfloat16"), "text"], paddle.zeros([1], "float64")
    )
    assert [seen[0].dtype, seen[1][0].dtype, seen[2].dtype] == [
        paddle.float32,
        paddle.float32,
        paddle.float64,
    ]
    assert seen[1][1] == "text"


@pytest.mark.parametrize(
    ("types", "safe", "wanted", "expected"),
    [
        (["float16", "bfloat16"], True, "float16", "float16"),
        (["float16", "bfloat16"], False, "float16", "bfloat16"),
        (["float16", "bfloat16"], True, "bfloat16", "bfloat16"),
        (["float16"], False, "float16", "float32"),
        (["float16"], True, "bfloat16", "float16"),
        ([], True, "float16", "float32"),
    ],
)
def test_the_half_type_fits_network_and_device(monkeypatch, types, safe, wanted, expected):
    monkeypatch.setattr("ppsr.precision.half_types", lambda device: types)
    assert half_dtype(safe, wanted=wanted, device="gpu:0") == expected


def test_a_cpu_has_no_half_type():
    assert half_dtype(True, device="cpu") == "float32"
