"""RRDBNet in every published key layout and in wrapped files; its outputs are those of test_networks.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppsr.generators.rrdbnet import esrgan_keys, esrgan_layout
from ppsr.weights import read_weight_file
from tests.golden.files import CLAIMED, DATA, Golden, golden

WRAPPED = sorted(DATA.glob("esrgan_wrapped*.npz"))
CLAIMED.update(path.stem for path in WRAPPED)
FILES = [
    (path, DATA / Golden(path).meta["folder"] / name)
    for path in WRAPPED
    for name in Golden(path).meta["files"]
]


@golden("esrgan_*")
def test_keys_are_mapped_as_recorded(path: Path) -> None:
    case = Golden(path)
    assert esrgan_layout(case.params) == case.meta["layout"]
    recorded = case.meta.get("ppsr_keys")
    if not isinstance(recorded, dict):
        pytest.skip("this file records no keys")
    mapped = esrgan_keys({key: key for key in case.params})
    assert {old: new for new, old in mapped.items()} == recorded


@pytest.mark.parametrize(("path", "file"), FILES, ids=lambda path: path.stem)
def test_wrapped_files_yield_the_same_state(path: Path, file: Path) -> None:
    case = Golden(path)
    state = read_weight_file(file).state("generator")
    assert state.keys() == case.params.keys()
    for key, expected in case.params.items():
        np.testing.assert_array_equal(state[key].astype(np.float32), expected, err_msg=key)
