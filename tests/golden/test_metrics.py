"""PSNR, SSIM and NIQE against the published code."""

from pathlib import Path

import pytest

from ppsr.metrics.niqe import NIQE, block_features, fit_aggd
from ppsr.metrics.psnr_ssim import psnr, ssim
from tests.golden.files import Golden, assert_close, golden

PARAMETERS = Path("data/pretrained/niqe_pris_params.npz")


def _images(g):
    return {name: g[f"input/{name}_bgr_u8"][..., ::-1] for name in ("sr", "gt")}


@golden("functions_metrics*")
@pytest.mark.smoke
def test_psnr_and_ssim(path):
    g = Golden(path)
    pair = _images(g)
    for border in g.meta["crops"]:
        for channels in ("y", "rgb"):
            options = {"crop_border": border, "test_y_channel": channels == "y"}
            key = f"{channels}_crop{border}"
            assert_close(psnr(**pair, **options), g[f"output/psnr_{key}"], atol=1e-4)
            assert_close(ssim(**pair, **options), g[f"output/ssim_{key}"], atol=1e-6)
        options = {"crop_border": border, "test_y_channel": True}
        assert_close(psnr(**pair, **options), g[f"output/script_psnr_y_crop{border}"], atol=1e-4)
        assert_close(ssim(**pair, **options), g[f"output/script_ssim_y_crop{border}"], atol=1e-6)


@golden("functions_metrics*")
def test_statistics_of_niqe(path):
    g = Golden(path)
    assert_close(fit_aggd(g["input/aggd_block"]), g["output/aggd_param"], atol=1e-9)
    assert_close(block_features(g["input/aggd_block"]), g["output/niqe_feature18"], atol=1e-9)


@golden("functions_metrics*")
def test_niqe(path):
    if not PARAMETERS.is_file():
        pytest.skip(f"{PARAMETERS} of BasicSR is not part of this project")
    g = Golden(path)
    pair = _images(g)
    for key, expected in g.group("output").items():
        if key.startswith("niqe_") and key.count("_") == 3:
            _, image, plane, border = key.split("_")
            metric = NIQE(
                parameters=PARAMETERS, convert_to=plane, crop_border=int(border.removeprefix("crop"))
            )
            # the halved image is computed in float32, the covariance of few blocks magnifies that
            assert_close(metric(pair[image]), expected, atol=1e-3, what=key)
