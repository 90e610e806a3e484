"""Pairing of names that programs and data sets spell differently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppsr.errors import DataError
from ppsr.imaging.io import write_image
from ppsr.metrics.pairing import find_pictures, pair_pictures


def _paths(*names):
    return [Path(f"{name}.png") for name in names]


def _pairs(gt, others):
    pairing = pair_pictures(_paths(*gt), _paths(*others))
    return {name: other.stem for name, (_, other) in pairing.pairs.items()}, pairing.missing, pairing.extra


@pytest.mark.parametrize(
    ("gt", "other"),
    [
        ("baby", "baby"),
        ("baby", "babyx2"),
        ("baby", "baby_x4"),
        ("img_001_SRF_4_HR", "img_001_SRF_4_LR"),
        ("0801", "0801x4"),
        ("0801", "0801_DRCT-L_X4"),
        ("0801", "0801_HAT-fine"),
        ("cones_x4", "cones_x4"),
        ("img_001", "img_001_bicubic"),
    ],
)
def test_the_same_picture_is_found_under_its_usual_names(gt, other):
    assert _pairs([gt], [other]) == ({gt: other}, [], [])


def test_an_equal_name_goes_before_a_decorated_one():
    pairs, _, extra = _pairs(["a"], ["a_x4", "a"])
    assert pairs == {"a": "a"}
    assert extra == ["a_x4.png"]


def test_the_longest_beginning_takes_a_picture():
    pairs, missing, extra = _pairs(["man", "man_b"], ["man_b_net", "man_net"])
    assert pairs == {"man": "man_net", "man_b": "man_b_net"}
    assert not missing
    assert not extra


def test_a_number_is_not_the_beginning_of_a_longer_number():
    assert _pairs(["08"], ["0801"]) == ({}, ["08.png"], ["0801.png"])


def test_two_candidates_are_not_guessed_between():
    assert _pairs(["a"], ["a_net1", "a_net2"])[0] == {}


def test_a_pattern_selects_among_the_pictures_of_a_folder(tmp_path):
    for name in ("a_HR", "a_LR", "b_HR"):
        write_image(tmp_path / f"{name}.png", np.zeros((4, 4), np.uint8))
    assert [p.stem for p in find_pictures(tmp_path / "*_HR.png")] == ["a_HR", "b_HR"]


def test_a_pattern_without_a_match_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        find_pictures(tmp_path / "*.png")


def test_hidden_files_match_no_pattern(tmp_path):
    for name in ("a_HR.png", "._a_HR.png"):
        write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert find_pictures(tmp_path / "*_HR.png") == [tmp_path / "a_HR.png"]
