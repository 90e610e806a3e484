"""Pairing of names that programs and data sets spell differently."""

from pathlib import Path

import numpy as np
import pytest

from ppsr.errors import DataError
from ppsr.imaging.io import write_image
from ppsr.imaging.pairing import describe_unpaired, find_images, pair_images, root_of


def _paths(*names):
    return [Path(f"{name}.png") for name in names]


def _pairs(gt, others):
    pairing = pair_images(_paths(*gt), _paths(*others))
    return {name: other.stem for name, (_, other) in pairing.pairs.items()}, pairing.missing, pairing.extra


@pytest.mark.parametrize(
    ("gt", "other"),
    [
        *(("baby", "baby"), ("baby", "babyx2"), ("baby", "baby_x4")),
        *(("img_001_SRF_4_HR", "img_001_SRF_4_LR"), ("0801", "0801x4"), ("0801", "0801_DRCT-L_X4")),
        *(("0801", "0801_HAT-fine"), ("cones_x4", "cones_x4"), ("img_001", "img_001_bicubic")),
        *(("baby_HR_x4", "baby_RCAN_x4"), ("img_001_SRF_4_HR", "img_001_SRF_4_SRCNN")),
        *(("baby_gt", "baby_DRCT_SRx4"), ("HR_0001", "LR_0001"), ("0001 4x", "0001")),
        *(("0001_original", "0001_out"), ("Baby GT", "baby_lq"), ("caf\u00e9", "cafe\u0301")),
        *(("caf\u00e9", "cafe\u0301_x4"), ("a [1]*", "a [1]*_x4")),
        *(("img.v1_HR", "img.v1x4"), ("0801_sharp", "0801x4")),
    ],
)
def test_the_same_image_is_found_under_its_usual_names(gt, other):
    assert _pairs([gt], [other]) == ({gt: other}, [], [])
    # also where one name begins another, and in the presence of others
    both = _pairs([gt, "z" + gt], [other, "z" + other, "extra"])
    if gt[0] != "H":  # zHR_0001 is not a usual name
        assert both == ({gt: other, "z" + gt: "z" + other}, [], ["extra.png"])


@pytest.mark.parametrize(
    ("gt", "others", "pairs"),
    [
        (["a"], ["a_x4", "a"], {"a": "a"}),  # an equal name goes before a decorated one
        (["man", "man_b"], ["man_b_net", "man_net"], {"man": "man_net", "man_b": "man_b_net"}),
        (["08"], ["0801"], {}),  # a number is not the beginning of a longer one
        (["a"], ["a_net1", "a_net2"], {}),  # nor is one of two guessed
        (["img_x2", "img_x4"], ["img_LR"], {}),
        (["img_x2", "img_x4"], ["img_x2_LR", "img_x4_LR"], {"img_x2": "img_x2_LR", "img_x4": "img_x4_LR"}),
    ],
)
def test_the_nearest_name_is_taken_and_none_is_guessed(gt, others, pairs):
    missing = [f"{name}.png" for name in gt if name not in pairs]
    extra = [f"{name}.png" for name in others if name not in pairs.values()]
    assert _pairs(gt, others) == (pairs, missing, extra)


def test_a_pattern_without_a_match_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        find_images(tmp_path / "*.png")


def _tree(root, *names):
    return [root / f"{name}.png" for name in names]


def test_same_names_in_sub_folders_are_kept_apart():
    a, b = Path("hr"), Path("sr")
    gt = _tree(a, "x/001", "y/001", "002")
    for others in (
        ("x/001", "y/001", "002"),
        ("x/001_x4", "y/001_x4", "002x4"),
        ("y/001_net", "x/001_net", "2/002"),
    ):
        pairing = pair_images(gt, _tree(b, *others), gt_root=a, root=b)
        assert list(pairing.pairs) == ["002", "x/001", "y/001"]
        for name, (_, other) in pairing.pairs.items():
            assert name == "002" or other.parent.name == name[0]
    flat = pair_images(gt, _tree(b, "001", "002"), gt_root=a, root=b)
    assert list(flat.pairs) == ["002"]  # 001 may belong to either
    assert flat.missing == ["001.png", "001.png"]


@pytest.mark.slow
def test_many_names_without_partner_take_little_time():
    names = [f"some_long_name_with_parts_{n:06d}" for n in range(5000)]
    assert _pairs(names, [f"other_{n:06d}_RCAN" for n in range(5000)])[0] == {}


@pytest.mark.parametrize(
    ("missing", "others", "template"),
    [
        (["t1.png", "t2.png"], ["t1_a.png", "t1_b.png", "t2_b.png", "s.png"], "{}_b"),
        (["x/t1.png", "x/t2.png"], ["lq-t2-q.png"], "lq-{}-q"),
        (["a.png", "b.png"], ["c.png"], None),
        (["a.png"], ["x/a.png", "y/a.png"], None),
    ],
)
def test_unpaired_names_are_described_with_the_template_that_fits(missing, others, template):
    message = describe_unpaired(missing, others)
    assert all(repr(name) in message for name in (*missing[:2], *others[:2]))
    assert (f"filename_tmpl: '{template}'" in message) == (template is not None)


def test_brackets_in_the_names_of_folders_are_no_pattern(tmp_path):
    folder = tmp_path / "Set5 [HR] {x4} *"
    for name in ("a_HR", "a_LR", "b_HR", "._a_HR"):  # the last is hidden
        write_image(folder / f"{name}.png", np.zeros((4, 4), np.uint8))
    assert [p.stem for p in find_images(folder)] == ["a_HR", "a_LR", "b_HR"]
    assert [p.stem for p in find_images(folder / "*_HR.png")] == ["a_HR", "b_HR"]
    assert root_of(folder) == root_of(folder / "*_HR.png") == folder
