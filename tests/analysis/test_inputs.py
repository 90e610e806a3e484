"""Networks and images of an analysis."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ppsr.analysis.inputs import load_image, load_networks
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import write_image
from tests.analysis.networks import write_network


def test_one_config_serves_several_weight_files(tmp_path):
    config, first = write_network(tmp_path / "a", seed=1)
    _, second = write_network(tmp_path / "b", seed=2)
    networks = load_networks([config], [first, second])
    assert [s.label for s in networks] == ["a-weights", "b-weights"]
    values = [s.net.conv_last.weight.numpy() for s in networks]
    assert not np.array_equal(*values)
    assert networks[0].origin["load_sha256"] != networks[1].origin["load_sha256"]
    assert [s.label for s in load_networks([config], [first, second], ["x", "y"])] == ["x", "y"]


def test_networks_that_cannot_be_compared_are_refused(tmp_path):
    config, weights = write_network(tmp_path / "a")
    other, _ = write_network(tmp_path / "b", upscale=3)
    with pytest.raises(ConfigError, match="same scale"):
        load_networks([config, other], [])
    with pytest.raises(ConfigError, match="not pairs"):
        load_networks([config, other], [weights] * 3)
    with pytest.raises(ConfigError, match="labels"):
        load_networks([config], [weights], ["a", "b"])
    with pytest.raises(ConfigError, match="--config-file"):
        load_networks([], [])


@pytest.mark.parametrize("labels", [["a", "a"], ["a/b", "a_b"]])
def test_labels_of_one_file_name_are_refused(tmp_path, labels):
    config, weights = write_network(tmp_path)
    with pytest.raises(ConfigError, match="label of its own"):
        load_networks([config], [weights, weights], labels)


def test_files_of_one_label_get_numbers(tmp_path):
    config, weights = write_network(tmp_path)
    names = [tmp_path / name for name in ("a b.pdparams", "a_b.pdparams")]
    for name in names:
        name.write_bytes(weights.read_bytes())
    assert [s.label for s in load_networks([config], names)] == ["a b-0", "a_b-1"]


def test_the_report_tells_what_the_config_said(tmp_path):
    config, weights = write_network(tmp_path)
    (network,) = load_networks([config], [weights])
    assert network.origin["model"]["generator"] == yaml.safe_load(config.read_text())["model"]["generator"]
    assert network.origin["config_sha256"] == hashlib.sha256(config.read_bytes()).hexdigest()
    (known,) = load_networks([], [weights])
    assert known.origin["config_sha256"] is None


def test_a_network_without_weights_is_said_to_be_untrained(tmp_path, caplog):
    config, _ = write_network(tmp_path)
    assert load_networks([config], [])[0].origin["load"] is None
    assert "untrained" in caplog.text


@pytest.fixture
def network(tmp_path):
    return load_networks([write_network(tmp_path / "net")[0]], [])[0]


def test_hr_images_are_cut_and_shrunk_as_published(tmp_path, network, rng):
    hr = rng.integers(0, 256, (21, 31, 3), dtype=np.uint8)
    write_image(tmp_path / "hr.png", hr)
    image = load_image(tmp_path / "hr.png", network, from_hr=True)
    expected = Image.fromarray(hr[:20, :30]).resize((15, 10), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(image.lq.transpose(1, 2, 0), np.asarray(expected, np.float32) / 255)
    np.testing.assert_array_equal(image.gt, hr[:20, :30].transpose(2, 0, 1).astype(np.float32) / 255)


def test_a_crop_takes_the_middle_of_image_and_truth(tmp_path, network, rng):
    lq, hr = (rng.integers(0, 256, (s * 12, s * 10, 3), dtype=np.uint8) for s in (1, 2))
    write_image(tmp_path / "lq.png", lq)
    write_image(tmp_path / "hr.png", hr)
    image = load_image(tmp_path / "lq.png", network, gt=tmp_path / "hr.png", crop=6)
    np.testing.assert_allclose(image.lq.transpose(1, 2, 0) * 255, lq[3:9, 2:8], atol=1e-4)
    np.testing.assert_allclose(image.gt.transpose(1, 2, 0) * 255, hr[6:18, 4:16], atol=1e-4)
    assert image.origin["lr_size"] == [6, 6]
    assert image.origin["gt_sha256"] == hashlib.sha256((tmp_path / "hr.png").read_bytes()).hexdigest()


@pytest.mark.parametrize(("crop", "message"), [(0, "got 0"), (-5, "got -5"), (9, "LR image of 12 x 8")])
def test_a_crop_that_is_empty_or_larger_than_the_image_is_an_error(tmp_path, network, crop, message):
    write_image(tmp_path / "lq.png", np.zeros((8, 12, 3), np.uint8))
    with pytest.raises((ConfigError, DataError), match=message):
        load_image(tmp_path / "lq.png", network, crop=crop)


def test_gray_networks_get_gray_images(tmp_path, rng):
    network = load_networks([write_network(tmp_path / "net", num_in_ch=1, num_out_ch=1)[0]], [])[0]
    write_image(tmp_path / "hr.png", rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    image = load_image(tmp_path / "hr.png", network, from_hr=True)
    assert image.lq.shape == (1, 10, 12)
    assert image.gt.shape == (1, 20, 24)


def test_truths_that_do_not_fit_are_errors(tmp_path, network, rng):
    for name, side in (("lq", 8), ("hr", 12)):
        write_image(tmp_path / f"{name}.png", rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="is not x2"):
        load_image(tmp_path / "lq.png", network, gt=tmp_path / "hr.png")
    with pytest.raises(ConfigError, match="own truth"):
        load_image(tmp_path / "lq.png", network, gt=tmp_path / "hr.png", from_hr=True)


def test_networks_are_named_as_everywhere():
    (network,) = load_networks([], [Path("srvgg-8x32-x4")])
    assert (network.label, network.net.scale) == ("srvgg-8x32-x4", 4)
    assert network.origin["load"].endswith("srvgg_8x32_x4.safetensors")
