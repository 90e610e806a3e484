"""What autocast does to products on a GPU, on a CPU: Paddle's own state decides, NumPy rounds."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import paddle
from paddle import Tensor
from paddle.base import core
from paddle.base.framework import _dygraph_tracer

_PRODUCTS = ("matmul", "conv2d")


def _rounded(x: Tensor) -> Tensor:
    return x.astype("float16").astype("float32")


@contextmanager
def rounded_products() -> Iterator[None]:
    """Paddle's autocast state is O1 in float16 inside, and operators of its white list round to float16.

    On a CPU Paddle's dispatcher ignores this state, and there are no float16 products. Here the operators
    read it as the dispatcher does on a GPU: their float32 inputs and results are rounded, unless
    `auto_cast(False)` switched the state off.
    """
    tracer = _dygraph_tracer()
    operators = {name: getattr(paddle._C_ops, name) for name in _PRODUCTS}

    def product(name: str):
        def run(*args, **kwargs):
            if tracer._amp_level == core.AmpLevel.O0:
                return operators[name](*args, **kwargs)
            args = [_rounded(x) if isinstance(x, Tensor) else x for x in args]
            return _rounded(operators[name](*args, **kwargs))

        return run

    before = tracer._amp_level, tracer._amp_dtype
    tracer._amp_level, tracer._amp_dtype = core.AmpLevel.O1, "float16"
    try:
        with mock.patch.multiple(paddle._C_ops, **{name: product(name) for name in _PRODUCTS}):
            yield
    finally:
        tracer._amp_level, tracer._amp_dtype = before
