"""Selective scan, SS2D, VSSBlock, MambaIR and MambaDRCT against the published code."""

import math

import numpy as np
import paddle
import pytest

from ppsr.generators.blocks.selective_scan import selective_scan
from ppsr.generators.blocks.vss import SS2D, VSSBlock
from ppsr.registry import GENERATORS
from ppsr.weights import load_state
from ppsr.weights.loading import transposed_keys
from tests.golden.files import Golden, assert_close, golden
from tests.golden.hash_weights import hash_array

BLOCKS = {"SS2D": SS2D, "VSSBlock": VSSBlock}
PRECISIONS = [("float32", "", 2e-5, 1e-4), ("float64", "64", 1e-12, 1e-12)]
# layer norms of few channels enlarge rounding
BLOCK_PRECISIONS = [PRECISIONS[0], ("float64", "64", 1e-11, 1e-11)]


def _build(meta):
    """The network or block of a file; blocks take tokens as (N, H, W, C)."""
    if meta["network"] in BLOCKS:
        return BLOCKS[meta["network"]](**meta["kwargs"])
    swallowed = {"window_size"} if meta["network"] == "MambaIR" else set()  # by the published constructor
    kwargs = {key: value for key, value in meta["kwargs"].items() if key not in swallowed}
    return GENERATORS.build({"name": meta["network"], **kwargs})


def _cast(net, dtype):
    """Floating-point values of a network in another precision; `to` alone would take indices with them."""
    indices = [
        (layer, name, buffer.clone())
        for layer in net.sublayers(include_self=True)
        for name, buffer in layer.named_buffers(include_sublayers=False)
        if not buffer.is_floating_point()
    ]
    net.to(dtype=dtype)
    for layer, name, buffer in indices:
        layer.register_buffer(name, buffer, persistable=False)


def _gradients(net):
    turned = transposed_keys(net)
    return {key: p.grad.numpy().T if key in turned else p.grad.numpy() for key, p in net.named_parameters()}


def _published_order(key):
    """Where an entry stands in the published state dict; ours has the tail before the groups."""
    order = [
        *("conv_first", "patch_embed", "layers", "norm", "conv_after_body", "conv_before_upsample"),
        *("upsample", "conv_last"),
    ]
    return order.index(key.split(".")[0])


def _hash_weight(index, key, shape):
    """The formula in the files of full-size networks, by the kind of entry."""
    u = hash_array(index, shape, 1.0).astype(np.float64)
    if key.endswith("A_logs"):
        return np.log(np.arange(1, shape[-1] + 1)) + 0.2 * u
    if key.endswith("Ds"):
        return 1 + 0.3 * u
    if key.endswith("dt_projs_bias"):
        return -4 + 1.5 * u
    if key.endswith(("skip_scale", "skip_scale2")) or (len(shape) == 1 and key.endswith("weight")):
        return 1 + 0.2 * u
    if key.endswith("bias"):
        return 0.1 * u
    fan = {2: math.prod(shape[1:]), 3: shape[2] if len(shape) == 3 else 0, 4: math.prod(shape[1:])}
    return u * math.sqrt(3 / fan[len(shape)])


@pytest.mark.smoke
@golden("mamba_selective_scan*")
@pytest.mark.parametrize("chunk", [None, 0, 7, 32])
@pytest.mark.parametrize(("dtype", "suffix", "rtol", "rtol_gradients"), PRECISIONS, ids=["32", "64"])
def test_scan_and_its_gradients(path, chunk, dtype, suffix, rtol, rtol_gradients):
    g = Golden(path)
    for case, facts in g.meta["cases"].items():
        arrays = g.group(f"input/{case}")
        inputs = {k: paddle.to_tensor(a.astype(dtype), stop_gradient=False) for k, a in arrays.items()}
        weight = inputs.pop("w")
        expected = g.group(f"output/{case}")
        if chunk is None:  # without the last state another form computes it on a CPU
            y = selective_scan(**inputs, delta_softplus=facts["softplus"])
        else:
            y, last = selective_scan(
                **inputs, delta_softplus=facts["softplus"], return_last_state=True, chunk=chunk
            )
            assert_close(last, expected[f"last_state{suffix}"], rtol=rtol, what=f"{case} last state")
        assert_close(y, expected[f"y{suffix}"], rtol=rtol, what=case)
        (y * weight.detach()).sum().backward()
        for name, tensor in inputs.items():
            theirs = expected[f"grad_{name}{suffix}"]
            assert_close(tensor.grad, theirs, rtol=rtol_gradients, what=f"{case} gradient of {name}")


@golden("mamba_ss2d*", "mamba_vssblock*")
@pytest.mark.parametrize(("dtype", "suffix", "rtol", "rtol_gradients"), BLOCK_PRECISIONS, ids=["32", "64"])
def test_blocks_and_their_gradients(path, dtype, suffix, rtol, rtol_gradients):
    g = Golden(path)
    net = _build(g.meta)
    load_state(net, g.params, layout="torch")
    net.eval()
    _cast(net, dtype)
    shape = g["input/x"].shape
    if "x_size" in g.meta:
        shape = (shape[0], *g.meta["x_size"], shape[-1])
    x = paddle.to_tensor(g["input/x"].astype(dtype).reshape(shape), stop_gradient=False)
    y = net(x)
    assert_close(y.reshape(g["input/x"].shape), g[f"output/y{suffix}"], rtol=rtol)
    (y * paddle.to_tensor(g["input/w"].astype(dtype).reshape(shape))).sum().backward()
    theirs = g[f"output/grad_x{suffix}"]
    if dtype == "float64" and "VSS" in g.meta["network"]:
        rtol_gradients = 3e-8  # Paddle's gradient of average pooling divides in single precision
    assert_close(x.grad.reshape(theirs.shape), theirs, rtol=rtol_gradients, what="gradient of x")
    if dtype == "float32":
        ours, expected = _gradients(net), g.group("output/grad")
        assert ours.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(ours[key], value, rtol=rtol_gradients, what=f"gradient of {key}")


@golden("mamba_ss2d*")
def test_each_direction_of_the_scan(path):
    g = Golden(path)
    net = _build(g.meta)
    load_state(net, g.params, layout="torch")
    rows, columns, rows_back, columns_back = net.scan_directions(paddle.to_tensor(g["output/core_in"]))
    for i, ours in enumerate((rows, rows_back, columns, columns_back), 1):  # the published order
        assert_close(ours, g[f"output/core_y{i}"], rtol=2e-5, what=f"core_y{i}")


@golden("mamba_mambair*", "mamba_mambadrct*")
@pytest.mark.parametrize(("dtype", "suffix", "rtol"), [("float32", "", 2e-5), ("float64", "64", 1e-11)])
def test_networks_and_the_gradient_of_their_input(path, dtype, suffix, rtol):
    g = Golden(path)
    net = _build(g.meta)
    load_state(net, g.params, layout="torch")
    net.eval()
    _cast(net, dtype)
    x = paddle.to_tensor(g["input/x"].astype(dtype), stop_gradient=False)
    y = net(x)
    assert_close(y, g[f"output/y{suffix}"], rtol=rtol)
    (y * paddle.to_tensor(g["input/w"].astype(dtype))).sum().backward()
    assert_close(x.grad, g["output/grad_x"], rtol=1e-4, what="gradient of x")


@pytest.mark.slow
@golden("mamba_fullsize*")
def test_networks_of_full_size(path):
    g = Golden(path)
    net = _build(g.meta)
    net.eval()
    own = net.state_dict()
    turned = transposed_keys(net)
    state = {}
    sums = g["output/param_abs_sum"]
    keys = sorted(own, key=_published_order)
    assert len(keys) == len(sums)
    for index, key in enumerate(keys):
        shape = tuple(own[key].shape)
        state[key] = _hash_weight(index, key, shape[::-1] if key in turned else shape).astype(np.float32)
        total = np.abs(state[key].astype(np.float64)).sum()
        assert total == pytest.approx(sums[index], rel=1e-6), key
    load_state(net, state, layout="torch")
    with paddle.no_grad():
        y = net(paddle.to_tensor(g["input/x"]))
    assert_close(y, g["output/y"], rtol=1e-4)
    assert_close(y, g["output/y64"], rtol=1e-4)
