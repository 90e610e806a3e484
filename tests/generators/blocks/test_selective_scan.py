"""The selective scan: its forms on a CPU and by tensor operations, the traced one, and what they refuse."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppsr import accelerate
from ppsr.errors import ConfigError
from ppsr.generators.blocks.selective_scan import selective_scan, softplus


def inputs(seed: int, length: int, *, rows: int = 2, groups: int = 2, per_group: int = 3, states: int = 4):
    """Random arguments in float64 by name; A is negative."""
    rng = np.random.default_rng(seed)
    channels = groups * per_group
    return {
        "u": rng.normal(size=(rows, channels, length)),
        "delta": rng.normal(size=(rows, channels, length)),
        "A": -np.exp(rng.normal(size=(channels, states))),
        "B": rng.normal(size=(rows, groups, states, length)),
        "C": rng.normal(size=(rows, groups, states, length)),
        "D": rng.normal(size=channels),
        "delta_bias": rng.normal(size=channels),
    }


def token_by_token(u, delta, A, B, C, D, delta_bias):
    """The recurrence written down with numpy; returns y and the last state."""
    dt = np.logaddexp(0, delta + delta_bias[:, None])
    per_group = u.shape[1] // B.shape[1]
    B, C = B.repeat(per_group, axis=1), C.repeat(per_group, axis=1)
    state, y = np.zeros((*u.shape[:2], A.shape[1])), np.empty_like(u)
    for t in range(u.shape[2]):
        step = dt[:, :, t, None]
        state = np.exp(step * A) * state + step * B[..., t] * u[:, :, t, None]
        y[:, :, t] = (C[..., t] * state).sum(-1) + D * u[:, :, t]
    return y, state


def run(arrays, chunk, dtype="float64"):
    """y, last state, and the gradients of a weighted sum of both."""
    tensors = {k: paddle.to_tensor(a.astype(dtype), stop_gradient=False) for k, a in arrays.items()}
    y, last = selective_scan(**tensors, delta_softplus=True, return_last_state=True, chunk=chunk)
    weight = np.random.default_rng(9).normal(size=y.shape).astype(dtype)
    ((y * paddle.to_tensor(weight)).sum() + (last * 0.3).sum()).backward()
    return y.numpy(), last.numpy(), {k: t.grad.numpy() for k, t in tensors.items()}


def relative(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.smoke
@pytest.mark.parametrize("chunk", [0, 1, 5, 8, 64])
@pytest.mark.parametrize("length", [1, 7, 40])
def test_both_forms_equal_the_recurrence_written_down(chunk, length):
    arrays = inputs(0, length)
    expected, state = token_by_token(**arrays)
    y, last, _ = run(arrays, chunk)
    assert relative(y, expected) <= 1e-12
    assert relative(last, state) <= 1e-12


def test_a_reverse_scan_is_that_of_the_reversed_sequence():
    arrays = inputs(4, 23)
    turned = {k: a[..., ::-1].copy() if a.shape[-1] == 23 else a for k, a in arrays.items()}
    expected, _ = token_by_token(**turned)
    tensors = {k: paddle.to_tensor(a) for k, a in arrays.items()}
    y = selective_scan(**tensors, delta_softplus=True, reverse=True)
    assert relative(y.numpy()[..., ::-1], expected) <= 1e-12


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 100))
def test_chunks_change_neither_result_nor_gradients(length, chunk, seed):
    arrays = inputs(seed, length)
    y, last, gradients = run(arrays, 0)
    chunked_y, chunked_last, chunked_gradients = run(arrays, chunk)
    assert relative(chunked_y, y) <= 1e-12
    assert relative(chunked_last, last) <= 1e-12
    for name, gradient in gradients.items():
        error = np.abs(chunked_gradients[name] - gradient).max()
        # A has no gradient but rounding where a single token has no state before it
        assert error <= 1e-12 * max(1, np.abs(gradient).max()), name


@pytest.mark.smoke
@pytest.mark.parametrize("frozen", [{"A"}, {"u", "C"}, {"delta", "B", "delta_bias"}])
def test_frozen_inputs_leave_the_gradients_of_the_others_as_they_are(frozen):
    arrays = inputs(5, 9)
    tensors = {k: paddle.to_tensor(a, stop_gradient=k in frozen) for k, a in arrays.items()}
    y, last = selective_scan(**tensors, delta_softplus=True, return_last_state=True)
    weight = np.random.default_rng(9).normal(size=y.shape)
    ((y * paddle.to_tensor(weight)).sum() + (last * 0.3).sum()).backward()
    _, _, expected = run(arrays, None)
    for name, tensor in tensors.items():
        if name in frozen:
            assert tensor.grad is None
        else:
            np.testing.assert_allclose(tensor.grad.numpy(), expected[name], rtol=1e-12)


def _scan(arrays, dtype, frozen=(), reverse=False):
    """Outputs, and gradients of a weighted sum, without the last state: oneDNN in float32."""
    tensors = {k: paddle.to_tensor(a.astype(dtype), stop_gradient=k in frozen) for k, a in arrays.items()}
    y = selective_scan(**tensors, delta_softplus=True, reverse=reverse)
    weight = np.random.default_rng(9).normal(size=y.shape).astype(dtype)
    (y * paddle.to_tensor(weight)).sum().backward()
    with paddle.no_grad():
        again = selective_scan(**tensors, delta_softplus=True, reverse=reverse)
    assert again.numpy().tobytes() == y.numpy().tobytes()
    return y.numpy(), {k: t.grad.numpy() for k, t in tensors.items() if k not in frozen}


@pytest.mark.skipif(not accelerate.is_enabled(), reason="needs oneDNN")
@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        ({}, 1),
        ({"rows": 1, "groups": 1, "per_group": 1, "states": 1}, 50),
        ({"rows": 3, "groups": 4, "per_group": 30, "states": 16}, 37),  # a part and a shorter one
        ({"rows": 1, "groups": 3, "per_group": 520, "states": 16}, 33),  # a block per group
    ],
)
@pytest.mark.parametrize(("size_of_steps", "reverse"), [(1, False), (1, True), (30, False)])
def test_single_precision_equals_the_double_precision_of_tensor_operations(
    sizes, length, size_of_steps, reverse
):
    arrays = inputs(7, length, **sizes)
    arrays["delta"] *= size_of_steps  # softplus of very negative numbers, and factors that underflow
    expected, exact = _scan(arrays, "float64", reverse=reverse)
    y, gradients = _scan(arrays, "float32", reverse=reverse)
    assert relative(y, expected) <= 2e-6
    for name, gradient in gradients.items():
        # sums over all tokens cancel, so their rounding shows
        assert np.abs(gradient - exact[name]).max() <= 1e-5 * max(1e-3, np.abs(exact[name]).max()), name


@pytest.mark.parametrize("frozen", [{"A"}, {"u", "C"}, {"delta", "B", "delta_bias"}])
def test_single_precision_leaves_frozen_inputs_alone(frozen):
    arrays = inputs(5, 40)
    _, expected = _scan(arrays, "float32")
    for name, gradient in _scan(arrays, "float32", frozen)[1].items():
        np.testing.assert_array_equal(gradient, expected[name])


@pytest.mark.parametrize("chunk", [None, 0, 16])
def test_long_sequences_with_large_steps_stay_finite(chunk):
    """exp(dt A) underflows to zero here; nothing may divide by it."""
    arrays = inputs(1, 300, rows=1, groups=1, per_group=2)
    arrays["delta"] = arrays["delta"] * 50
    y, last, gradients = run(arrays, chunk, "float32")
    expected, state = token_by_token(**arrays)
    assert relative(y, expected) <= 1e-5
    assert relative(last, state) <= 1e-5
    assert all(np.isfinite(g).all() for g in gradients.values())


def test_length_decides_the_form_and_not_the_result():
    """Long and narrow scans are cut by themselves; the result is that of one token after the other."""
    arrays = inputs(2, 200, rows=1, groups=1, per_group=1, states=2)
    expected, _ = token_by_token(**arrays)
    assert relative(run(arrays, None)[0], expected) <= 1e-12


@pytest.mark.smoke
def test_softplus_and_its_gradient_hold_for_very_negative_numbers():
    x = np.array([-80, -20, -12, -7, -1e-3, 0, 1e-3, 7, 19.5, 30], np.float32)
    tensor = paddle.to_tensor(x, stop_gradient=False)
    y = softplus(tensor)
    y.sum().backward()
    exact = np.logaddexp(0, x.astype(np.float64))
    np.testing.assert_allclose(y.numpy(), exact, rtol=3e-7)
    np.testing.assert_allclose(tensor.grad.numpy(), 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_second_derivative_is_refused(dtype):
    tensors = {k: paddle.to_tensor(a.astype(dtype), stop_gradient=False) for k, a in inputs(0, 5).items()}
    y = selective_scan(**tensors, delta_softplus=True)
    # Paddle wraps the error in an OSError
    with pytest.raises((RuntimeError, OSError), match="no second derivative"):
        paddle.grad(y.sum(), tensors["u"], create_graph=True)


@pytest.mark.parametrize("shape", [(2, 4, 4, 5), (2, 5, 4, 5)])
def test_groups_that_do_not_divide_the_channels_are_named(shape):
    tensors = {k: paddle.to_tensor(a) for k, a in inputs(0, 5).items()}
    with pytest.raises(ConfigError, match="6 channels do not divide"):
        selective_scan(**{**tensors, "B": paddle.zeros(shape, "float64")})


def test_a_negative_chunk_is_an_error() -> None:
    tensors = {k: paddle.to_tensor(a) for k, a in inputs(0, 8).items()}
    with pytest.raises(ConfigError, match="got -1"):
        selective_scan(**tensors, chunk=-1)


class _Traced(paddle.nn.Layer):
    def forward(self, u, delta, A, B, C):
        return selective_scan(u, delta, A, B, C, delta_softplus=True)


@pytest.mark.slow
def test_a_graph_of_open_length_gives_the_same(tmp_path):
    names = ("u", "delta", "A", "B", "C")
    shapes = ([None, 6, None], [None, 6, None], [6, 4], [None, 2, 4, None], [None, 2, 4, None])
    specs = [paddle.static.InputSpec(s, "float32") for s in shapes]
    paddle.jit.save(_Traced(), str(tmp_path / "scan"), input_spec=specs)
    loaded = paddle.jit.load(str(tmp_path / "scan"))
    for length in (1, 31, 32, 33, 100):
        arrays = inputs(length, length)
        expected, _ = token_by_token(**{**arrays, "D": np.zeros(6), "delta_bias": np.zeros(6)})
        y = loaded(*(paddle.to_tensor(arrays[name].astype(np.float32)) for name in names))
        assert relative(y.numpy(), expected) <= 1e-5, length
