"""Degradation parameters: predicted once from a whole image, shared by its tiles, or given by hand."""

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.inference import degradation as module
from ppsr.inference.degradation import read_degradation
from ppsr.inference.export.onnx_graph import missing_packages
from ppsr.inference.export.writer import export_network
from ppsr.inference.upscaler import Upscaler
from tests.inference.helpers import Repeat, small_network

# float32 sums of at most a few thousand values in another order
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture
def blind():
    return small_network("BlindSR")


@pytest.fixture
def image(rng):
    """Smooth on the left and noisy on the right: tiles alone look degraded in different ways."""
    image = np.full((75, 101, 3), 128, np.uint8)
    image[:, 50:] = rng.integers(0, 256, (75, 51, 3), dtype=np.uint8)
    return image


def _whole(net, image):
    """The network's own answers on the image at once: parameters, SR image."""
    x = paddle.to_tensor((image / np.float32(255)).transpose(2, 0, 1)[None])
    with paddle.no_grad():
        return net.predictor(x)[0].numpy()[0], net(x).numpy()[0].transpose(1, 2, 0)


@pytest.mark.parametrize("side", [32, 64, 256])
def test_the_predictor_sees_the_whole_image_in_whatever_parts(blind, image, monkeypatch, side):
    monkeypatch.setattr(module, "_SIDE", side)
    expected = _whole(blind, image)[0]
    np.testing.assert_allclose(Upscaler(blind).predict_degradation(image), expected, **CLOSE)


@pytest.mark.parametrize("tile", [0, 16, 40])
def test_tiles_share_the_parameters_of_the_whole_image(blind, image, tile):
    """Parameters of each tile would move results by 5e-4 here."""
    expected = _whole(blind, image)[1].clip(0, 1)
    sr = Upscaler(blind, tile=tile)(image / np.float32(255))
    np.testing.assert_allclose(sr, expected, atol=2e-5)


def test_given_parameters_reach_the_network(blind, image):
    vector = np.linspace(-1, 1, 33).astype(np.float32)
    x = paddle.to_tensor((image / np.float32(255)).transpose(2, 0, 1)[None])
    with paddle.no_grad():
        weights = blind.predictor.MappingNet(paddle.to_tensor(vector[None]))
        expected = blind.generator(x, weights).numpy()[0].transpose(1, 2, 0).clip(0, 1)
    upscaler = Upscaler(blind, tile=32, degradation=vector)
    np.testing.assert_allclose(upscaler(image / np.float32(255)), expected, atol=2e-5)
    np.testing.assert_array_equal(upscaler.predict_degradation(image), vector)


def test_gray_and_transparent_images_have_parameters_too(blind, image):
    gray = image[..., :1]
    colours = np.repeat(gray, 3, axis=2)
    upscaler = Upscaler(blind)
    expected = upscaler.predict_degradation(colours)
    np.testing.assert_allclose(upscaler.predict_degradation(gray), expected, **CLOSE)
    opaque = np.concatenate([colours, np.full_like(gray, 255)], axis=2)
    np.testing.assert_allclose(upscaler.predict_degradation(opaque), expected, **CLOSE)
    assert upscaler(opaque).shape == (150, 202, 4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["inference", "onnxruntime", "openvino"])
def test_exports_predict_once_and_steer_every_tile(image, tmp_path, backend):
    if backend != "inference":
        pytest.importorskip(backend)
        if missing_packages():
            pytest.skip("paddle2onnx, onnx or onnxslim is missing")
    net = small_network("BlindSR")
    formats = ["paddle"] if backend == "inference" else ["onnx"]
    export = export_network(net, tmp_path / "net", formats=formats, verify=())
    upscaler = Upscaler(export.prefix, backend=backend, tile=32)
    np.testing.assert_allclose(
        upscaler.predict_degradation(image), _whole(net, image)[0], rtol=1e-4, atol=1e-5
    )
    pixels = image / np.float32(255)
    np.testing.assert_allclose(upscaler(pixels), _whole(net, image)[1].clip(0, 1), atol=1e-4)
    vector = np.linspace(-1, 1, 33)
    given = Upscaler(upscaler.backend, degradation=vector)(pixels)
    np.testing.assert_allclose(given, Upscaler(net, degradation=vector)(pixels), atol=1e-4)


def test_numbers_are_read_from_text_and_from_a_file(tmp_path):
    expected = np.array([0.5, -1, 2e-3], np.float32)
    np.testing.assert_array_equal(read_degradation("0.5, -1 2e-3"), expected)
    (tmp_path / "vector.txt").write_text("\ufeff[0.5,\n-1,\n0.002]\n", encoding="utf-8")
    np.testing.assert_array_equal(read_degradation(str(tmp_path / "vector.txt")), expected)


@pytest.mark.parametrize("text", ["0.5:1", "much", "missing.txt"])
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError, match="--degradation: expected numbers"):
        read_degradation(text)


def test_a_wrong_number_of_parameters_and_a_network_without_any_are_refused(blind):
    with pytest.raises(ConfigError, match="BlindSR takes 33 finite degradation parameters, got 2"):
        Upscaler(blind, degradation=[0.1, 0.2])
    with pytest.raises(ConfigError, match="BlindSR takes 33 finite"):
        Upscaler(blind, degradation=[np.nan] * 33)
    with pytest.raises(ConfigError, match="Repeat takes no degradation parameters"):
        Upscaler(Repeat(), degradation=[0.1] * 33)
