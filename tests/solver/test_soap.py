"""SOAP against its formula, and on a problem that Adam solves slowly."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.solver.optimizers import build_optimizers, load_optimizer_state, optimizer_state
from ppsr.solver.soap import SOAP


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
    optimizer = SOAP(0.01, [parameter])
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
        w = paddle.create_parameter(
            [12, 8], "float32", default_initializer=paddle.nn.initializer.Constant(0.0)
        )
        optimizer = make([w])
        for step in range(200):
            optimizer.set_lr(0.1 * (1 - step / 200))
            ((x @ w - target) ** 2).mean().backward()
            optimizer.step()
            optimizer.clear_grad()
        return float(((x @ w - target) ** 2).mean())

    adam = loss_after(lambda parameters: paddle.optimizer.Adam(0.1, parameters=parameters))
    assert loss_after(lambda parameters: SOAP(0.1, parameters)) < 0.2 * adam


def test_long_sides_keep_their_basis():
    parameter = paddle.create_parameter([3, 40], "float32")
    optimizer = SOAP(0.01, [parameter], max_precondition_dim=16)
    (parameter**2).sum().backward()
    optimizer.step()
    shapes = {name: list(held[parameter.name].shape) for name, held in optimizer._accumulators.items()}
    assert shapes["left_basis"] == [3, 3] and "right_basis" not in shapes


@pytest.mark.parametrize("options", [{"beta1": 1.0}, {"precondition_frequency": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="SOAP: "):
        SOAP(0.01, [paddle.create_parameter([2, 2], "float32")], **options)


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
