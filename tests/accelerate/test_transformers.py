"""LayerNorm, GELU, PReLU and window attention through oneDNN against Paddle's own: values and gradients."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.accelerate import products, runtime, tokens
from ppsr.accelerate import windows as attention
from ppsr.accelerate.descriptions import ADD
from ppsr.accelerate.onednn import OneDnnError
from ppsr.accelerate.steps import Steps
from ppsr.generators.blocks import Conv2D
from ppsr.generators.blocks.transformer import to_map, to_tokens
from ppsr.generators.blocks.window_attention import (
    WindowAttention,
    attend,
    merge_windows,
    shift_mask,
    split_windows,
)
from ppsr.generators.swinir import SwinBlock
from tests.accelerate.comparing import TOLERANCE, assert_close, compute, must_not_be_called, sweep

pytestmark = pytest.mark.skipif(not accelerate.is_enabled(), reason="oneDNN is not usable or switched off")


@pytest.fixture(autouse=True)
def any_size_is_worthwhile(monkeypatch):
    monkeypatch.setattr(tokens, "_WORTHWHILE", 0)


def _check(function, arrays, trainable, least=1e-3):
    got = compute(function, arrays, trainable)
    with accelerate.disabled():
        expected = compute(function, arrays, trainable)
    assert_close(got, expected, least=least)


@sweep(40)
@given(
    lead=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    columns=st.integers(8, 70),  # of fewer the terms of the gradient cancel
    trainable=st.tuples(*[st.booleans()] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_layer_norm_and_its_gradients_equal_the_formulas(lead, columns, trainable, seed):
    """In float64: on a CPU, Paddle's gradient of the input is wrong where the weight is frozen."""
    rng = np.random.default_rng(seed)
    x, weight, bias = (
        rng.standard_normal(shape, np.float32) for shape in ([*lead, columns], columns, columns)
    )
    got = compute(accelerate.layer_norm, [x, weight, bias], trainable)
    centred = x - x.mean(-1, keepdims=True, dtype="f8")
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    normed = centred / deviation
    upstream = np.random.default_rng(7).standard_normal(x.shape, np.float32).astype("f8")
    inner = upstream * weight
    projected = normed * (inner * normed).mean(-1, keepdims=True)
    expected = [
        normed * weight + bias,
        (inner - inner.mean(-1, keepdims=True) - projected) / deviation,
        (upstream * normed).reshape(-1, columns).sum(0),
        upstream.reshape(-1, columns).sum(0),
    ]
    for value, formula, wanted in zip(got, expected, (True, *trainable), strict=True):
        assert (value is not None) == wanted
        assert value is None or np.abs(value.numpy() - formula).max() <= TOLERANCE * np.abs(formula).max()


@sweep(40)
@given(shape=st.lists(st.integers(1, 12), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_gelu_and_its_gradient_equal_the_stock_ones(shape, seed):
    x = 3 * np.random.default_rng(seed).standard_normal(shape, np.float32)
    _check(accelerate.gelu, [x], [True], least=1.0)  # Paddle's own is 7e-7 from the formula, too


@sweep(40)
@given(
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    shared=st.booleans(),
    trainable=st.tuples(*[st.booleans()] * 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_prelu_and_its_gradients_equal_the_formulas(shape, shared, trainable, seed):
    """Paddle 3.3.1's own ends the process where the slopes are frozen and the input is not."""
    rng = np.random.default_rng(seed)
    x, slopes = (rng.standard_normal(size, np.float32) for size in (shape, 1 if shared else shape[1]))
    got = compute(accelerate.prelu, [x, slopes], trainable)
    each = np.broadcast_to(slopes, shape[1]).reshape(-1, *(1 for _ in shape[2:]))
    upstream = np.random.default_rng(7).standard_normal(shape, np.float32).astype("f8")
    to_slopes = (upstream * np.minimum(x, 0)).sum(axis=(0, *range(2, len(shape))))
    factor = np.where(x > 0, 1, each)
    expected = [x * factor, upstream * factor, to_slopes.sum(keepdims=True) if shared else to_slopes]
    for value, formula, wanted in zip(got, expected, (True, *trainable), strict=True):
        assert (value is not None) == wanted
        least = max(np.abs(formula).max(), 1)  # the terms of the gradient of a slope may cancel
        assert value is None or np.abs(value.numpy() - formula).max() <= TOLERANCE * least


@sweep(40)
@given(
    lead=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    sides=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    bias=st.booleans(),
    trainable=st.tuples(*[st.booleans()] * 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_linear_layer_with_a_residual_equals_the_stock_operators(
    monkeypatch, lead, sides, bias, trainable, seed
):
    monkeypatch.setattr(products, "_WORTHWHILE", 0)
    rng = np.random.default_rng(seed)
    shapes = [[*lead, sides[0]], sides, [*lead, sides[1]], *([sides[1:]] if bias else [])]
    arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]

    def function(x, weight, residual, bias=None):
        return accelerate.linear(x, weight, bias, residual * 1.5)  # no leaf

    _check(function, arrays, trainable[: len(arrays)], least=1.0)


@sweep(40)
@given(
    rows=st.integers(2, 40),
    sides=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    trainable=st.tuples(*[st.booleans()] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_linear_layer_with_gelu_equals_the_stock_operators(monkeypatch, rows, sides, trainable, seed):
    monkeypatch.setattr(products, "_WORTHWHILE", 0)
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape, np.float32) for shape in ([rows, sides[0]], sides, sides[1:])]
    arrays[1] /= np.float32(np.sqrt(sides[0]))

    def function(x, weight, bias):
        return accelerate.linear(x, weight, bias, gelu=True)

    _check(function, arrays, trainable, least=1.0)
    tensors = [paddle.to_tensor(array, stop_gradient=False) for array in arrays]
    recorded = function(*tensors).numpy()
    with paddle.no_grad():
        assert function(*tensors).numpy().tobytes() == recorded.tobytes()


def test_the_gradient_of_a_residual_is_an_array_of_its_own(rng, monkeypatch):
    monkeypatch.setattr(products, "_WORTHWHILE", 0)
    x, weight, leaf = (
        paddle.to_tensor(rng.standard_normal(shape, np.float32)) for shape in ([8, 4], [4, 4], [8, 4])
    )
    leaf.stop_gradient = False
    upstream = paddle.ones([8, 4])
    for _ in range(2):
        accelerate.linear(x, weight, None, leaf).backward(upstream)
    assert float(leaf.grad.min()) == 2
    assert float(upstream.max()) == 1


@sweep(40)
@given(
    n=st.integers(1, 3),
    inner=st.lists(st.integers(1, 9), min_size=1, max_size=2),
    columns=st.integers(1, 40),
    trainable=st.tuples(*[st.booleans()] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_scaled_sum_and_its_gradients_equal_the_stock_operators(n, inner, columns, trainable, seed):
    rng = np.random.default_rng(seed)
    shapes = [n, *inner, columns], [n, columns], [n, *inner, columns]
    arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]

    def function(x, factors, residual):
        return accelerate.scaled_sum(x, factors, residual * 1.5)

    _check(function, arrays, trainable, least=1.0)


@sweep(40)
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.sampled_from([1, 3]),
    bias=st.booleans(),
    trainable=st.tuples(*[st.booleans()] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_convolution_of_tokens_equals_that_of_a_map(sizes, channels, kernel, bias, trainable, seed):
    rng = np.random.default_rng(seed)
    layer = Conv2D(*channels, kernel, padding=kernel // 2, bias=bias)
    arrays = [rng.standard_normal([*sizes, channels[0]], np.float32)]
    arrays += [parameter.numpy() for parameter in layer.parameters()]

    def function(x, weight, bias=None):
        y = accelerate.conv2d_tokens(x, weight, bias, *layer.geometry)
        if y is None:
            assert not accelerate.is_enabled()
            y = to_tokens(F.conv2d(to_map(x), weight, bias, *layer.geometry))
        return y

    _check(function, arrays, trainable[: len(arrays)], least=1.0)


def _explicit(qkv, bias, mask, heads, factor, size, shift, far):
    """Attention of cut-out windows, by Paddle's operators."""
    _, h, w, row = qkv.shape
    channels = row // 3
    turned = paddle.roll(qkv, [-shift, -shift], axis=[1, 2])
    q = split_windows(turned[:, :, :, :channels], size)
    around = F.pad(turned[:, :, :, channels:], [0, 0, far, far, far, far, 0, 0])
    first = far - (far - size) // 2
    kv = paddle.concat(
        [
            around[:, first + y : first + y + far, first + x : first + x + far].reshape(
                [-1, 1, far**2, 2 * channels]
            )
            for y in range(0, h, size)
            for x in range(0, w, size)
        ],
        axis=1,
    )
    y = attend(q, kv.reshape([-1, far**2, 2 * channels]), bias, mask, heads, factor)
    return paddle.roll(merge_windows(y, size, h, w), [shift, shift], axis=[1, 2])


@sweep(40)
@given(
    grid=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    size=st.integers(2, 5),
    kind=st.sampled_from(["plain", "shifted", "larger"]),
    amount=st.integers(1, 7),
    heads=st.integers(1, 4),
    width=st.integers(2, 12),
    at_once=st.sampled_from([1, 500, 1 << 17]),
    trainable=st.tuples(*[st.booleans()] * 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_and_its_gradients_equal_the_explicit_form(
    monkeypatch, grid, size, kind, amount, heads, width, at_once, trainable, seed
):
    monkeypatch.setattr(attention, "_AT_ONCE", at_once)
    rng = np.random.default_rng(seed)
    images, rows, columns = grid
    shift = min(amount, size - 1) if kind == "shifted" else 0
    far = size + amount if kind == "larger" else size
    arrays = [
        rng.standard_normal(shape, np.float32)
        for shape in ([images, rows * size, columns * size, 3 * heads * width], [heads, size**2, far**2])
    ]
    mask = shift_mask(paddle.to_tensor(arrays[0]), size, shift) if shift else None
    options = mask, heads, width**-0.5, size, shift, far

    def function(qkv, bias):
        y = accelerate.attention(qkv, bias, *options)
        if y is None:
            assert not accelerate.is_enabled()
            y = _explicit(qkv, bias, *options)
        return y

    # where a token sees itself alone, the terms of the gradient, sums of `width` products, cancel
    _check(function, arrays, trainable, least=1.0)


@pytest.mark.parametrize(("size", "far"), [(2, 2), (2, 3), (3, 3)])
def test_a_number_of_windows_that_onednn_reads_wrongly_is_never_taken_at_once(rng, size, far):
    arrays = [
        rng.standard_normal(shape, np.float32)
        for shape in ([1, size, 3 * far**2 * size, 30 * 2], [2, size**2, far**2])
    ]
    options = None, 2, 0.4, size, 0, far

    def function(qkv, bias):
        y = accelerate.attention(qkv, bias, *options)
        return _explicit(qkv, bias, *options) if y is None else y

    _check(function, arrays, [True, True])


@pytest.mark.smoke
def test_a_swin_block_takes_the_fast_path_and_gives_the_same_bits_without_gradients(rng, monkeypatch):
    block = SwinBlock(12, 2, 4, 2, 2.0)
    x = paddle.to_tensor(rng.standard_normal((2, 8, 8, 12), np.float32))
    for owner, name in ((F, "softmax"), (F, "layer_norm"), (F, "gelu"), (paddle, "addmm")):
        monkeypatch.setattr(owner, name, must_not_be_called)
    recorded = block(x)
    recorded.sum().backward()
    with paddle.no_grad():
        assert block(x).numpy().tobytes() == recorded.numpy().tobytes()


def test_dropout_of_attention_weights_takes_the_explicit_form(rng):
    layer = WindowAttention(12, 3, 2, attn_drop=0.5)
    x = paddle.to_tensor(rng.standard_normal((2, 3, 6, 12), np.float32))
    assert not np.allclose(layer(x), layer(x))
    layer.eval()
    np.testing.assert_array_equal(layer(x), layer(x))


def test_a_primitive_that_is_a_plain_loop_is_refused():
    plans = runtime.usable_plans()
    assert plans is not None
    steps = Steps(plans._library)
    scores, column = steps.scratch([2, 3, 4, 4]), steps.scratch([2, 3, 4, 1])
    with pytest.raises(OneDnnError, match="plain loop"):
        steps.combine(ADD, scores, column)
    steps.close()
