"""Networks from configs: only the parts that inference needs are built."""

from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

from ppsr.errors import ConfigError, WeightError
from ppsr.generators.network_info import network_info
from ppsr.inference import network
from ppsr.inference.network import load_network
from ppsr.registry import build_generator
from ppsr.weights import write_state
from ppsr.weights.record import stated_network
from tests.inference.helpers import small_network

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ("model.generator.num_feat=8", "model.generator.num_block=1")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("drn_x4", ("model.generator.n_blocks=1", "model.generator.n_feats=4")),
        ("realsrresnet_align_x4", SMALL),
        ("real_hat_gan_x4", ("model.generator.depths=[1]", "model.generator.num_heads=[2]")),
    ],
)
def test_a_config_of_any_model_gives_its_network_without_files_of_losses(name, overrides):
    net = load_network(CONFIGS / f"{name}.yaml", overrides=overrides)
    assert net.scale == 4
    assert not net.training


def test_an_unknown_model_is_named(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("model: {name: SRModle}\n")
    with pytest.raises(ConfigError, match="SRModle"):
        load_network(config)


def test_losses_and_teachers_whose_files_are_missing_do_not_hinder_upscaling(tmp_path):
    section = {
        "name": "SRModel",
        "generator": {"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2},
        "teacher": {"name": "MSRResNet", "upscale": 2, "weights": "nowhere.pth"},
        "criterions": [{"name": "L1Loss", "of": ["sr", "teacher"]}, {"name": "LPIPSLoss", "weights": "x"}],
    }
    path = tmp_path / "distilled.yaml"
    path.write_text(yaml.safe_dump({"total_iters": 1, "model": section}))
    net = load_network(path)
    assert net.scale == 2


def test_shipped_weights_are_the_default_where_no_others_can_be_had(monkeypatch, caplog):
    def refuse(entry, **options):
        raise WeightError(f"{entry.name} cannot be downloaded")

    monkeypatch.setattr(network, "get_entry", refuse)
    with caplog.at_level("WARNING", "ppsr"):
        net = network.load_source(None, [])
    assert network_info(net).network == "SRVGGNetCompact"
    assert "cannot be downloaded" in caplog.text and network.SHIPPED_WEIGHTS in caplog.text


def _weights(path, **arguments):
    net = build_generator(**arguments)
    write_state(path, {k: v.numpy() for k, v in net.state_dict().items()}, networks={"": stated_network(net)})
    return path


def _config(path, **generator):
    path.write_text(yaml.safe_dump({"total_iters": 1, "model": {"name": "SRModel", "generator": generator}}))
    return path


FSRCNN = {"name": "FSRCNN", "d": 4, "s": 2, "m": 1}
VGG = {"name": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 2}


@pytest.mark.parametrize(
    ("of_file", "of_config", "told"),
    [
        ({**FSRCNN, "scale": 3}, {**FSRCNN, "scale": 2}, "scale 3 and scale 2"),
        (VGG | {"act_type": "leakyrelu"}, VGG | {"act_type": "relu"}, "act_type leakyrelu and act_type relu"),
    ],
)
def test_weights_that_state_another_network_than_the_config_are_refused(tmp_path, of_file, of_config, told):
    weights = _weights(tmp_path / "net.pdparams", **of_file)
    config = _config(tmp_path / "net.yaml", **of_config)
    message = f"net.pdparams and the config have a .* of different .*: {told};"
    with pytest.raises(WeightError, match=message) as e:
        load_network(config, weights)
    assert "\n" not in str(e.value)


def test_arguments_of_training_and_spelled_out_defaults_do_not_matter(tmp_path):
    weights = _weights(tmp_path / "net.pdparams", name="MSRResNet", num_feat=4, num_block=1, upscale=2)
    changes = {"dropout": {"positions": ["last"], "p": 0.5}, "num_in_ch": 3}
    config = _config(tmp_path / "net.yaml", name="MSRResNet", num_feat=4, num_block=1, upscale=2, **changes)
    assert load_network(config, weights).scale == 2


def test_loading_leaves_random_numbers_alone_and_names_the_static_mode(tmp_path):
    write_state(tmp_path / "net.pth", {k: v.numpy() for k, v in small_network().state_dict().items()})
    paddle.seed(1)
    expected = paddle.rand([3]).numpy()
    paddle.seed(1)
    load_network(load=tmp_path / "net.pth")
    np.testing.assert_array_equal(paddle.rand([3]).numpy(), expected)
    paddle.enable_static()
    try:
        with pytest.raises(ConfigError, match=r"call paddle\.disable_static"):
            load_network(load=tmp_path / "net.pth")
    finally:
        paddle.disable_static()
