"""The fast products against Paddle's own: values, gradients, and what must fall back to them."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.accelerate import products as module
from ppsr.accelerate import runtime
from ppsr.accelerate.plans import Plans
from ppsr.generators.blocks.layers import Linear
from tests.accelerate.comparing import assert_close, compute, must_not_be_called, sweep

pytestmark = pytest.mark.skipif(not accelerate.is_enabled(), reason="oneDNN is not usable or switched off")


@pytest.fixture(autouse=True)
def any_size_is_worthwhile(monkeypatch):
    monkeypatch.setattr(module, "_WORTHWHILE", 0)


def _check(fast, plain, arrays, trainable):
    got, expected = compute(fast, arrays, trainable), compute(plain, arrays, trainable)
    absolute = [None if a is None else np.abs(a) for a in arrays]
    assert_close(got, expected, compute(plain, absolute, trainable, np.abs))


sizes = st.integers(1, 40)


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
def test_outer_products_are_written_completely(turned, rng):
    """oneDNN 3.6 leaves parts of them unwritten on processors with AMX, after other products."""
    for m, k, n in [(35, 1, 40), (26, 8, 1), (1, 9, 23), (19, 1, 27)] * 8:
        x = rng.standard_normal((k, m) if turned[0] else (m, k), np.float32)
        y = rng.standard_normal((n, k) if turned[1] else (k, n), np.float32)
        _check(
            lambda a, b: accelerate.matmul(a, b, *turned),
            lambda a, b: paddle.matmul(a, b, *turned),
            (x, y),
            (True, True),
        )


@sweep(60)
@given(
    lead=st.lists(st.integers(1, 4), max_size=2),
    size=st.tuples(sizes, sizes, sizes),
    turned=st.tuples(st.booleans(), st.booleans()),
    trainable=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_and_their_gradients_equal_the_stock_ones(lead, size, turned, trainable, seed):
    rng = np.random.default_rng(seed)
    m, k, n = size
    x = rng.standard_normal([*lead, *((k, m) if turned[0] else (m, k))], np.float32)
    y = rng.standard_normal([*lead, *((n, k) if turned[1] else (k, n))], np.float32)
    _check(
        lambda a, b: accelerate.matmul(a, b, *turned),
        lambda a, b: paddle.matmul(a, b, *turned),
        (x, y),
        trainable,
    )


@sweep(60)
@given(
    lead=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    size=st.tuples(sizes, sizes),
    bias=st.booleans(),
    trainable=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seed=st.integers(0, 2**32 - 1),
)
def test_linear_layers_and_their_gradients_equal_the_stock_ones(lead, size, bias, trainable, seed):
    rng = np.random.default_rng(seed)
    arrays = (
        rng.standard_normal([*lead, size[0]], np.float32),
        rng.standard_normal(size, np.float32),
        rng.standard_normal(size[1], np.float32) if bias else None,
    )
    _check(accelerate.linear, F.linear, arrays, trainable)


@pytest.mark.smoke
def test_the_products_of_a_window_attention_take_the_fast_path(rng, monkeypatch):
    monkeypatch.setattr(paddle, "matmul", must_not_be_called)
    monkeypatch.setattr(module.F, "linear", must_not_be_called)
    x = paddle.to_tensor(rng.standard_normal((4, 16, 12), np.float32))
    tokens = Linear(12, 36)(x)
    q, k = tokens[:, :, :12], tokens[:, :, 12:24]
    accelerate.matmul(q, k, transpose_y=True).sum().backward()


def test_a_small_product_is_left_to_paddle(rng, monkeypatch):
    monkeypatch.setattr(module, "_WORTHWHILE", 1 << 19)
    monkeypatch.setattr(Plans, "run", must_not_be_called)
    x = paddle.to_tensor(rng.standard_normal((8, 8), np.float32))
    accelerate.matmul(x, x)


@pytest.mark.parametrize(
    ("x", "y"), [((3,), (3,)), ((2, 3, 4), (4, 5)), ((1, 3, 4), (2, 4, 5)), ((3, 4), (4,))]
)
def test_broadcasts_are_left_to_paddle(rng, x, y):
    a, b = (paddle.to_tensor(rng.standard_normal(shape, np.float32)) for shape in (x, y))
    np.testing.assert_array_equal(accelerate.matmul(a, b).numpy(), paddle.matmul(a, b).numpy())


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_types_are_left_to_paddle(rng, dtype, monkeypatch):
    monkeypatch.setattr(Plans, "run", must_not_be_called)
    x = paddle.to_tensor(rng.standard_normal((8, 8), np.float32)).astype(dtype)
    if dtype == "float64":
        assert accelerate.matmul(x, x).dtype == paddle.float64
    else:
        assert runtime.compute(module.Product(0, 8, 8, 8, False, False, False), [8, 8], x, x) is None


def test_shapes_that_do_not_fit_raise_what_paddle_raises(rng):
    x = paddle.to_tensor(rng.standard_normal((4, 5), np.float32))
    with pytest.raises(ValueError, match=r"[Ii]nput"):
        accelerate.matmul(x, x)


def test_a_second_derivative_is_refused_and_stock_has_it(rng):
    x = paddle.to_tensor(rng.standard_normal((6, 6), np.float32), stop_gradient=False)
    with pytest.raises((RuntimeError, OSError), match="second derivative"):
        paddle.grad(accelerate.matmul(x, x).sum(), x, create_graph=True)
    with accelerate.disabled():
        (first,) = paddle.grad(accelerate.matmul(x, x).sum(), x, create_graph=True)
    assert not first.stop_gradient


def test_a_factor_changed_in_place_is_refused(rng):
    x = paddle.to_tensor(rng.standard_normal((6, 6), np.float32), stop_gradient=False)
    y = paddle.to_tensor(rng.standard_normal((6, 6), np.float32))
    z = accelerate.matmul(x, y)
    y.add_(paddle.ones([6, 6]))
    with pytest.raises((RuntimeError, OSError), match="in place"):
        z.sum().backward()
