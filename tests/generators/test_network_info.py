"""The description of a network: read from its class, kept in a file that others may have made."""

import json

import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.generators.network_info import NetworkInfo, network_info
from ppsr.inference.export.artifact import Export
from ppsr.registry import GENERATORS
from tests.networks import network


def test_channels_of_a_gray_network_are_found():
    gray = GENERATORS.build(
        {"name": "MSRResNet", "num_in_ch": 1, "num_out_ch": 1, "num_feat": 4, "num_block": 1}
    )
    assert network_info(gray).channels == 1
    assert network_info(network("DRNGenerator", n_colors=1)).channels == 1


def test_a_steered_network_has_the_field_of_its_generator():
    net = network("BlindSR")
    info = network_info(net)
    assert info.degradation_params == net.degradation_params > 0
    assert info.receptive_radius == net.generator.receptive_radius


def test_info_of_a_network_that_makes_no_image_are_refused():
    with pytest.raises(ConfigError, match="does not turn LR images"):
        network_info(network("DegradationPredictor"))


def test_info_survives_their_file(tmp_path):
    info = NetworkInfo("HAT", 4, channels=1, rgb_range=255.0, size_multiple=16, receptive_radius=None)
    path = tmp_path / "x.info.json"
    path.write_text(info.to_json(paddle="3.3.1"))
    read, entries = NetworkInfo.read(path)
    assert read == info
    assert entries["paddle"] == "3.3.1"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"network": 1}'])
def test_file_that_describes_no_network_is_refused(tmp_path, text):
    path = tmp_path / "x.info.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"does not describe an exported network: [^:]"):
        NetworkInfo.read(path)
    with pytest.raises(DataError, match="export again"):
        NetworkInfo.read(tmp_path / "missing")


@pytest.mark.parametrize(
    "entries",
    [
        *({"scale": 10**9}, {"scale": "4"}, {"scale": True}, {"channels": 0}, {"size_multiple": 0}),
        *({"rgb_range": -1}, {"receptive_radius": "x"}, {"degradation_params": 10**6}, {"files": [1]}),
        *({"files": {".json": 3}}, {"input_shape": [1, 3]}, {"input_shape": {"a": 1}}),
    ],
)
def test_values_that_no_network_has_are_refused(entries, tmp_path):
    info = tmp_path / "net.info.json"
    info.write_text(json.dumps({**json.loads(NetworkInfo("Net", 2).to_json()), **entries}))
    with pytest.raises(DataError, match=r"net\.info\.json"):
        Export(tmp_path / "net")


def test_files_that_are_endless_are_refused(tmp_path):
    info = tmp_path / "net.info.json"
    for content in ("[" * 200_000, " " * (2**24 + 1)):
        info.write_text(content)
        with pytest.raises(DataError):
            Export(tmp_path / "net")


@pytest.mark.parametrize("name", ["degradation_params", "luma"])
def test_an_export_of_a_former_version_lacks_later_properties(tmp_path, name):
    text = NetworkInfo("BlindSR", 2).to_json()
    (tmp_path / "x.info.json").write_text(text.replace(name, "unknown"))
    assert NetworkInfo.read(tmp_path / "x.info.json")[0] == NetworkInfo("BlindSR", 2)
