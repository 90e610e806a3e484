"""SwinIR, HAT and DRCT against the published code: outputs, features on the way, losses, gradients."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.generators.apply import pad_to_multiple
from ppsr.registry import GENERATORS
from ppsr.weights import apply_state
from ppsr.weights.apply import transposed_keys
from tests.golden.files import Golden, assert_close, assert_near, golden, with_values

TOLERANCE = 1e-4


def _network(g):
    net = GENERATORS.build({"name": g.meta["network"], **g.meta["kwargs"]})
    apply_state(net, g.params, layout="torch")
    if g.meta.get("eval_mode", True):
        net.eval()
    return net


def _run(g, net, case):
    """The published frameworks pad to the window of the options, SwinIR does so inside its forward."""
    x = paddle.to_tensor(g[case["input"]])
    if case["mode"] == "direct" and g.meta["network"] != "SwinIR":
        return net(x)
    h, w = x.shape[2:]
    window = g.meta["kwargs"].get("window_size", 7)
    return net(pad_to_multiple(x, window))[:, :, : h * net.scale, : w * net.scale]


@golden("drct_*", "hat_*", "swinir_*")
def test_outputs_and_features(path):
    g = Golden(path)
    net = _network(g)
    taps = {}
    for name, layer in net.named_sublayers():
        layer.register_forward_post_hook(lambda _, __, y, name=name: taps.__setitem__(name, y))
    for i, case in enumerate(g.meta["cases"]):
        y = _run(g, net, case)
        assert_near(y, g[case["output"]], TOLERANCE, what=case["input"])
        for name, theirs in g.group(f"output/tap{i}").items():
            value = taps[name].numpy()
            if value.ndim == 4 and theirs.ndim == 3:
                value = value.reshape(theirs.shape)
            assert_close(value, theirs, rtol=TOLERANCE, what=name)


@pytest.mark.slow
@golden("drct_*", "hat_*", "swinir_*")
def test_loss_and_gradients(path):
    g = Golden(path)
    if "input/target0" not in g:
        pytest.skip("this file has no gradients")
    net = _network(g)
    y = _run(g, net, g.meta["cases"][0])
    target = paddle.to_tensor(g["input/target0"])
    assert_close((y - target).abs().mean(), g["output/l1_loss0"], rtol=1e-5)
    (with_values(y, g["output/y0"]) - target).abs().mean().backward()
    turned = transposed_keys(net)
    gradients = {key: p.grad.numpy() for key, p in net.named_parameters()}
    for key, expected in g.group("grad").items():
        ours = gradients[key].T if key in turned else gradients[key]
        error = np.linalg.norm(ours - expected) / max(np.linalg.norm(expected), 1e-12)
        assert error < 2e-4, f"{key}: {error}"
    for key, norm in g.meta.get("grad_l2_norms_of_l1_loss0", {}).items():
        assert np.linalg.norm(gradients[key]) == pytest.approx(norm, rel=2e-4, abs=1e-7), key
