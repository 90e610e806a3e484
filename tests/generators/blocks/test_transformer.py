"""Arguments that the window-attention networks share."""

from __future__ import annotations

import pytest

from ppsr.errors import ConfigError
from ppsr.generators.blocks.transformer import image_sides
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
