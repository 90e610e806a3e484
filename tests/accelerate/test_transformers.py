"""LayerNorm, GELU, PReLU and window attention through oneDNN against Paddle's own: values and gradients."""

from __future__ import annotations

import os

import numpy as np
import paddle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.accelerate import runtime, tokens
from ppsr.accelerate import windows as attention
from ppsr.accelerate.onednn import OneDnnError
from ppsr.accelerate.steps import ADD, Steps
from ppsr.generators.blocks.window_attention import attend
from ppsr.generators.swinir import SwinBlock

pytestmark = pytest.mark.skipif(not accelerate.is_enabled(), reason="oneDNN is not usable or switched off")

TOLERANCE = 5e-6  # relative to the largest value; float32 sums in another order
_sweep = settings(
    max_examples=int(os.environ.get("PPSR_SWEEP", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def any_size_is_worthwhile(monkeypatch):
    monkeypatch.setattr(tokens, "_WORTHWHILE", 0)


def _results(function, arrays, trainable):
    tensors = [
        paddle.to_tensor(array, stop_gradient=not t) for array, t in zip(arrays, trainable, strict=True)
    ]
    y = function(*tensors)
    if any(trainable):
        noise = np.random.default_rng(7).standard_normal(list(y.shape), np.float32)
        y.backward(paddle.to_tensor(noise))
    return [y, *(tensor.grad for tensor in tensors)]


def _check(function, arrays, trainable, least=1e-3):
    got = _results(function, arrays, trainable)
    with accelerate.disabled():
        expected = _results(function, arrays, trainable)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert list(a.shape) == list(b.shape)
            assert np.abs(a.numpy() - b.numpy()).max() <= TOLERANCE * max(np.abs(b.numpy()).max(), least)


@_sweep
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
    got = _results(accelerate.layer_norm, [x, weight, bias], trainable)
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


@_sweep
@given(shape=st.lists(st.integers(1, 12), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_gelu_and_its_gradient_equal_the_stock_ones(shape, seed):
    x = 3 * np.random.default_rng(seed).standard_normal(shape, np.float32)
    _check(accelerate.gelu, [x], [True], least=1.0)  # Paddle's own is 7e-7 from the formula, too


@_sweep
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
    got = _results(accelerate.prelu, [x, slopes], trainable)
    each = np.broadcast_to(slopes, shape[1]).reshape(-1, *(1 for _ in shape[2:]))
    upstream = np.random.default_rng(7).standard_normal(shape, np.float32).astype("f8")
    to_slopes = (upstream * np.minimum(x, 0)).sum(axis=(0, *range(2, len(shape))))
    factor = np.where(x > 0, 1, each)
    expected = [x * factor, upstream * factor, to_slopes.sum(keepdims=True) if shared else to_slopes]
    for value, formula, wanted in zip(got, expected, (True, *trainable), strict=True):
        assert (value is not None) == wanted
        least = max(np.abs(formula).max(), 1)  # the terms of the gradient of a slope may cancel
        assert value is None or np.abs(value.numpy() - formula).max() <= TOLERANCE * least


@_sweep
@given(
    images=st.integers(1, 3),
    windows=st.integers(1, 6),
    tokens=st.integers(2, 20),
    others=st.integers(2, 20),
    heads=st.integers(1, 4),
    width=st.integers(2, 12),
    masked=st.booleans(),
    joint=st.booleans(),
    at_once=st.sampled_from([1, 500, 1 << 17]),
    trainable=st.tuples(*[st.booleans()] * 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_attention_and_its_gradients_equal_the_explicit_form(
    monkeypatch, images, windows, tokens, others, heads, width, masked, joint, at_once, trainable, seed
):
    monkeypatch.setattr(attention, "_AT_ONCE", at_once)
    rng = np.random.default_rng(seed)
    others = tokens if joint else others
    count, channels = images * windows, heads * width
    shapes = [[count, tokens, channels * (3 if joint else 1)], [heads, tokens, others]]
    shapes += [] if joint else [[count, others, 2 * channels]]
    arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]
    mask = rng.choice([0.0, -100.0], [windows, tokens, others]).astype("float32")
    mask[:, :, 0] = 0  # where all were masked, -100 would round the scores
    mask = paddle.to_tensor(mask)

    def function(q, bias, kv=None):
        return attend(q, kv, bias, mask if masked else None, heads, width**-0.5)

    _check(function, arrays, trainable[: len(arrays)])


@pytest.mark.parametrize(("tokens", "joint"), [(2, True), (4, True), (3, False)])
def test_a_number_of_windows_that_onednn_reads_wrongly_is_never_taken_at_once(rng, tokens, joint):
    parts = 3 if joint else 2
    shapes = [[parts * tokens, tokens, 10 * (3 if joint else 1)], [2, tokens, tokens]]
    shapes += [] if joint else [[parts * tokens, tokens, 20]]
    arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]
    _check(lambda q, bias, kv=None: attend(q, kv, bias, None, 2, 0.4), arrays, [True] * len(arrays))


def _must_not_be_called(*_args, **_kwargs):
    raise AssertionError("Paddle's own operator was called")


@pytest.mark.smoke
def test_a_swin_block_takes_the_fast_path_and_gives_the_same_bits_without_gradients(rng, monkeypatch):
    block = SwinBlock(12, 2, 4, 2, 2.0)
    x = paddle.to_tensor(rng.standard_normal((2, 8, 8, 12), np.float32))
    for owner, name in ((F, "softmax"), (F, "layer_norm"), (F, "gelu"), (paddle, "addmm")):
        monkeypatch.setattr(owner, name, _must_not_be_called)
    recorded = block(x)
    recorded.sum().backward()
    with paddle.no_grad():
        assert block(x).numpy().tobytes() == recorded.numpy().tobytes()


def test_dropout_of_attention_weights_takes_the_explicit_form(rng):
    q = paddle.to_tensor(rng.standard_normal((2, 9, 12), np.float32))
    bias, drop = paddle.zeros([2, 9, 9]), paddle.nn.Dropout(0.5)
    assert not np.allclose(attend(q, None, bias, None, 2, 0.5, drop), attend(q, None, bias, None, 2, 0.5))
    drop.eval()
    np.testing.assert_array_equal(
        attend(q, None, bias, None, 2, 0.5, drop), attend(q, None, bias, None, 2, 0.5)
    )


def test_a_primitive_that_is_a_plain_loop_is_refused():
    plans = runtime.usable_plans()
    assert plans is not None
    steps = Steps(plans._library)
    scores, column = steps.scratch([2, 3, 4, 4]), steps.scratch([2, 3, 4, 1])
    with pytest.raises(OneDnnError, match="plain loop"):
        steps.combine(ADD, scores, column)
    steps.close()
