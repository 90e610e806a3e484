"""NIQE without its parameters: moments with a known answer, and messages."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.metrics.niqe import NIQE, block_features, fit_aggd


@pytest.fixture
def parameters(tmp_path):
    line = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    np.savez(
        tmp_path / "p.npz", mu_pris_param=np.zeros((1, 36)), cov_pris_param=np.eye(36), gaussian_window=window
    )
    return tmp_path / "p.npz"


def test_a_normal_sample_is_fitted_by_shape_two(rng):
    shape, left, right = fit_aggd(rng.standard_normal((400, 400)))
    assert shape == pytest.approx(2, abs=0.05)
    # width of the generalised Gaussian of shape 2 is sqrt(2) deviations
    assert (left, right) == pytest.approx((2**0.5, 2**0.5), rel=0.02)


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


def test_without_a_network_the_message_names_the_file_and_the_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(ConfigError, match=r"(?s)niqe_pris_params\.npz \(11,850 bytes.*`parameters:`"):
        NIQE()
