"""The .pdparams reader against what Paddle itself wrote and read, in both supported versions."""

from pathlib import Path

import numpy as np
import pytest

from ppsr.weights.pdparams import parse_pdparams
from tests.weights.make_paddle_files import flatten

DATA = Path(__file__).parent / "data"
FILES = sorted(path for path in DATA.glob("paddle*_*.pd*"))
NAMES = "StructuredToParameterName@@"  # automatic names beside the arrays, which the reader leaves out


@pytest.mark.smoke
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_reads_byte_equal_to_paddle(path: Path) -> None:
    with np.load(DATA / "expected_paddle.npz") as expected:
        wanted = {k.partition("|")[2]: expected[k] for k in expected.files if k.startswith(f"{path.stem}|")}
    wanted = {key: value for key, value in wanted.items() if NAMES not in key}
    got = flatten(parse_pdparams(path.read_bytes(), path.name))
    assert wanted
    assert got.keys() == wanted.keys()
    for key, array in wanted.items():
        assert got[key].shape == array.shape, key
        assert got[key].dtype == array.dtype, key
        assert got[key].tobytes() == np.ascontiguousarray(array).tobytes(), key


def test_there_are_nine_files_of_each_version() -> None:
    assert [path.stem[:8] for path in FILES] == ["paddle26"] * 9 + ["paddle33"] * 9
