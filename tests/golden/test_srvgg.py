"""SRVGGNetCompact against the released code: outputs, loss, gradients and their norms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.registry import build_generator
from ppsr.weights.apply import load_state
from tests.golden.files import Golden, assert_close, golden, with_values


def build(case: Golden):
    net = build_generator(case.meta["network"], **case.meta["kwargs"])
    load_state(net, case.params, layout="torch")
    net.eval()
    return net


@golden("srvgg_*")
@pytest.mark.smoke
def test_outputs_equal_the_released_code(path: Path) -> None:
    case = Golden(path)
    net = build(case)
    for stored in case.meta["cases"]:
        assert stored["mode"] == "direct"
        with paddle.no_grad():
            y = net(paddle.to_tensor(case[stored["input"]]))
        assert_close(y.numpy(), case[stored["output"]], atol=1e-6, rtol=1e-5, what=stored["output"])


@golden("srvgg_*")
def test_loss_and_gradients_equal_the_released_code(path: Path) -> None:
    case = Golden(path)
    if "input/target0" not in case:
        pytest.skip("this file has no gradients")
    net = build(case)
    y, target = net(paddle.to_tensor(case["input/x0"])), paddle.to_tensor(case["input/target0"])
    assert_close(float(F.l1_loss(y, target)), case["output/l1_loss0"], rtol=1e-5, what="loss")
    F.l1_loss(with_values(y, case["output/y0"]), target).backward()
    gradients = {key: parameter.grad.numpy() for key, parameter in net.named_parameters()}
    for key, expected in case.group("grad").items():
        assert_close(gradients[key], expected, rtol=1e-4, atol=1e-8, what=key)
    norms = case.meta["grad_l2_norms_of_l1_loss0"]
    assert norms.keys() == gradients.keys()
    for key, expected in norms.items():
        norm = float(np.sqrt(np.square(gradients[key].astype(np.float64)).sum()))
        assert_close(norm, expected, rtol=1e-4, what=f"norm of {key}")
