"""PSNR and SSIM against independent formulas, MS-SSIM, LPIPS and depth errors, NIQE with known moments."""

import numpy as np
import paddle
import pytest
from scipy.ndimage import gaussian_filter

from ppsr.criterions.lpips import LPIPS
from ppsr.errors import ConfigError, DataError
from ppsr.metrics import similarity
from ppsr.metrics.depth import MAD, PE, RMSE
from ppsr.metrics.niqe import NIQE, block_features
from ppsr.metrics.psnr_ssim import PSNR, SSIM, psnr, ssim
from ppsr.metrics.similarity import MSSSIM
from ppsr.registry import METRICS


def pair(rng, *shape):
    gt = rng.integers(0, 256, shape)
    return np.clip(gt + rng.integers(-30, 31, shape), 0, 255).astype(np.uint8), gt.astype(np.uint8)


@pytest.mark.parametrize("on_y", [False, True])
def test_one_scale_is_ssim(rng, on_y):
    sr, gt = pair(rng, 40, 48, 3)
    options = {"crop_border": 2, "test_y_channel": on_y}
    # the window of the one is float32
    assert MSSSIM(scales=1, **options)(sr, gt) == pytest.approx(SSIM(**options)(sr, gt), abs=1e-6)


def test_equal_images_score_one_and_small_ones_are_refused(rng):
    _, gt = pair(rng, 176, 180, 3)
    assert MSSSIM()(gt, gt) == pytest.approx(1, abs=1e-9)
    with pytest.raises(DataError, match="176 pixels"):
        MSSSIM(crop_border=1)(gt, gt)


def test_the_metric_is_the_distance_of_the_cropped_images_in_unit_range(monkeypatch, rng):
    net = LPIPS(net="alex")
    monkeypatch.setattr(similarity, "build_lpips", lambda **_: net)
    sr, gt = rng.integers(0, 256, (2, 70, 72, 3), dtype=np.uint8)
    inner = [
        paddle.to_tensor(x[3:-3, 3:-3].transpose(2, 0, 1)[None].astype("float32") / 127.5 - 1)
        for x in (sr, gt)
    ]
    metric = similarity.LPIPSMetric(crop_border=3)
    assert metric(sr, gt) == pytest.approx(net(*inner).item(), rel=1e-4)
    assert metric(gt, gt) == 0
    assert not metric.higher_is_better


GT = np.array([[10, 20], [40, 0]], np.uint8)
SR = np.array([[13, 16], [40, 5]], np.uint8)


def test_values_follow_the_formulas():
    assert RMSE()(SR, GT) == pytest.approx(np.sqrt((9 + 16 + 0 + 25) / 4))
    assert MAD()(SR, GT) == pytest.approx((3 + 4 + 0 + 5) / 4)
    assert PE()(SR, GT) == pytest.approx((0.3 + 0.2 + 0) / 3)


@pytest.mark.parametrize("metric", [RMSE, MAD, PE])
def test_a_perfect_map_is_0_when_safe_and_infinite_as_published(metric):
    known = GT + 1
    assert metric()(known, known) == 0
    assert metric(definition="published")(known, known) == np.inf


def test_published_relative_error_is_spoiled_by_unknown_depth():
    assert PE(definition="published")(SR, GT) == np.inf
    both_zero = SR * (GT > 0)
    assert np.isnan(PE(definition="published")(both_zero, GT))


def test_relative_error_without_any_known_depth_is_refused():
    with pytest.raises(DataError, match="unknown"):
        PE()(SR, GT * 0)


@pytest.mark.parametrize("metric", [RMSE, MAD, PE])
def test_infinite_depth_is_refused(metric):
    broken = SR.astype(np.float32)
    broken[0, 0] = np.inf
    with pytest.raises(DataError, match="infinite"):
        metric()(broken, GT)


def test_only_the_first_channel_counts():
    assert RMSE()(np.stack([SR, SR * 0], -1), np.stack([GT, GT], -1)) == RMSE()(SR, GT)


def test_an_unknown_definition_is_refused():
    with pytest.raises(ConfigError, match="safe, published"):
        METRICS.build({"name": "RMSE", "definition": "exact"})


@pytest.fixture
def parameters(tmp_path):
    line = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    moments = {"mu_pris_param": np.zeros((1, 36)), "cov_pris_param": np.eye(36)}
    np.savez(tmp_path / "p.npz", **moments, gaussian_window=window)
    return tmp_path / "p.npz"


def test_a_flat_block_has_the_smallest_shapes_and_no_widths(parameters):
    flat = NIQE(parameters=parameters)._normalised(np.full((8, 8), 129.3, np.float32))
    assert not flat.any()  # rounding must not give it a distribution
    features = block_features(flat)
    shapes = [0, 2, 6, 10, 14]
    assert features[shapes] == pytest.approx(0.2)  # the original takes the first of its table
    assert np.isnan(np.delete(features, shapes)).all()


def test_a_score_is_a_finite_number_that_noise_changes(parameters, rng):
    image = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    smooth = np.repeat(np.repeat(image[::4, ::4], 4, axis=0), 4, axis=1)
    metric = NIQE(parameters=parameters)
    assert np.isfinite(metric(image))
    assert metric(image) != metric(smooth)


def test_an_image_of_one_block_is_refused(parameters, rng):
    with pytest.raises(DataError, match="two blocks"):
        NIQE(parameters=parameters)(rng.integers(0, 256, (100, 100, 3), dtype=np.uint8))


def test_absent_parameters_say_where_to_get_them(tmp_path):
    with pytest.raises(ConfigError, match=r"niqe_pris_params\.npz from https"):
        NIQE(parameters=tmp_path / "none.npz")


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", mu_pris_param=np.zeros(4))
    with pytest.raises(ConfigError, match=r"is not niqe_pris_params\.npz"):
        NIQE(parameters=tmp_path / "other.npz")


def test_without_a_file_the_catalogue_is_asked(parameters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr("ppsr.metrics.niqe.get_entry", lambda entry: asked.append(entry.name) or parameters)
    assert np.array_equal(NIQE().mean, NIQE(parameters=parameters).mean)
    assert asked == ["niqe-parameters"]


@pytest.fixture
def images(rng):
    return pair(rng, 40, 52, 3)


def test_equal_images_have_infinite_psnr_and_ssim_one(images):
    assert psnr(images[1], images[1]) == float("inf")
    assert ssim(images[1], images[1]) == pytest.approx(1)


def _definition(a, b):
    """scipy's Gaussian of radius 5 is the same window; variances come one by one."""

    def mean(x):
        return gaussian_filter(x, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    variance_a, variance_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    covariance = mean(a * b) - mean(a) * mean(b)
    similarity = (
        (2 * mean(a) * mean(b) + 6.5025)
        * (2 * covariance + 58.5225)
        / ((mean(a) ** 2 + mean(b) ** 2 + 6.5025) * (variance_a + variance_b + 58.5225))
    )
    return similarity.mean()


@pytest.mark.parametrize("rows", [11, 40, 74, 75, 333, 700])
def test_ssim_equals_the_definition_however_it_is_split(rows, rng):
    sr, gt = pair(rng, rows, 30, 3)
    planes = [(sr[..., c].astype(float), gt[..., c].astype(float)) for c in range(3)]
    assert ssim(sr, gt) == pytest.approx(np.mean([_definition(a, b) for a, b in planes]), abs=1e-9)
    on_y = [x @ np.array([65.481, 128.553, 24.966]) / 255 + 16 for x in (sr.astype(float), gt.astype(float))]
    assert ssim(sr, gt, test_y_channel=True) == pytest.approx(_definition(*on_y), abs=1e-9)
    mse = np.mean((on_y[0] - on_y[1]) ** 2)
    assert psnr(sr, gt, test_y_channel=True) == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-9)


def test_pixels_of_the_border_do_not_count(images):
    sr, gt = images
    spoiled = sr.copy()
    spoiled[:4], spoiled[-4:], spoiled[:, :4], spoiled[:, -4:] = 0, 0, 0, 0
    assert PSNR(crop_border=4)(spoiled, gt) == PSNR(crop_border=4)(sr, gt)
    assert PSNR(crop_border=3)(spoiled, gt) != PSNR(crop_border=3)(sr, gt)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_unequal_sizes_are_refused(metric, images):
    with pytest.raises(DataError, match="unequal size"):
        metric(images[0][:-1], images[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_nan_and_infinity_are_refused_on_either_side(metric, value, images):
    broken = images[0].astype(np.float32)
    broken[3, 4, 1] = value
    for both in ((broken, images[1]), (images[1], broken)):
        with pytest.raises(DataError, match="NaN or infinite"):
            metric(*both)


def test_a_border_that_leaves_nothing_is_refused(images):
    with pytest.raises(DataError, match="border of 20 leaves nothing"):
        psnr(*images, crop_border=20)
