"""State-space blocks: directions, initial values, arguments."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.generators.blocks.vss import SS2D, VSSBlock


def layer(**more):
    paddle.seed(0)
    return SS2D(**{"d_model": 8, "d_state": 3, "expand": 1.5, **more})


@pytest.mark.smoke
def test_a_turned_image_swaps_rows_and_columns():
    """Coefficients of the directions made equal: transposing the image only exchanges the scans."""
    net = layer()
    for parameter in (net.x_proj_weight, net.dt_projs_weight, net.dt_projs_bias):
        parameter.set_value(parameter[:1].expand_as(parameter))
    x = paddle.randn([1, net.d_inner, 4, 6])
    rows, columns, rows_back, columns_back = (y.numpy().reshape(-1, 4, 6) for y in net.scan_directions(x))
    turned = net.scan_directions(x.transpose([0, 1, 3, 2]))
    other = [y.numpy().reshape(-1, 6, 4).transpose(0, 2, 1) for y in turned]
    for ours, theirs in zip(
        (rows, columns, rows_back, columns_back), [other[i] for i in (1, 0, 3, 2)], strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.abs(rows - columns).max() > 1e-3


def test_a_scan_sees_what_came_before_it_and_nothing_after():
    net = layer()
    x = paddle.randn([1, net.d_inner, 3, 5])
    changed = x.clone()
    changed[0, :, 1, 2] += 1.0
    pairs = zip(net.scan_directions(x), net.scan_directions(changed), strict=True)
    seen = [np.abs((a - b).numpy()).max((0, 1)).reshape(3, 5) > 1e-7 for a, b in pairs]
    order = np.arange(15).reshape(3, 5)
    by_columns = np.arange(15).reshape(5, 3).T
    for where, place in zip(seen, (order, by_columns, -order, -by_columns), strict=True):
        np.testing.assert_array_equal(where, place >= place[1, 2])


def test_initial_steps_and_decays_are_those_of_the_papers():
    net = layer(d_model=64)
    steps = np.logaddexp(0, net.dt_projs_bias.numpy().astype(np.float64))
    assert steps.min() >= 0.999e-3
    assert steps.max() <= 0.1001
    assert np.log(steps).mean() == pytest.approx(np.log(1e-2), abs=0.3)  # the middle of the logarithms
    np.testing.assert_allclose(
        np.exp(net.A_logs.numpy()), np.tile([1, 2, 3], (net.A_logs.shape[0], 1)), rtol=1e-6
    )
    np.testing.assert_array_equal(net.Ds.numpy(), 1)


@pytest.mark.parametrize("arguments", [{"expand": 0.1}, {"d_state": 0}])
def test_an_empty_state_is_refused(arguments):
    with pytest.raises(ConfigError, match="nothing to scan"):
        layer(**arguments)


def test_a_block_with_branches_that_give_nothing_is_its_skip_scales():
    block = VSSBlock(30, d_state=2, is_light_sr=True)
    block.self_attention.out_proj.weight.set_value(paddle.zeros_like(block.self_attention.out_proj.weight))
    for parameter in block.conv_blk.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    block.skip_scale.set_value(paddle.full([30], 2.0))
    block.skip_scale2.set_value(paddle.full([30], 0.5))
    x = paddle.randn([1, 3, 4, 30])
    np.testing.assert_allclose(block(x).numpy(), x.numpy(), rtol=1e-6)
