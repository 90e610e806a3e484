"""Lists of images."""

import numpy as np
import pytest
from PIL import Image

from ppsr.datasets.gather import gather_images
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import decode_image, write_image
from ppsr.prepare.lists import make_list


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "in" / "n01" / "a b.png", np.zeros((20, 30, 3), np.uint8))
    write_image(tmp_path / "in" / "gray.png", np.zeros((8, 9), np.uint16))
    write_image(tmp_path / "in" / "c.jpeg", np.zeros((10, 12, 3), np.uint8))
    return tmp_path / "in"


def test_both_published_forms(folder, tmp_path):
    assert make_list(folder, tmp_path / "shape.txt").written == 1
    shapes = (tmp_path / "shape.txt").read_text()
    assert shapes == "c.jpeg (10,12,3)\ngray.png (8,9,1)\nn01/a b.png (20,30,3)\n"
    make_list(folder, tmp_path / "name.txt", form="name")
    assert (tmp_path / "name.txt").read_text() == "c.jpeg\ngray.png\nn01/a b.png\n"


@pytest.mark.parametrize("form", ["shape", "name"])
def test_a_list_is_read_back_as_the_same_files(folder, tmp_path, form):
    make_list(folder, tmp_path / "list.txt", form=form)
    assert gather_images(folder, tmp_path / "list.txt") == gather_images(folder)


MODES = {
    "png": "1 L LA P RGB RGBA I;16",
    "tif": "1 L LA P RGB RGBA CMYK I;16",
    "jpg": "1 L RGB CMYK",
    "bmp": "1 L P RGB RGBA",
    "webp": "L P RGB RGBA",
}


@pytest.mark.parametrize("suffix", MODES)
def test_listed_shapes_are_those_that_are_read(tmp_path, rng, suffix):
    (tmp_path / "in").mkdir()
    expected = []
    for mode in sorted(MODES[suffix].split()):
        path = tmp_path / "in" / f"{mode}.{suffix}"
        if mode == "I;16":
            image = Image.fromarray(rng.integers(0, 65536, (96, 90), dtype=np.uint16))
        else:
            image = Image.fromarray(rng.integers(0, 256, (96, 90, 3), dtype=np.uint8)).convert(mode)
        image.save(path)
        height, width, channels = (*decode_image(path).shape, 1)[:3]
        expected.append(f"{path.name} ({height},{width},{channels})\n")
    make_list(tmp_path / "in", tmp_path / "list.txt")
    assert sorted((tmp_path / "list.txt").read_text().splitlines(keepends=True)) == sorted(expected)


def test_small_and_broken_images_are_left_out_by_name(folder, tmp_path):
    (folder / "broken.png").write_bytes(b"no image")
    done = make_list(folder, tmp_path / "list.txt", form="name", smallest=10)
    assert done.skipped == {"gray.png": "9 x 8 has a side below 10"}
    assert list(done.failed) == ["broken.png"]
    assert done.exit_code == 1
    assert (tmp_path / "list.txt").read_text() == "c.jpeg\nn01/a b.png\n"


def test_truncated_images_are_found_by_decoding(folder, tmp_path, rng):
    write_image(folder / "cut.jpg", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    assert not make_list(folder, tmp_path / "header.txt").failed
    assert list(make_list(folder, tmp_path / "decoded.txt", verify=True).failed) == ["cut.jpg"]


def test_the_shape_of_a_turned_image_is_its_upright_one(tmp_path):
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "in" / "a.jpg", exif=exif)
    make_list(tmp_path / "in", tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_text() == "a.jpg (20,10,3)\n"


def test_a_list_that_is_there_stays(folder, tmp_path):
    make_list(folder, tmp_path / "list.txt", smallest=9)
    before = (tmp_path / "list.txt").read_text()
    again = make_list(folder, tmp_path / "list.txt", smallest=9)
    assert (again.written, again.present, again.exit_code) == (0, 1, 0)
    assert again.skipped == {"gray.png": "9 x 8 has a side below 9"}
    assert (tmp_path / "list.txt").read_text() == before


def test_a_list_that_differs_stays_unless_forced(folder, tmp_path):
    (tmp_path / "list.txt").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"differs from the list of .*--force"):
        make_list(folder, tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_text() == "mine\n"
    assert make_list(folder, tmp_path / "list.txt", force=True).written == 1
    assert make_list(folder, tmp_path / "list.txt").present == 1


def test_the_source_of_a_list_is_looked_at_first(folder, tmp_path):
    make_list(folder, tmp_path / "list.txt")
    with pytest.raises(DataError, match="no image folder"):
        make_list(tmp_path / "none", tmp_path / "list.txt")
    with pytest.raises(ConfigError, match="is a folder"):
        make_list(folder, tmp_path)
    with pytest.raises(ConfigError, match="shape or name, got 'csv'"):
        make_list(folder, tmp_path / "list.txt", form="csv")


def test_nothing_usable_writes_no_list(folder, tmp_path):
    assert make_list(folder, tmp_path / "list.txt", smallest=99).exit_code == 3
    assert not (tmp_path / "list.txt").exists()
