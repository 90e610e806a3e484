"""The fast convolution against Paddle's own: values, gradients, and everything that must fall back to it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.accelerate import conv as module
from ppsr.accelerate import runtime
from ppsr.registry import build_generator
from tests.accelerate.comparing import assert_close, compute, must_not_be_called, sweep

pytestmark = pytest.mark.skipif(not accelerate.is_enabled(), reason="oneDNN is not usable or switched off")


def _case(rng, x_shape, weight_shape, bias=True):
    fan_in = np.prod(weight_shape[1:])
    x = rng.standard_normal(x_shape, np.float32)
    weight = rng.standard_normal(weight_shape, np.float32) / np.float32(np.sqrt(fan_in))
    return x, weight, rng.standard_normal(weight_shape[0], np.float32) if bias else None


def _assert_bit_equal(got, expected):
    for name, a, b in zip(("y", "dx", "dweight", "dbias"), got, expected, strict=True):
        assert (a is None) == (b is None), name
        assert a is None or a.numpy().tobytes() == b.numpy().tobytes(), name


@st.composite
def convolutions(draw):
    """Shapes and geometry of every kind that networks use, and odd ones that none does."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)))
    dilation = draw(st.one_of(st.integers(1, 2), st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)))
    padding = draw(
        st.one_of(
            st.integers(0, 4),
            st.lists(st.integers(0, 3), min_size=2, max_size=2),
            st.lists(st.integers(0, 3), min_size=4, max_size=4),
        )
    )
    groups, per_group, outputs = draw(
        st.one_of(
            st.tuples(st.just(1), st.integers(1, 40), st.integers(1, 40)),
            st.tuples(st.integers(2, 5), st.integers(1, 9), st.integers(1, 9)),
            st.tuples(st.integers(1, 40), st.just(1), st.just(1)),  # depthwise
        )
    )
    n, h, w = draw(st.tuples(st.integers(1, 3), st.integers(1, 24), st.integers(1, 24)))
    reach = [d * (k - 1) + 1 for d, k in zip(_both(dilation), kernel, strict=True)]
    before = _both(padding) if isinstance(padding, int) or len(padding) == 2 else [padding[0], padding[2]]
    after = before if isinstance(padding, int) or len(padding) == 2 else [padding[1], padding[3]]
    assume(h + before[0] + after[0] >= reach[0] and w + before[1] + after[1] >= reach[1])
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (n, groups * per_group, h, w), (groups * outputs, per_group, *kernel), geometry


def _both(value):
    return [value, value] if isinstance(value, int) else list(value)


@sweep(60)
@given(case=convolutions(), bias=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_outputs_and_all_gradients_equal_the_stock_convolution(case, bias, seed):
    x_shape, weight_shape, geometry = case
    arrays = _case(np.random.default_rng(seed), x_shape, weight_shape, bias)
    expected = compute(F.conv2d, arrays, **geometry)
    # A sum whose terms cancel has no small relative error in any order: the absolute terms set the scale.
    absolute = compute(
        F.conv2d, [None if a is None else np.abs(a) for a in arrays], upstream=np.abs, **geometry
    )
    assert_close(compute(accelerate.conv2d, arrays, **geometry), expected, absolute)


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "geometry"),
    [
        ((2, 3, 33, 20), (64, 3, 3, 3), {"padding": 1}),
        ((1, 64, 20, 31), (3, 64, 3, 3), {"padding": 1}),
        ((2, 32, 21, 17), (48, 32, 4, 4), {"padding": 1, "stride": 2}),
        ((1, 60, 12, 13), (60, 60, 1, 1), {}),
        ((1, 24, 19, 18), (24, 1, 3, 3), {"padding": 1, "groups": 24}),
        ((2, 24, 19, 18), (36, 6, 3, 3), {"padding": 2, "dilation": 2, "groups": 4}),
        ((1, 8, 23, 22), (8, 8, 9, 9), {"padding": [4, 3, 2, 1]}),
        ((2, 6, 35, 20), (6, 1, 7, 7), {"padding": 3, "groups": 6}),
        ((2, 6, 35, 20), (6, 1, 9, 9), {"padding": 12, "dilation": 3, "groups": 6}),
        ((1, 3, 40, 41), (3, 1, 5, 17), {"padding": [1, 2, 3, 0], "dilation": [3, 2], "groups": 3}),
    ],
)
def test_layers_of_the_networks_equal_stock_and_take_the_fast_path(
    rng, monkeypatch, x_shape, weight_shape, geometry
):
    arrays = _case(rng, x_shape, weight_shape)
    expected = compute(F.conv2d, arrays, **geometry)
    monkeypatch.setattr(module.F, "conv2d", must_not_be_called)
    assert_close(compute(accelerate.conv2d, arrays, **geometry), expected)


@pytest.mark.parametrize("trainable", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_frozen_inputs_get_no_gradient_and_the_others_the_right_one(rng, trainable):
    arrays = _case(rng, (2, 5, 9, 8), (7, 5, 3, 3))
    flags = [bool(t) for t in trainable]
    got = compute(accelerate.conv2d, arrays, flags, padding=1)
    assert_close(got, compute(F.conv2d, arrays, flags, padding=1))
    assert [g is not None for g in got[1:]] == flags


@pytest.mark.parametrize("trainable", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_large_depthwise_kernels_give_the_gradients_that_are_wanted_and_the_same_values(
    rng, trainable, dilation
):
    arrays = _case(rng, (2, 5, 19, 18), (5, 1, 5, 7))
    flags, geometry = [bool(t) for t in trainable], {"padding": 6, "dilation": dilation, "groups": 5}
    got = compute(accelerate.conv2d, arrays, flags, **geometry)
    assert_close(got, compute(F.conv2d, arrays, flags, **geometry))
    plain = compute(accelerate.conv2d, arrays, (False, False, False), **geometry)
    assert plain[0].numpy().tobytes() == got[0].numpy().tobytes()


@pytest.mark.smoke
def test_repeated_calls_are_bit_identical(rng):
    arrays = _case(rng, (2, 16, 31, 29), (32, 16, 3, 3))
    first = compute(accelerate.conv2d, arrays, padding=1)
    for _ in range(5):
        _assert_bit_equal(compute(accelerate.conv2d, arrays, padding=1), first)
    with paddle.no_grad():
        plain = accelerate.conv2d(*map(paddle.to_tensor, arrays), padding=1)
    assert plain.numpy().tobytes() == first[0].numpy().tobytes()


def test_result_does_not_depend_on_where_the_arrays_lie(rng):
    """Slices of a larger array start at any multiple of four bytes."""
    x, weight, bias = _case(rng, (1, 16, 15, 17), (16, 16, 3, 3))
    expected = accelerate.conv2d(*map(paddle.to_tensor, (x, weight, bias)), padding=1).numpy()
    for shift in range(1, 5):
        flat = paddle.concat([paddle.zeros([shift]), paddle.to_tensor(x.ravel()), paddle.zeros([3])])
        moved = flat[shift : shift + x.size].reshape(x.shape)
        got = accelerate.conv2d(moved, *map(paddle.to_tensor, (weight, bias)), padding=1).numpy()
        assert got.tobytes() == expected.tobytes()


def test_views_and_transposed_tensors_are_read_in_their_order(rng):
    x, weight, bias = _case(rng, (3, 9, 11, 10), (4, 6, 3, 3))
    tensors = [paddle.to_tensor(a) for a in (x, weight, bias)]
    part = tensors[0][1:, 2:8]
    expected = F.conv2d(paddle.to_tensor(x[1:, 2:8].copy()), *tensors[1:])
    assert_close([accelerate.conv2d(part, *tensors[1:])], [expected])
    turned = paddle.to_tensor(x[:, :6].transpose(0, 2, 3, 1).copy()).transpose([0, 3, 1, 2])
    expected = F.conv2d(paddle.to_tensor(x[:, :6].copy()), *tensors[1:])
    assert_close([accelerate.conv2d(turned, *tensors[1:])], [expected])


@pytest.mark.parametrize("padding", ["SAME", "valid", [[0, 0], [0, 0], [1, 2], [0, 1]]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_forms_of_padding_and_float64_are_left_to_paddle(rng, padding, dtype):
    tensors = [paddle.to_tensor(a.astype(dtype)) for a in _case(rng, (1, 3, 9, 8), (2, 3, 3, 3))]
    got = accelerate.conv2d(*tensors, padding=padding)
    np.testing.assert_array_equal(got.numpy(), F.conv2d(*tensors, padding=padding).numpy(), strict=True)


def test_shapes_that_do_not_fit_raise_what_paddle_raises():
    x, weight = paddle.ones([1, 3, 8, 8]), paddle.ones([4, 5, 3, 3])
    with pytest.raises(ValueError, match="channels"):
        accelerate.conv2d(x, weight)


def test_autocast_is_left_to_paddle(rng, monkeypatch):
    tensors = [paddle.to_tensor(a) for a in _case(rng, (1, 3, 9, 8), (2, 3, 3, 3))]
    calls = []
    real = F.conv2d
    monkeypatch.setattr(runtime, "autocast", lambda: True)
    monkeypatch.setattr(module.F, "conv2d", lambda *a: calls.append(1) or real(*a))
    accelerate.conv2d(*tensors)
    assert calls == [1]


def test_autocast_is_seen_in_the_tracer(monkeypatch):
    from paddle.base.core import AmpLevel

    assert not runtime.autocast()
    tracer = runtime._dygraph_tracer()
    previous = tracer._amp_level
    try:
        tracer._amp_level = AmpLevel.O1
        assert runtime.autocast()
    finally:
        tracer._amp_level = previous


@pytest.mark.smoke
def test_stock_gives_second_derivatives_and_the_fast_path_refuses_them(rng):
    x, weight, _ = _case(rng, (1, 2, 6, 5), (3, 2, 3, 3))

    def penalty(inside):
        image, kernel = (
            paddle.to_tensor(x, stop_gradient=False),
            paddle.to_tensor(weight, stop_gradient=False),
        )
        if inside:
            with accelerate.disabled():
                y = accelerate.conv2d(image, kernel)
        else:
            y = accelerate.conv2d(image, kernel)
        gradient, _ = paddle.grad((y**2).sum(), [image, kernel], create_graph=True)
        (gradient**2).sum().backward()
        return kernel.grad

    assert penalty(inside=True) is not None
    with pytest.raises((RuntimeError, OSError), match="second derivative"):
        penalty(inside=False)


def test_stock_ends_with_its_block_and_concerns_one_thread():
    with accelerate.disabled():
        assert not accelerate.is_enabled()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(accelerate.is_enabled).result()
    assert accelerate.is_enabled()


def test_change_in_place_before_backward_is_an_error(rng):
    x, weight, bias = (paddle.to_tensor(a) for a in _case(rng, (1, 2, 6, 5), (3, 2, 3, 3)))
    weight.stop_gradient = False
    y = accelerate.conv2d(x, weight, bias)
    x.add_(paddle.ones([1]))
    with pytest.raises((RuntimeError, ValueError, OSError)):
        y.sum().backward()


def test_recompute_gives_the_same_gradients_bit_by_bit(rng):
    from paddle.distributed.fleet.utils import recompute

    arrays = _case(rng, (2, 6, 12, 11), (6, 6, 3, 3))

    def twice(x, weight, bias):
        return accelerate.conv2d(
            F.relu(accelerate.conv2d(x, weight, bias, padding=1)), weight, bias, padding=1
        )

    _assert_bit_equal(compute(lambda *tensors: recompute(twice, *tensors), arrays), compute(twice, arrays))


def test_threads_at_once_get_their_own_results(rng):
    cases = [_case(rng, (1, 8, 10 + i, 12), (8, 8, 3, 3)) for i in range(4)]
    expected = [compute(accelerate.conv2d, case, padding=1) for case in cases]

    def work(index):
        return [compute(accelerate.conv2d, cases[index], padding=1) for _ in range(8)]

    with ThreadPoolExecutor(4) as pool:
        for index, results in enumerate(pool.map(work, range(4))):
            for result in results:
                assert_close(result, expected[index])


class _Items(paddle.io.Dataset):
    """Each item is computed by a convolution inside the worker process."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        x = paddle.full([1, 3, 8, 8], float(index))
        return accelerate.conv2d(x, paddle.ones([2, 3, 3, 3])).numpy()


def test_forked_workers_of_a_loader_compute_after_the_parent_did():
    accelerate.conv2d(paddle.ones([1, 3, 8, 8]), paddle.ones([2, 3, 3, 3]))
    loader = paddle.io.DataLoader(_Items(), batch_size=1, num_workers=2, use_shared_memory=False)
    values = sorted(float(np.asarray(batch).reshape(-1)[0]) for batch in loader)
    assert values == [0.0, 27.0, 54.0, 81.0]


def test_networks_are_traced_by_either_mode_of_to_static(rng):
    net = build_generator("SRVGGNetCompact", num_feat=8, num_conv=1, upscale=2)
    x = paddle.to_tensor(rng.random((1, 3, 8, 9), dtype=np.float32))
    with paddle.no_grad():
        expected = net(x).numpy()
        for whole in (False, True):
            traced = paddle.jit.to_static(net.forward, full_graph=whole)
            np.testing.assert_allclose(traced(x).numpy(), expected, atol=1e-6)
