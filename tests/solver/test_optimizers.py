"""Optimizer state under structured names, complete also where a parameter has not learned yet."""

from __future__ import annotations

import logging

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError, WeightError
from ppsr.solver.optimizers import build_optimizers, build_schedules, load_optimizer_state, optimizer_state


def _nets():
    return {"first": paddle.nn.Linear(2, 2), "second": paddle.nn.Linear(2, 2)}


def _step(nets, optimizer, name):
    nets[name](paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    optimizer.clear_grad(set_to_zero=False)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Momentum", "RMSProp", "SGD", "SOAP"])
def test_a_run_goes_on_where_one_of_two_networks_had_not_learned_yet(name):
    nets = _nets()
    config = {"name": name, "net_names": ["first", "second"]}
    straight = build_optimizers(config, nets)["optim"][0]
    start = {key: {k: v.numpy() for k, v in net.state_dict().items()} for key, net in nets.items()}
    _step(nets, straight, "first")
    middle = {key: {k: v.numpy() for k, v in net.state_dict().items()} for key, net in nets.items()}
    state = optimizer_state(straight, nets)
    for _ in range(2):  # SOAP's first step moves nothing
        _step(nets, straight, "second")
    assert not np.array_equal(nets["second"].weight.numpy(), start["second"]["weight"])

    again = _nets()
    for key, net in again.items():
        net.set_state_dict(middle[key])
    resumed = build_optimizers(config, again)["optim"][0]
    load_optimizer_state(resumed, again, state)
    for _ in range(2):
        _step(again, resumed, "second")
    for key, net in nets.items():
        np.testing.assert_array_equal(again[key].weight.numpy(), net.weight.numpy())


def test_a_state_that_lacks_a_parameter_names_it():
    nets = _nets()
    optimizer = build_optimizers({"name": "Adam", "net_names": ["first", "second"]}, nets)["optim"][0]
    state = {k: v for k, v in optimizer_state(optimizer, nets).items() if not k.startswith("second.bias")}
    with pytest.raises(WeightError, match=r"1 parameters: \['second.bias'\]"):
        load_optimizer_state(optimizer, nets, state)


def test_every_optimizer_has_the_common_schedule_or_its_own():
    common = {"name": "MultiStepDecay", "learning_rate": 1e-3, "milestones": [2], "gamma": 0.1}
    adam = {"name": "Adam", "net_names": ["first"]}
    config = {
        "plain": adam,
        "slower": {**adam, "learning_rate": 1e-4},
        "constant": {**adam, "lr_scheduler": {"name": "ConstantLR", "learning_rate": 5e-3}},
        "gone": None,
    }
    schedules = build_schedules(config, common)
    rates = {name: [schedule(step) for step in (0, 2)] for name, schedule in schedules.items()}
    expected = {"plain": [1e-3, 1e-4], "slower": [1e-4, 1e-5], "constant": [5e-3, 5e-3]}
    assert rates.keys() == expected.keys()
    for name, values in expected.items():
        assert rates[name] == pytest.approx(values)
    assert set(build_schedules({**adam, "learning_rate": 2.0}, common)) == {"optim"}
    assert set(build_optimizers({**adam, "learning_rate": 2.0}, {"first": _nets()["first"]})) == {"optim"}


def test_a_value_that_paddle_refuses_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match=r"optimizer 'Adam': .*beta1"):
        build_optimizers({"name": "Adam", "net_names": "first", "beta1": 2.0}, _nets())


def test_a_network_without_optimizer_is_named(caplog):
    with caplog.at_level(logging.WARNING, "ppsr"):
        build_optimizers({"name": "Adam", "net_names": "first"}, _nets())
    assert "'second' has no optimizer" in caplog.text


@pytest.mark.parametrize("config", [{}, {"optimG": None}])
def test_a_run_in_which_nothing_learns_is_refused(config):
    with pytest.raises(ConfigError, match="nothing would learn"):
        build_optimizers(config, _nets())


def _adam(gradient, step, first=0.0, second=0.0):
    first, second = 0.8 * first + 0.2 * gradient, 0.999 * second + 0.001 * gradient**2
    root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
    return first / (1 - 0.8**step) / root, first, second


def _momentum(gradient, step, velocity=0.0):
    velocity = 0.9 * velocity + gradient
    return velocity, velocity


@pytest.mark.parametrize("weight_decay", [None, 0.1])
@pytest.mark.parametrize(
    ("config", "formula"), [({"name": "Adam", "beta1": 0.8}, _adam), ({"name": "Momentum"}, _momentum)]
)
def test_an_optimizer_equals_its_formula_whichever_parameters_have_a_gradient(config, formula, weight_decay):
    rng = np.random.default_rng(0)
    nets = {"first": paddle.nn.Linear(3, 2), "second": paddle.nn.Linear(2, 3)}
    config = {**config, "net_names": ["first", "second"], "weight_decay": weight_decay}
    optimizer = build_optimizers(config, nets)["optim"][0]
    optimizer.set_lr(0.1)
    parameters = [p for net in nets.values() for p in net.parameters()]
    values = [p.numpy().astype(np.float64) for p in parameters]
    moments: list = [() for _ in parameters]
    steps = [0] * len(parameters)
    for chosen in ([0, 1, 2, 3], [2, 3], [0, 3], [0, 1, 2, 3]):
        for i in chosen:
            gradient = rng.standard_normal(parameters[i].shape).astype(np.float32)
            parameters[i].grad = paddle.to_tensor(gradient)
            steps[i] += 1
            change, *moments[i] = formula(gradient + (weight_decay or 0) * values[i], steps[i], *moments[i])
            values[i] = values[i] - 0.1 * change
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
    for parameter, value in zip(parameters, values, strict=True):
        # float32 against float64 over four steps of 0.1
        np.testing.assert_allclose(parameter.numpy(), value, atol=2e-6 if formula is _adam else 1e-6)


@pytest.mark.parametrize("name", ["Adam", "Momentum"])
def test_all_parameters_are_updated_by_one_operation(name, monkeypatch):
    nets = _nets()
    optimizer = build_optimizers({"name": name, "net_names": ["first", "second"]}, nets)["optim"][0]
    kernel = f"merged_{name.lower()}_"
    lengths = []
    own = getattr(paddle._C_ops, kernel)
    monkeypatch.setattr(paddle._C_ops, kernel, lambda *given: lengths.append(len(given[0])) or own(*given))
    for net in nets.values():
        net(paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    assert lengths == [4]
