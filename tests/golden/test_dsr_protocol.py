"""PaddleDepth's depth super-resolution: images, metrics, noise and the learning rate."""

import json
import re

import numpy as np
import pytest

from ppsr.datasets.pyramid import opencv_level
from ppsr.degradations.depth import add_depth_noise
from ppsr.imaging.io import to_uint8
from ppsr.metrics.depth import MAD, PE, RMSE
from ppsr.metrics.psnr_ssim import psnr, ssim
from ppsr.solver.schedules import CosineAnnealingRestartLR
from tests.golden.files import Golden, assert_close, golden

ERRORS = {"rmse": RMSE, "mad": MAD, "pe": PE}


def _cases(g):
    """Prediction and truth of each case as 8-bit RGB."""
    for case in sorted({k.split("/")[0] for k in g.group("input") if k[0].isdigit()}):
        gt = np.repeat(g[f"input/{case}/gt"][..., None], 3, axis=2)
        yield case, to_uint8(g[f"input/{case}/pred"].transpose(1, 2, 0) / 255), gt


def _borders(g, case):
    return sorted({int(k.split("/")[0][4:]) for k in g.group(f"output/{case}") if k.startswith("crop")})


def _border_of_means(g, cases):
    """The border whose recorded PSNR values have the recorded mean."""
    means = {b: np.mean([g[f"output/{c}/crop{b}/psnr_y"] for c in cases]) for b in _borders(g, cases[0])}
    return min(means, key=lambda border: abs(means[border] - g["output/mean/psnr"]))


@golden("drn_dsr_protocol*")
@pytest.mark.smoke
def test_images_and_their_scores(path):
    g = Golden(path)
    for case, pred, gt in _cases(g):
        assert_close(pred, g[f"output/{case}/pred_uint8"])
        gray = g[f"output/{case}/pred1_uint8"]
        for border in _borders(g, case):
            expected = g.group(f"output/{case}/crop{border}")
            for key, sr, on_y in (("y", pred, True), ("rgb", pred, False), ("gray", gray, False)):
                options = {"crop_border": border, "test_y_channel": on_y}
                assert_close(psnr(sr, gt, **options), expected[f"psnr_{key}"], atol=1e-4, what=f"psnr {key}")
                assert_close(ssim(sr, gt, **options), expected[f"ssim_{key}"], atol=1e-5, what=f"ssim {key}")
            options = {"crop_border": border, "test_y_channel": True}
            assert psnr(gt, gt, **options) == expected["psnr_id"]
            assert_close(ssim(gt, gt, **options), expected["ssim_id"], atol=1e-5, what="ssim of equal images")
            for name, metric in ERRORS.items():
                scorer = metric(crop_border=border, definition="published")
                for key, sr in ((name, pred), (f"{name}_id", gt)):
                    np.testing.assert_allclose(scorer(sr, gt), expected[key], rtol=1e-5)


@golden("drn_dsr_protocol*")
def test_means_over_images(path):
    g = Golden(path)
    cases = list(_cases(g))
    border = _border_of_means(g, [case for case, _, _ in cases])
    metrics = {
        "psnr": lambda a, b: psnr(a, b, crop_border=border, test_y_channel=True),
        "ssim": lambda a, b: ssim(a, b, crop_border=border, test_y_channel=True),
        **{name: cls(crop_border=border, definition="published") for name, cls in ERRORS.items()},
    }
    for name, metric in metrics.items():
        mean = np.mean([metric(pred, gt) for _, pred, gt in cases])
        np.testing.assert_allclose(mean, g[f"output/mean/{name}"], rtol=1e-5)


@golden("drn_dsr_protocol*")
def test_noise_of_depth(path):
    g = Golden(path)
    noisy = add_depth_noise(g["input/noise/depth"], g["input/noise/standard_normal"])
    assert_close(noisy, g["output/noise/depth"])


@golden("drn_dsr_protocol*")
def test_learning_rate(path):
    g = Golden(path)
    options = re.findall(
        r"(learning_rate|periods|restart_weights|eta_min) (\[[^]]*\]|[^,;\s]+)", g.meta["cosine"]
    )
    schedule = CosineAnnealingRestartLR(**{name: json.loads(value) for name, value in options})
    expected = g["output/cosine_restart_lr"]
    assert_close([schedule(step) for step in range(len(expected))], expected, atol=1e-12)


@golden("drn_dsr_protocol*")
def test_the_level_between_as_paddlegan_makes_it(path):
    g = Golden(path)
    expected = g["output/lqx2"]
    assert_close(opencv_level(g["input/lqx2/gt"], expected.shape[:2]), expected)
