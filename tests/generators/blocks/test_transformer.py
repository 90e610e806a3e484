"""Arguments that the window-attention networks share."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError
from ppsr.generators.blocks import window_attention
from ppsr.generators.blocks.options import image_sides
from ppsr.generators.blocks.transformer import DropPath
from ppsr.registry import GENERATORS


@pytest.mark.parametrize("name", ["SwinIR", "HAT", "DRCT", "MambaDRCT"])
def test_groups_without_heads_are_refused(name: str) -> None:
    arguments = GENERATORS.get(name).test_args
    with pytest.raises(ConfigError, match=r"depths \[2, 2\] and num_heads \[2\] must have one number"):
        GENERATORS.build({"name": name, **arguments, "depths": [2, 2], "num_heads": [2]})


def test_an_image_size_is_one_side_or_two() -> None:
    assert image_sides(8) == (8, 8)
    assert image_sides([8, 12]) == (8, 12)
    with pytest.raises(ConfigError, match="height and width"):
        image_sides([8, 12, 3])


def test_stochastic_depth_drops_whole_samples_and_scales_the_rest() -> None:
    paddle.seed(0)
    layer = DropPath(0.25)
    x = paddle.rand([400, 2, 3]) + 1
    ratio = (layer(x) / x).numpy().reshape(400, -1)
    np.testing.assert_allclose(ratio, np.where(ratio[:, :1] > 0, 4 / 3, 0).repeat(6, axis=1), rtol=1e-6)
    assert 0.65 < (ratio[:, 0] > 0).mean() < 0.85  # 0.75 with a deviation of 0.022
    layer.eval()
    assert layer(x) is x


def test_masks_of_earlier_sizes_are_not_kept():
    for side in (16, 24, 32):
        window_attention.shift_mask(paddle.zeros([1, side, side, 1]), 8, 4)
    assert window_attention._shift_mask_tensor.cache_info().currsize == 1
