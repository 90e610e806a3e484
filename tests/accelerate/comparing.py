"""Outputs and gradients of a fast operator and of Paddle's own."""

import os

import numpy as np
import paddle
from hypothesis import HealthCheck, settings

TOLERANCE = 5e-6  # relative to the largest value; float32 sums in another order


def sweep(examples: int):
    """Settings of a test of generated cases; PPSR_SWEEP is another number of them."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
    number = int(os.environ.get("PPSR_SWEEP", str(examples)))
    return settings(max_examples=number, deadline=None, suppress_health_check=slow)


def compute(function, arrays, trainable=(True, True, True), upstream=np.positive, **options):
    """Output and gradients (None where frozen) of sum(y * upstream(noise))."""
    tensors = [
        None if a is None else paddle.to_tensor(a, stop_gradient=not t)
        for a, t in zip(arrays, trainable, strict=True)
    ]
    y = function(*tensors, **options)
    if not y.stop_gradient:
        noise = np.random.default_rng(7).standard_normal(list(y.shape), np.float32)
        y.backward(paddle.to_tensor(upstream(noise)))
    return [y, *(None if t is None or t.grad is None else t.grad for t in tensors)]


def assert_close(got, expected, scales=None, least=1e-30):
    """Differences within the tolerance of the largest expected value, or of the largest of `scales`."""
    for a, b, scale in zip(got, expected, scales or expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert list(a.shape) == list(b.shape)
            largest = max(np.abs(scale.numpy()).max(), least)
            assert np.abs(a.numpy() - b.numpy()).max() <= TOLERANCE * largest


def must_not_be_called(*_args, **_kwargs):
    raise AssertionError("Paddle's own operator was called")
