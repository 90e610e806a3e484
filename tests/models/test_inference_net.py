"""Validation leaves every network as it was, the averaged ones too."""

import json
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.config import load_config
from ppsr.engine.distributed import Group
from ppsr.engine.evaluator import validate
from ppsr.generators.apply import super_resolve
from ppsr.generators.macs import count_macs
from ppsr.registry import build_model
from ppsr.solver.ema import EMA
from tests.small_configs import CONFIGS, shrink_networks


def models_of_all_configs() -> dict[str, dict[str, Any]]:
    """The small networks of every config, each with a pixel loss, by the first config that has them."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        model = load_config(path)["model"]
        shrink_networks(model)
        for name in [name for name in model if name.endswith("_criterion") and name != "align_criterion"]:
            del model[name]
        model.pop("discriminator", None)
        if model["name"] != "DRN":
            model["pixel_criterion"] = {"name": "L1Loss"}
        found.setdefault(json.dumps(model, sort_keys=True), (path.stem, model))
    return dict(found.values())


MODELS = models_of_all_configs()


def averaged_model(stem: str) -> Any:
    model = build_model(MODELS[stem])
    for net in model.nets.values():
        net.train()
    model.ema = EMA(model.nets, decay=0.9, net_names=model.nets).nets
    return model


def outputs(net: nn.Layer, side: int = 16) -> list[np.ndarray]:
    image = paddle.to_tensor(np.random.default_rng(0).random((1, 3, side, side), np.float32))
    with paddle.no_grad():
        if hasattr(net, "example_inputs"):
            result = net(*(paddle.to_tensor(value) for value in net.example_inputs(1, side, side)))
        else:
            result = super_resolve(net, image) if hasattr(net, "scale") else net(image)
    return [value.numpy() for value in (result if isinstance(result, (list, tuple)) else [result])]


@pytest.mark.slow
@pytest.mark.parametrize("stem", MODELS)
def test_two_passes_of_an_averaged_net_are_equal_after_a_validation(stem: str) -> None:
    model = averaged_model(stem)
    before = {name: outputs(net) for name, net in model.ema.items()}
    dataset = [{"lq": np.random.default_rng(1).random((3, 16, 16), np.float32)}]
    validate(model.inference_net(), dataset, {}, Group())
    for name, net in model.ema.items():
        for first, second in zip(before[name], outputs(net), strict=True):
            np.testing.assert_array_equal(first, second, err_msg=name)
    assert not any(layer.training for net in model.ema.values() for layer in net.sublayers(include_self=True))
    assert all(layer.training for net in model.nets.values() for layer in net.sublayers(include_self=True))


def test_counting_operations_leaves_averaged_nets_in_evaluation_mode() -> None:
    model = averaged_model("cddnet_x4")
    count_macs(model.inference_net(), (1, 3, 16, 16))
    assert not any(layer.training for layer in model.ema["generator"].sublayers(include_self=True))
    assert model.nets["generator"].training


def test_the_network_of_a_predictor_and_a_generator_is_built_once() -> None:
    model = build_model(MODELS["cddnet_x4"])
    plain = model.inference_net()
    assert model.inference_net() is plain
    model.ema = EMA(model.nets, decay=0.9, net_names=["generator"]).nets
    averaged = model.inference_net()
    assert averaged is model.inference_net() is not plain
    assert averaged.generator is model.ema["generator"]
    assert averaged.predictor is model.nets["predictor"]
