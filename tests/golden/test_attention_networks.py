"""SwinIR, HAT and DRCT against the published code: outputs, features on the way, losses, gradients."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.generators.apply import pad_to_multiple
from ppsr.registry import GENERATORS
from ppsr.weights import apply_state
from ppsr.weights.apply import transposed_keys
from tests.golden.files import Golden, assert_close, golden

ATOL = 1e-4  # outputs have a deviation of about 0.6


def _network(g):
    net = GENERATORS.build({"name": g.meta["network"], **g.meta["kwargs"]})
    apply_state(net, g.params, layout="torch")
    net.eval()
    return net


def _run(net, x, mode):
    """SwinIR pads in every case, as the copy that made the goldens does inside its forward."""
    if (
        mode == "direct"
        and not list(x.shape)[2] % net.size_multiple
        and not list(x.shape)[3] % net.size_multiple
    ):
        return net(x)
    h, w = x.shape[2:]
    return net(pad_to_multiple(x, net.size_multiple))[:, :, : h * net.scale, : w * net.scale]


@golden("drct_*", "hat_*", "swinir_*")
def test_outputs_and_features(path):
    g = Golden(path)
    net = _network(g)
    taps = {}
    named = dict(net.named_sublayers())
    wanted = [k[len("output/tap0/") :] for k in g.arrays if k.startswith("output/tap0/")]
    for name in wanted:
        named[name].register_forward_post_hook(lambda _, __, y, name=name: taps.__setitem__(name, y))
    for i, case in enumerate(g.meta["cases"]):
        y = _run(net, paddle.to_tensor(g[case["input"]]), case["mode"])
        expected = g[case["output"]]
        scale = float(g.meta["kwargs"].get("img_range", 1.0) > 1) * np.abs(expected).max()
        assert_close(y, expected, atol=max(ATOL, 1e-4 * scale), what=case["input"])
        for name in wanted if i == 0 else ():
            value = taps[name].numpy()
            theirs = g[f"output/tap0/{name}"]
            if value.ndim == 4 and theirs.ndim == 3:
                value = value.reshape(theirs.shape)
            assert_close(value, theirs, rtol=1e-4, what=name)


@golden("drct_*", "hat_*", "swinir_*")
def test_loss_and_gradients(path):
    g = Golden(path)
    if "input/target0" not in g:
        pytest.skip("this file has no gradients")
    net = _network(g)
    y = net(paddle.to_tensor(g["input/x0"]))
    loss = (y - paddle.to_tensor(g["input/target0"])).abs().mean()
    assert_close(loss, g["output/l1_loss0"], rtol=1e-5)
    loss.backward()
    turned = transposed_keys(net)
    gradients = {key: p.grad.numpy() for key, p in net.named_parameters()}
    for key, expected in g.group("grad").items():
        ours = gradients[key].T if key in turned else gradients[key]
        # the L1 loss has signs: compare by norm
        error = np.linalg.norm(ours - expected) / max(np.linalg.norm(expected), 1e-12)
        assert error < 2e-3, f"{key}: {error}"
    for key, norm in g.meta.get("grad_l2_norms_of_l1_loss0", {}).items():
        assert np.linalg.norm(gradients[key]) == pytest.approx(norm, rel=5e-3, abs=1e-7), key
