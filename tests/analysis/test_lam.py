"""Local attribution maps."""

import numpy as np
import paddle
import pytest

from ppsr.analysis.lam import LamSettings, blur_kernels, blur_path, edge_strength, lam, path_steps
from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import super_resolve
from ppsr.registry import build_generator
from tests.networks import network


@pytest.fixture
def net():
    paddle.seed(0)
    return build_generator("SRVGGNetCompact", num_feat=8, num_conv=1, upscale=2)


def _strength(net, image, window):
    return float(edge_strength(super_resolve(net, paddle.to_tensor(image[None])), window).sum())


@pytest.mark.smoke
def test_attributions_sum_to_the_change_of_the_objective(net, rng):
    """Completeness of integrated gradients, against forward passes alone."""
    lq = rng.random((3, 12, 14), dtype=np.float32)
    settings = LamSettings(window=8, top=6, left=10, sigma=1.0, fold=400, kernel_size=5)
    result = lam(net, lq, settings)
    blurred, _ = blur_path(lq, np.concatenate([blur_kernels(1.0, 400, 5)[:1]] * 2), 0, 1)
    expected = _strength(net, lq, result.window) - _strength(net, blurred[0], result.window)
    # the sum is a right Riemann sum; its error falls with 1 / fold
    assert result.gradient.sum() == pytest.approx(expected, rel=0.03)
    assert result.objectives[-1] == pytest.approx(_strength(net, lq, result.window), rel=1e-5)


def test_pixels_outside_the_receptive_field_contribute_nothing(net, rng):
    image = rng.random((3, 24, 24), dtype=np.float32)
    result = lam(net, image, LamSettings(window=2, top=20, left=20, fold=3))
    radius = net.receptive_radius
    outside = np.ones((24, 24), bool)
    # window of SR rows 20..21 and the gradient's next row: LR rows 10..11
    outside[10 - radius : 12 + radius, 10 - radius : 12 + radius] = False
    assert not result.map[outside].any()
    assert result.map[10:12, 10:12].all()


def test_batches_do_not_change_the_result(net, rng):
    lq = rng.random((3, 10, 11), dtype=np.float32)
    settings = LamSettings(window=4, fold=7)
    one = list(path_steps(net, lq, settings, memory_mib=1))
    many = list(path_steps(net, lq, settings, memory_mib=512))
    assert len(many) == 1
    found, expected = (np.concatenate([p.attributions for p in parts]) for parts in (one, many))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["SwinIR", "DRNGenerator", "MSRResNet", "BlindSR", "MambaIR", "MambaDRCT"])
def test_any_generator_takes_any_size(name, rng):
    """Windows that do not divide the image, a range of 255 and lists of outputs are taken care of."""
    net = network(name)
    lq = rng.random((3, 10, 13), dtype=np.float32)
    result = lam(net, lq, LamSettings(window=6, fold=2, kernel_size=3))
    assert result.gradient.shape == lq.shape
    assert result.sr.shape == (3, 10 * net.scale, 13 * net.scale)
    assert result.map.max() == 1
    assert 0 <= result.diffusion_index <= 100
    assert -1 < result.sr.mean() < 2


@pytest.mark.parametrize("name", ["SRVGGNetCompact", "MSRResNet", "DRNGenerator"])
def test_flat_images_have_no_attribution(name):
    """The blurred image is the image but for rounding, which must not become a map; MSRResNet's SR is
    flat as well, so that its objective is faint."""
    net = network(name)
    result = lam(net, np.full((3, 10, 10), 0.3, np.float32), LamSettings(window=4, fold=3))
    assert result.gradient.any()
    assert not result.attributed
    assert not result.map.any()
    assert not result.signed.any()
    assert np.isnan(result.diffusion_index)
    assert result.contributing_pixels() == 0


@pytest.mark.parametrize("name", ["SRVGGNetCompact", "MSRResNet", "DRNGenerator"])
def test_weak_details_are_attributed(name, rng):
    net = network(name)
    lq = np.full((3, 10, 10), 0.3, np.float32) + rng.normal(0, 1e-3, (3, 10, 10)).astype(np.float32)
    result = lam(net, lq, LamSettings(window=4, fold=3))
    assert result.attributed
    assert 0 < result.diffusion_index < 100


@pytest.mark.parametrize(
    "settings", [LamSettings(window=8, top=14), LamSettings(window=21), LamSettings(window=4, left=-1)]
)
def test_a_window_outside_the_image_is_an_error(net, settings):
    with pytest.raises(ConfigError, match="leaves the SR image of 20 x 20"):
        lam(net, np.zeros((3, 10, 10), np.float32), settings)


def test_impossible_settings_are_errors():
    wrong = {"window": (0,), "fold": (0,), "sigma": (0.0, np.nan, np.inf), "kernel_size": (0, 2, 8)}
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ConfigError, match=name):
                LamSettings(**{name: value})


def test_broken_weights_are_an_error(net, rng):
    net.body[0].bias.set_value(np.full(8, np.nan, np.float32))
    with pytest.raises(DataError, match="not finite"):
        lam(net, rng.random((3, 8, 8), dtype=np.float32), LamSettings(window=4, fold=1))
