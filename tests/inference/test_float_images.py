"""TIFF files of floats: upscaled and scored in a range that is stated."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from ppsr.errors import ConfigError
from ppsr.evaluation.evaluate import evaluate
from ppsr.inference.upscale_files import FileOptions
from ppsr.inference.upscaler import Upscaler
from tests.inference.helpers import Repeat, upscale_files

LOW, HIGH = -40.0, 160.0


def _save(path, image):
    planes = "contig" if image.ndim == 3 else None
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig=planes, metadata=None)


def _write(path, shape=(12, 17)):
    path.parent.mkdir(exist_ok=True)
    image = np.random.default_rng(0).uniform(LOW, HIGH, shape).astype(np.float32)
    _save(path, image)
    return image


def _upscale(network, source, target, **options):
    [report] = upscale_files(Upscaler(network), source, target, options=FileOptions(**options))
    return report


@pytest.mark.parametrize("bands", [1, 6])
def test_results_are_floats_of_the_same_range(bands, tmp_path):
    shape = (12, 17, bands) if bands > 1 else (12, 17)
    image = _write(tmp_path / "in" / "a.tif", shape)
    network = Repeat(channels=bands)
    report = _upscale(network, tmp_path / "in" / "a.tif", tmp_path / "b.tif", value_range=(LOW, HIGH))
    assert report["status"] == "ok", report
    result = tifffile.imread(tmp_path / "b.tif")
    assert result.dtype == np.float32
    # float32 of [0, 1] and back: two roundings of the range
    np.testing.assert_allclose(result, image.repeat(2, 0).repeat(2, 1), atol=2**-23 * (HIGH - LOW))


def test_a_folder_of_floats_can_be_done_again(tmp_path):
    _write(tmp_path / "in" / "a.tif")
    for status in ("ok", "skipped"):
        [report] = upscale_files(
            Upscaler(Repeat()),
            tmp_path / "in",
            tmp_path / "out",
            extension="tif",
            skip_existing=True,
            options=FileOptions(value_range=(LOW, HIGH)),
        )
        assert report["status"] == status, report


def test_formats_without_floats_are_refused(tmp_path):
    _write(tmp_path / "in" / "a.tif")
    report = _upscale(Repeat(), tmp_path / "in" / "a.tif", tmp_path / "b.png", value_range=(LOW, HIGH))
    assert "png does not hold floats; use tif" in report["reason"]


def test_without_a_range_the_option_is_named(tmp_path):
    _write(tmp_path / "in" / "a.tif")
    report = _upscale(Repeat(), tmp_path / "in" / "a.tif", tmp_path / "b.tif")
    assert "--value-range" in report["reason"]
    for wrong in ((1.0, 0.0), (0.0, np.inf), (np.nan, 1.0), (0.0, 1e39)):
        with pytest.raises(ConfigError, match="value_range must be two 32-bit floats"):
            FileOptions(value_range=wrong)


@pytest.mark.parametrize("bands", [1, 6])
def test_floats_of_many_bands_are_scored_and_drawn(bands, tmp_path):
    """PSNR of images that differ by 10 of 255 levels everywhere."""
    from ppsr.evaluation.report import write_report

    shape = (32, 32, bands) if bands > 1 else (32, 32)
    level = (HIGH - LOW) / 255
    for folder, value in (("hr", 100), ("sr", 110)):
        (tmp_path / folder).mkdir()
        image = np.full(shape, LOW + value * level, np.float32)
        _save(tmp_path / folder / "a.tif", image)
    result = evaluate(
        protocol="reflash",
        scale=4,
        gt=tmp_path / "hr",
        sr=tmp_path / "sr",
        metrics=["psnr"],
        value_range=(LOW, HIGH),
    )
    assert result.sets[0].means["psnr"] == pytest.approx(20 * np.log10(255 / 10), abs=1e-6)
    write_report(result, tmp_path / "report")
    assert len(list((tmp_path / "report").glob("*.png"))) == 1
