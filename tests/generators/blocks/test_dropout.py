from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.generators.blocks.dropout import ColumnDropout, RowDropout


@pytest.mark.parametrize(("kind", "axis", "p"), [(ColumnDropout, 3, 0.2), (RowDropout, 2, 0.01)])
def test_whole_lines_are_dropped_and_the_rest_is_scaled(kind, axis, p):
    paddle.seed(0)
    x = paddle.ones([5, 3, 7 if axis == 3 else 400, 400 if axis == 3 else 7])
    x.stop_gradient = False
    y = kind(p)(x)
    y.sum().backward()
    values = y.numpy()
    assert np.array_equal(x.grad.numpy(), values)  # the gradient of a product with ones is the mask
    lines = np.moveaxis(values, axis, 1).reshape(5, 400, -1)
    assert (lines == lines[:, :, :1]).all()
    mask = lines[:, :, 0]
    assert np.allclose(np.unique(mask), [0, 1 / (1 - p)])
    assert any((mask[0] != other).any() for other in mask[1:])
    sigma = np.sqrt(p / ((1 - p) * mask.size))
    assert abs(mask.mean() - 1) <= 3.5 * sigma


def test_evaluation_and_probability_zero_are_the_identity():
    x = paddle.rand([2, 3, 4, 5])
    layer = ColumnDropout(0.9)
    layer.eval()
    assert layer(x) is x
    assert RowDropout(0.0)(x) is x
    assert float(RowDropout(1.0)(x).abs().sum()) == 0


def test_a_probability_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        ColumnDropout(1.5)
