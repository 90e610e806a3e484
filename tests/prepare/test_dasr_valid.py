"""DASR's validation sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ppsr.errors import ConfigError
from ppsr.imaging.io import decode_image, write_image
from ppsr.prepare.dasr_valid import DASRValidation


@pytest.fixture
def source(tmp_path, rng):
    for name in ("a", "b"):
        write_image(tmp_path / "in" / f"{name}.png", rng.integers(0, 256, (130, 141, 3), dtype=np.uint8))
    return tmp_path / "in"


def test_lr_and_its_parameters_depend_on_seed_and_name_alone(source, tmp_path):
    done = DASRValidation(tmp_path / "all", kind=1).make(source)
    assert (done.written, done.exit_code) == (2, 0)
    assert decode_image(tmp_path / "all" / "a.png").shape == (32, 35, 3)
    side = json.loads((tmp_path / "all" / "params.json").read_text())
    assert {name: len(row) for name, row in side["params"].items()} == {"a": 33, "b": 33}
    (source / "a.png").unlink()
    DASRValidation(tmp_path / "one", kind=1).make(source)
    assert (tmp_path / "one" / "b.png").read_bytes() == (tmp_path / "all" / "b.png").read_bytes()
    alone = json.loads((tmp_path / "one" / "params.json").read_text())
    assert alone["params"] == {"b": side["params"]["b"]}


def test_types_have_folders_of_their_own(source, tmp_path):
    DASRValidation(tmp_path / "out", kind=1).make(source)
    with pytest.raises(ConfigError, match="'kind': 1"):
        DASRValidation(tmp_path / "out", kind=3).make(source)
    with pytest.raises(ConfigError, match="got 4"):
        DASRValidation(tmp_path / "new", kind=4).make(source)
