"""Lists of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ppsr.datasets.files import gather_pictures
from ppsr.errors import ConfigError
from ppsr.imaging.io import write_image
from ppsr.prepare.lists import make_list


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "in" / "n01" / "a b.png", np.zeros((20, 30, 3), np.uint8))
    write_image(tmp_path / "in" / "gray.png", np.zeros((8, 9), np.uint16))
    write_image(tmp_path / "in" / "c.jpeg", np.zeros((10, 12, 3), np.uint8))
    return tmp_path / "in"


def test_both_published_forms(folder, tmp_path):
    assert make_list(folder, tmp_path / "shape.txt").written == 1
    assert (
        tmp_path / "shape.txt"
    ).read_text() == "c.jpeg (10,12,3)\ngray.png (8,9,1)\nn01/a b.png (20,30,3)\n"
    make_list(folder, tmp_path / "name.txt", form="name")
    assert (tmp_path / "name.txt").read_text() == "c.jpeg\ngray.png\nn01/a b.png\n"


@pytest.mark.parametrize("form", ["shape", "name"])
def test_a_list_is_read_back_as_the_same_files(folder, tmp_path, form):
    make_list(folder, tmp_path / "list.txt", form=form)
    assert gather_pictures(folder, tmp_path / "list.txt") == gather_pictures(folder)


def test_small_and_broken_pictures_are_left_out_by_name(folder, tmp_path):
    (folder / "broken.png").write_bytes(b"no picture")
    done = make_list(folder, tmp_path / "list.txt", form="name", smallest=10)
    assert done.skipped == {"gray.png": "9 x 8 has a side below 10"}
    assert list(done.failed) == ["broken.png"]
    assert done.exit_code == 1
    assert (tmp_path / "list.txt").read_text() == "c.jpeg\nn01/a b.png\n"


def test_truncated_pictures_are_found_by_decoding(folder, tmp_path, rng):
    write_image(folder / "cut.jpg", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    assert not make_list(folder, tmp_path / "header.txt").failed
    assert list(make_list(folder, tmp_path / "decoded.txt", verify=True).failed) == ["cut.jpg"]


def test_the_shape_of_a_turned_picture_is_its_upright_one(tmp_path):
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "in" / "a.jpg", exif=exif)
    make_list(tmp_path / "in", tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_text() == "a.jpg (20,10,3)\n"


def test_a_list_that_is_there_stays_unless_forced(folder, tmp_path):
    (tmp_path / "list.txt").write_text("mine\n")
    assert make_list(folder, tmp_path / "list.txt").present == 1
    assert (tmp_path / "list.txt").read_text() == "mine\n"
    make_list(folder, tmp_path / "list.txt", force=True)
    assert (tmp_path / "list.txt").read_text() != "mine\n"


def test_nothing_usable_writes_no_list(folder, tmp_path):
    assert make_list(folder, tmp_path / "list.txt", smallest=99).exit_code == 3
    assert not (tmp_path / "list.txt").exists()


def test_an_unknown_form_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="shape or name, got 'csv'"):
        make_list(folder, tmp_path / "list.txt", form="csv")
