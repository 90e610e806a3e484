"""CDDNet's networks against the published code."""

import math

import numpy as np
import paddle
import pytest

from ppsr.discriminators.unet import UNetDiscriminatorSN
from ppsr.generators.blocks.dynamic_conv import DynamicConv2D
from ppsr.generators.cddnet import LKAT, BlindSR, CDDNet
from ppsr.generators.degradation_predictor import DegradationPredictor
from ppsr.imaging.io import to_uint8
from ppsr.weights import load_state
from tests.golden.files import Golden, assert_close, assert_near, golden
from tests.golden.hash_weights import hash_array

TOLERANCE = 1e-4  # float32 sums of up to 60 convolutions


def _tensor(array):
    return paddle.to_tensor(array)


def _load(net, params):
    load_state(net, params, layout="torch")
    net.eval()
    return net


def _generator(kwargs, *, attention):
    """DASR's generator has the published class name of CDDNet's, and no large-kernel attention."""
    return CDDNet(**kwargs, use_rc=attention)


@golden("cddnet_generator*")
@pytest.mark.smoke
def test_generator_and_its_taps(path):
    g = Golden(path)
    attention = any(key.startswith("RC.") for key in g.params)
    net = _load(_generator(g.meta["kwargs"], attention=attention), g.params)
    taps = {}
    for name in [key.removeprefix("tap_") for key in g.group("output") if key.startswith("tap_")]:
        layer = getattr(net, name)
        layer = layer[-1] if name == "body" else layer
        layer.register_forward_post_hook(lambda _, __, out, name=name: taps.__setitem__(name, out))
    y = net(_tensor(g["input/x"]), _tensor(g["input/weights"]))
    assert_near(y, g["output/y"], TOLERANCE)
    for name, value in taps.items():
        assert_near(value, g[f"output/tap_{name}"], TOLERANCE, what=name)


@pytest.mark.slow
@golden("cddnet_fullsize*")
def test_full_size_generator_by_hash_weights(path):
    g = Golden(path)
    kwargs, gains, bias = g.meta["kwargs"], g.meta["gains"], g.meta["bias"]
    sizes = {len(net.state_dict()): net for net in (_generator(kwargs, attention=a) for a in (False, True))}
    net = sizes[len(g["output/param_abs_sum"])]
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
    assert_near(y, g["output/y"], TOLERANCE)


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
    assert_near(net(x, weights), g["output/y"], 1e-5)


@golden("cddnet_lkat*")
def test_large_kernel_attention(path):
    g = Golden(path)
    net = _load(LKAT(**g.meta["kwargs"]), g.params)
    assert_near(net(_tensor(g["input/x"])), g["output/y"], 1e-5)


@golden("cddnet_predictor*")
def test_predictor(path):
    g = Golden(path)
    net = _load(DegradationPredictor(**g.meta["kwargs"]), g.params)
    params, weights = net(_tensor(g["input/x"]))
    assert_near(params, g["output/params"], 1e-5)
    assert_near(weights, g["output/weights"], 1e-5)


@golden("cddnet_pipeline*")
def test_pipeline_from_bytes_to_bytes(path):
    g = Golden(path)
    kwargs = g.meta["kwargs"]
    generator = _generator(kwargs["net_g"], attention=any(k.startswith("net_g.RC.") for k in g.params))
    net = BlindSR(generator=generator, predictor=DegradationPredictor(**kwargs["net_p"]))
    names = {"net_g": "generator", "net_p": "predictor"}
    state = {f"{names[k.split('.')[0]]}.{k.split('.', 1)[1]}": v for k, v in g.params.items()}
    _load(net, state)
    lq = g["input/lq_bgr_u8"][..., ::-1].astype(np.float32) / 255
    x = _tensor(np.ascontiguousarray(lq.transpose(2, 0, 1)[None]))
    params, weights = net.predictor(x)
    assert_near(params, g["output/params"], TOLERANCE)
    assert_near(weights, g["output/weights"], TOLERANCE)
    y = net(x)
    assert_near(y, g["output/y"], TOLERANCE)
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
    vectors = {name: t for name, t in net.named_buffers() if name.endswith(("weight_u", "weight_v"))}
    assert vectors
    suffix = "" if "input/x" in g else "0"
    x = _tensor(g[f"input/x{suffix}"])
    net.eval()
    assert_near(net(x), g[f"output/y{suffix}_eval"], TOLERANCE)
    for name, layer in net.named_sublayers():
        if f"output/eff_{name}_sigma" in g:
            assert_close(layer.sigma(), g[f"output/eff_{name}_sigma"], rtol=1e-5)
    net.train()
    step = 1
    while (stored := _step_of_discriminator(g, step)) is not None:
        y, after = stored
        # each iteration starts from the rounding of the last
        assert_near(net(x), y, TOLERANCE if step == 1 else 1e-3, what=f"step {step}")
        vectors = dict(net.named_buffers())
        for name, expected in after.items():
            assert_close(vectors[name], expected, atol=1e-5, what=f"{name} after step {step}")
        step += 1
    assert step > 1
    if f"output/y{suffix}_eval_after{step - 1}" in g:
        net.eval()
        assert_near(net(x), g[f"output/y{suffix}_eval_after{step - 1}"], 1e-3)


def _step_of_discriminator(g, step):
    """Output and singular vectors of a training step, in either of the two ways to name them."""
    if f"output/y0_train_{step}" in g:
        return g[f"output/y0_train_{step}"], g.group(f"output/after_train_{step}")
    if f"output/y_train_step{step}" not in g:
        return None
    prefix = f"output/train_step{step}_"
    after = {k.removeprefix(prefix): v for k, v in g.arrays.items() if k.startswith(prefix)}
    names = {key: "{}.weight_{}".format(*key.rsplit("_", 1)) for key in after}
    return g[f"output/y_train_step{step}"], {names[key]: value for key, value in after.items()}
