"""CDDNet's networks against the published code."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from ppsr.discriminators.unet import UNetDiscriminatorSN
from ppsr.generators.blocks.dynamic_conv import DynamicConv2D
from ppsr.generators.blocks.lkat import LKAT
from ppsr.generators.cddnet import BlindSR, CDDNet
from ppsr.generators.degradation_predictor import DegradationPredictor
from ppsr.imaging.io import to_uint8
from ppsr.weights import load_state
from tests.golden.files import Golden, assert_close, golden
from tests.golden.hash_weights import hash_array

ATOL = 1e-4  # outputs are of order 1; float32 sums of up to 60 convolutions


def _tensor(array):
    return paddle.to_tensor(array)


def _load(net, params):
    load_state(net, params, layout="torch")
    net.eval()
    return net


@golden("cddnet_generator*")
@pytest.mark.smoke
def test_generator_and_its_taps(path):
    g = Golden(path)
    net = _load(CDDNet(**g.meta["kwargs"]), g.params)
    taps = {}
    for name in g.meta.get("taps", ()):
        layer = getattr(net, name)
        layer = layer[-1] if name == "body" else layer
        layer.register_forward_post_hook(lambda _, __, out, name=name: taps.__setitem__(name, out))
    y = net(_tensor(g["input/x"]), _tensor(g["input/weights"]))
    assert_close(y, g["output/y"], atol=ATOL)
    for name, value in taps.items():
        assert_close(value, g[f"output/tap_{name}"], atol=ATOL, what=name)


@golden("cddnet_fullsize*")
def test_full_size_generator_by_hash_weights(path):
    g = Golden(path)
    kwargs, gains, bias = g.meta["kwargs"], g.meta["gains"], g.meta["bias"]
    net = CDDNet(**kwargs)
    state = {}
    for k, key in enumerate(_published_order(net)):
        shape = tuple(net.state_dict()[key].shape)
        fan = math.prod(shape[2:]) if len(shape) == 5 else math.prod(shape[1:])
        scale = bias if key.endswith("bias") else gains.get(key.split(".")[0], 1.0) * math.sqrt(3 / fan)
        state[key] = hash_array(k, shape, scale)
    sums = [np.abs(v.astype(np.float64)).sum() for v in state.values()]
    assert_close(sums, g["output/param_abs_sum"], rtol=1e-9)
    _load(net, state)
    y = net(_tensor(g["input/x"]), _tensor(g["input/weights"]))
    assert_close(y, g["output/y"], atol=ATOL)


def _published_order(net):
    """Keys in torch's order: modules as they are built, weight before bias."""
    first = ["conv_first", "body", "upconv1", "upconv2", "conv_hr", "RC", "conv_last"]
    keys = list(net.state_dict())
    return sorted(keys, key=lambda k: (first.index(k.split(".")[0]), keys.index(k)))


@golden("cddnet_dynamic_conv*")
def test_dynamic_convolution(path):
    g = Golden(path)
    net = _load(DynamicConv2D(**g.meta["kwargs"]), g.params)
    x, weights = _tensor(g["input/x"]), _tensor(g["input/weights"])
    assert_close(net(x, weights), g["output/y"], atol=1e-5)


@golden("cddnet_lkat*")
def test_large_kernel_attention(path):
    g = Golden(path)
    net = _load(LKAT(**g.meta["kwargs"]), g.params)
    assert_close(net(_tensor(g["input/x"])), g["output/y"], atol=1e-5)


@golden("cddnet_predictor*")
def test_predictor(path):
    g = Golden(path)
    net = _load(DegradationPredictor(**g.meta["kwargs"]), g.params)
    params, weights = net(_tensor(g["input/x"]))
    assert_close(params, g["output/params"], atol=1e-5)
    assert_close(weights, g["output/weights"], atol=1e-5)


@golden("cddnet_pipeline*")
def test_pipeline_from_bytes_to_bytes(path):
    g = Golden(path)
    kwargs = g.meta["kwargs"]
    net = BlindSR(generator=CDDNet(**kwargs["net_g"]), predictor=DegradationPredictor(**kwargs["net_p"]))
    names = {"net_g": "generator", "net_p": "predictor"}
    state = {f"{names[k.split('.')[0]]}.{k.split('.', 1)[1]}": v for k, v in g.params.items()}
    _load(net, state)
    lq = g["input/lq_bgr_u8"][..., ::-1].astype(np.float32) / 255
    x = _tensor(np.ascontiguousarray(lq.transpose(2, 0, 1)[None]))
    params, weights = net.predictor(x)
    assert_close(params, g["output/params"], atol=1e-4)
    assert_close(weights, g["output/weights"], atol=1e-4)
    y = net(x)
    assert_close(y, g["output/y"], atol=ATOL)
    ours = to_uint8(y.numpy()[0].transpose(1, 2, 0))[..., ::-1].astype(int)
    theirs = g["output/sr_bgr_u8"].astype(int)
    # rounding may flip where a value lies within float error of a half
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 1e-3


@golden("cddnet_discriminator*", "unetdsn_*")
def test_discriminator_with_its_power_iterations(path):
    g = Golden(path)
    net = UNetDiscriminatorSN(**g.meta["kwargs"])
    load_state(net, g.params, layout="torch")
    old_layout = "input/x" in g
    x = _tensor(g["input/x" if old_layout else "input/x0"])
    y_eval, y_train = ("y_eval", "y_train_step{}") if old_layout else ("y0_eval", "y0_train_{}")
    vector = "train_step1_conv{}_{}" if old_layout else "after_train_1/conv{}.weight_{}"
    net.eval()
    assert_close(net(x), g[f"output/{y_eval}"], atol=ATOL)
    for i in range(1, 9):
        if f"output/eff_conv{i}_sigma" in g:
            assert_close(getattr(net, f"conv{i}").sigma(), g[f"output/eff_conv{i}_sigma"], rtol=1e-5)
    net.train()
    assert_close(net(x), g["output/" + y_train.format(1)], atol=ATOL)
    for i in range(1, 9):
        for name in "uv":
            ours = getattr(getattr(net, f"conv{i}"), f"weight_{name}")
            assert_close(ours, g["output/" + vector.format(i, name)], atol=1e-5, what=f"conv{i} {name}")
    assert_close(net(x), g["output/" + y_train.format(2)], atol=1e-3)
    if "output/y_eval_after2" in g:
        net.eval()
        assert_close(net(x), g["output/y_eval_after2"], atol=1e-3)
