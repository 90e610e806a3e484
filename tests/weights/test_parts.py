"""The networks of one file."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.errors import WeightError
from ppsr.weights import read_weight_file, write_state


def test_the_parts_of_a_file_are_those_networks_that_it_holds_averages_first(tmp_path):
    state = {name: {"w": np.full(1, k, np.float32)} for k, name in enumerate(["a", "a_ema", "b"])}
    write_state(tmp_path / "net.pdparams", state)
    parts = read_weight_file(tmp_path / "net.pdparams").parts(["b", "a", "c"])
    assert {name: part["w"].tolist() for name, part in parts.items()} == {"b": [2], "a": [1]}
    with pytest.raises(WeightError, match=r"holds \['a', 'a_ema', 'b'\], the model needs \['c'\]"):
        read_weight_file(tmp_path / "net.pdparams").parts(["c"])
    write_state(tmp_path / "flat.pdparams", state["b"])
    assert list(read_weight_file(tmp_path / "flat.pdparams").parts(["generator", "d"])) == ["generator"]
