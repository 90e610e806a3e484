"""Weights of earlier stages."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.config import check_config, load_config
from ppsr.config.schema import Load
from ppsr.engine.stages import load_stages
from ppsr.errors import ConfigError, WeightError
from ppsr.registry import build_generator, build_model
from ppsr.weights import write_state

SIZES = {"num_feat": 4, "num_block": 1, "upscale": 2}


@pytest.fixture
def static(tmp_path):
    """Weights of a network without experts."""
    net = build_generator("MSRResNet", **SIZES)
    write_state(tmp_path / "static.pdparams", {key: value.numpy() for key, value in net.state_dict().items()})
    return Load(path=str(tmp_path / "static.pdparams"), expand_experts=True)


def test_a_static_network_starts_every_expert_of_a_dynamic_one(static):
    generator = {"name": "CDDNet", "num_models": 3, **SIZES}
    predictor = {"name": "DegradationPredictor", "nf": 4, "num_params": 33, "num_networks": 3}
    losses = {"pixel_criterion": {"name": "L1Loss"}}
    model = build_model({"name": "CDDNet", "generator": generator, "predictor": predictor, **losses})
    load_stages(model, {"generator": static.model_copy(update={"partial": True})})
    weight = model.nets["generator"].state_dict()["conv_first.weight"].numpy()
    for expert in weight[1:]:
        np.testing.assert_array_equal(expert, weight[0])


def test_a_network_without_experts_is_named(static):
    model = build_model(
        {
            "name": "SRModel",
            "generator": {"name": "MSRResNet", **SIZES},
            "pixel_criterion": {"name": "L1Loss"},
        }
    )
    with pytest.raises(ConfigError, match=r"load\.generator\.expand_experts: MSRResNet has no experts"):
        load_stages(model, {"generator": static})


def test_weights_of_another_scale_name_the_option_that_takes_the_rest(tmp_path):
    state = build_generator("SRVGGNetCompact", num_feat=4, num_conv=1, upscale=2).state_dict()
    write_state(tmp_path / "x2.pdparams", {key: value.numpy() for key, value in state.items()})
    generator = {"name": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 4}
    model = build_model({"name": "SRModel", "generator": generator, "criterions": [{"name": "L1Loss"}]})
    for net, option in (("generator", "load.generator.partial=true"), ("", "--load-partial")):
        with pytest.raises(WeightError, match=f"(?s)x2.*x4.*{option}"):
            load_stages(model, {net: Load(path=str(tmp_path / "x2.pdparams"))})


@pytest.mark.parametrize("config", ["realrrdb_x4", "realrrdb_dropout_x4", "realrrdb_align_x4"])
def test_every_recipe_of_a_network_starts_from_its_weights(config, tmp_path):
    size = {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    state = {
        key: value.numpy() for key, value in build_generator("RRDBNet", scale=4, **size).state_dict().items()
    }
    write_state(tmp_path / "published.pdparams", state)
    small = [f"model.generator.{key}={value}" for key, value in size.items()]
    loaded = load_config(config, [f"load={tmp_path / 'published.pdparams'}", *small])
    model = build_model(loaded["model"])
    load_stages(model, check_config(loaded).load)
    for key, value in model.nets["generator"].state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[key])
