"""Optimizer state under structured names, complete also where a parameter has not learned yet."""

import logging

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError, WeightError
from ppsr.solver.optimizers import build_optimizers, build_schedules, load_optimizer_state, optimizer_state
from ppsr.solver.soap import SOAP


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


def expected_steps(start, gradients, *, rate, beta1=0.95, beta2=0.95, epsilon=1e-8, frequency=10):
    """The parameter after the gradients, in float64 and matrices as the paper has them."""
    w, m, v = start.astype(np.float64), np.zeros_like(start, np.float64), np.zeros_like(start, np.float64)
    first, *others = (gradient.astype(np.float64) for gradient in gradients)
    left, right = first @ first.T, first.T @ first
    q_left, q_right = np.linalg.eigh(left)[1], np.linalg.eigh(right)[1]
    for t, g in enumerate(others, 1):
        left, right = beta2 * left + (1 - beta2) * g @ g.T, beta2 * right + (1 - beta2) * g.T @ g
        if t % frequency == 0:
            q_left, q_right = np.linalg.qr(left @ q_left)[0], np.linalg.qr(right @ q_right)[0]
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (q_left.T @ g @ q_right) ** 2
        step = (q_left.T @ m @ q_right) / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        w = w - rate * q_left @ step @ q_right.T
    return w


@pytest.mark.parametrize("shape", [(5, 5), (6, 3, 2, 1)])
def test_steps_follow_the_formula(rng, shape):
    """Square, since a first gradient of lower rank than its sides leaves parts of the bases open."""
    matrix = (shape[0], shape[0])
    start = rng.standard_normal(shape).astype(np.float32)
    gradients = [rng.standard_normal(shape).astype(np.float32) for _ in range(25)]
    parameter = paddle.create_parameter(shape, "float32")
    parameter.set_value(start)
    optimizer = SOAP(parameters=[parameter])
    optimizer.set_lr(0.01)
    for g in gradients:
        (parameter * paddle.to_tensor(g)).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    expected = expected_steps(start.reshape(matrix), [g.reshape(matrix) for g in gradients], rate=0.01)
    np.testing.assert_allclose(parameter.numpy().reshape(matrix), expected, atol=2e-4)


def test_coupled_directions_are_learned_in_fewer_steps_than_by_adam():
    """A least-squares problem whose curvature spans four decades, in directions between the axes."""
    generator = np.random.default_rng(1)
    turn = np.linalg.qr(generator.standard_normal((12, 12)))[0]
    inputs = (generator.standard_normal((256, 12)) * np.logspace(0, -2, 12)) @ turn
    x = paddle.to_tensor(inputs.astype(np.float32))
    target = x @ paddle.to_tensor(generator.standard_normal((12, 8)).astype(np.float32))

    def loss_after(make) -> float:
        w = paddle.create_parameter([12, 8], "float32")
        w.set_value(paddle.zeros([12, 8]))
        optimizer = make([w])
        for step in range(200):
            optimizer.set_lr(0.1 * (1 - step / 200))
            ((x @ w - target) ** 2).mean().backward()
            optimizer.step()
            optimizer.clear_grad()
        return float(((x @ w - target) ** 2).mean())

    adam = loss_after(lambda parameters: paddle.optimizer.Adam(0.1, parameters=parameters))
    assert loss_after(lambda parameters: SOAP(parameters=parameters)) < 0.2 * adam


def test_long_sides_keep_their_basis():
    parameter = paddle.create_parameter([3, 40], "float32")
    optimizer = SOAP(parameters=[parameter], max_precondition_dim=16)
    (parameter**2).sum().backward()
    optimizer.step()
    shapes = {name: list(held[parameter.name].shape) for name, held in optimizer._accumulators.items()}
    assert shapes["left_basis"] == [3, 3] and "right_basis" not in shapes


@pytest.mark.parametrize("options", [{"beta1": 1.0}, {"precondition_frequency": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="SOAP: "):
        SOAP(parameters=[paddle.create_parameter([2, 2], "float32")], **options)


def test_a_stopped_run_goes_on_with_the_same_steps():
    def steps(net, optimizer, count):
        for _ in range(count):
            (net(paddle.ones([2, 3])) ** 2).mean().backward()
            optimizer.step()
            optimizer.clear_grad()

    net, config = paddle.nn.Linear(3, 4), {"name": "SOAP", "net_names": ["net"], "precondition_frequency": 3}
    straight = build_optimizers(config, {"net": net})["optim"][0]
    steps(net, straight, 4)
    middle, state = net.state_dict()["weight"].numpy(), optimizer_state(straight, {"net": net})
    bias = net.bias.numpy()
    steps(net, straight, 4)
    again = paddle.nn.Linear(3, 4)
    again.set_state_dict({"weight": paddle.to_tensor(middle), "bias": paddle.to_tensor(bias)})
    resumed = build_optimizers(config, {"net": again})["optim"][0]
    load_optimizer_state(resumed, {"net": again}, state)
    steps(again, resumed, 4)
    np.testing.assert_array_equal(again.weight.numpy(), net.weight.numpy())
    assert not np.array_equal(net.weight.numpy(), middle)
