"""The reader of .mat files against SciPy's writer, and against damage."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.io import savemat

from ppsr.errors import DataError
from ppsr.prepare.mat_files import read_mat

VARIABLES = {
    "text": "nothing to see",
    "whole": np.arange(6, dtype=np.int16).reshape(2, 3),
    "row": np.arange(3.0),
    "fraction": np.arange(20.0).reshape(4, 5) / 7,
    "single": np.ones((2, 2), np.float32),
    "nested": {"a": np.ones((2, 2))},
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.smoke
def test_matrices_are_read_by_name(tmp_path, compressed):
    savemat(tmp_path / "a.mat", VARIABLES, do_compression=compressed)
    read = read_mat(tmp_path / "a.mat", ("fraction", "whole", "row", "single"))
    assert set(read) == {"fraction", "whole", "row", "single"}
    for name, matrix in read.items():
        np.testing.assert_array_equal(matrix, np.atleast_2d(VARIABLES[name]))
    assert read["single"].dtype == np.float64
    assert read["whole"].dtype == np.int16


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("x", "text", "not a real, full matrix"),
        ("x", np.ones((2, 2)) * 1j, "not a real, full matrix"),
        ("x", np.ones((2, 2, 2)), "not a 2-D matrix"),
        ("y", np.ones((2, 2)), "no variable x"),
    ],
)
def test_other_variables_are_refused(tmp_path, name, value, reason):
    savemat(tmp_path / "a.mat", {name: value})
    with pytest.raises(DataError, match=reason):
        read_mat(tmp_path / "a.mat", ["x"])


def test_version_7_3_is_named(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(200))
    with pytest.raises(DataError, match="save it with -v7"):
        read_mat(tmp_path / "a.mat", ["x"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_mat(tmp_path / "a.mat", ["x"])


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_is_an_error_and_never_a_crash(tmp_path, compressed):
    matrix = np.random.default_rng(0).random((6, 9))
    savemat(tmp_path / "a.mat", {"x": matrix}, do_compression=compressed)
    content, draws, refused = (tmp_path / "a.mat").read_bytes(), random.Random(0), 0
    for turn in range(300):
        damaged = bytearray(content)
        if turn % 3:
            for _ in range(draws.randint(1, 5)):
                damaged[draws.randrange(116, len(damaged))] = draws.randrange(256)
        else:
            damaged = damaged[: draws.randrange(len(damaged))]
        (tmp_path / "b.mat").write_bytes(damaged)
        try:
            assert read_mat(tmp_path / "b.mat", ["x"])["x"].ndim == 2
        except DataError:
            refused += 1
    assert refused > 100
