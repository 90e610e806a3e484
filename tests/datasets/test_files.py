"""Lists, pairing, and surviving broken pictures."""

from __future__ import annotations

import logging
import multiprocessing

import numpy as np
import pytest

from ppsr.datasets.files import BadFiles, gather_pictures, pair_by_name
from ppsr.errors import DataError
from ppsr.imaging.io import list_images, write_image


@pytest.fixture
def folder(tmp_path):
    for name in ("a b.png", "sub/c.JPG", "d.png"):
        path = tmp_path / name
        write_image(path.with_suffix(path.suffix.lower()), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "sub" / "c.jpg").rename(tmp_path / "sub" / "c.JPG")
    return tmp_path


def _reader(broken):
    def read(index):
        if index in broken:
            raise DataError(f"picture {index} is broken")
        return index

    return read


def test_hidden_files_are_no_pictures(folder):
    for hidden in (".p0.tmp-4242.png", "._d.png", "sub/._c.JPG", ".Trashes/e.png"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"remains")
    assert [path.name for path in gather_pictures(folder)] == ["a b.png", "d.png", "c.JPG"]
    assert [path.name for path in list_images(folder)] == ["a b.png", "d.png"]
    assert [path.name for path in gather_pictures(folder / ".Trashes")] == ["e.png"]


def _listed(folder, text):
    (folder / "list.txt").write_text(text)
    return [path.relative_to(folder).as_posix() for path in gather_pictures(folder, folder / "list.txt")]


def test_a_folder_is_searched_recursively_in_order(folder):
    found = [path.relative_to(folder).as_posix() for path in gather_pictures(folder)]
    assert found == ["a b.png", "d.png", "sub/c.JPG"]


@pytest.mark.parametrize(
    "text",
    [
        "sub/c.JPG (4,4,3)\na b.png (4,4,3)\n",
        "sub/c.JPG\na b.png\n",
        "\n sub/c.JPG (4,4,3) 1\r\na b.png 7 \n\n",
    ],
)
def test_lists_of_every_published_form_are_read_in_their_order(folder, text):
    assert _listed(folder, text) == ["sub/c.JPG", "a b.png"]


def test_missing_folders_and_lists_say_what_to_do(folder):
    with pytest.raises(DataError, match=r"data/README\.md"):
        gather_pictures(folder / "none")
    with pytest.raises(DataError, match="cannot read the list"):
        gather_pictures(folder, folder / "none.txt")
    (folder / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no pictures"):
        gather_pictures(folder, folder / "empty.txt")


def test_partners_are_found_by_a_template_and_missing_ones_named(folder, tmp_path):
    write_image(tmp_path / "lr" / "d_x4.png", np.zeros((1, 1, 3), np.uint8))
    pairs = pair_by_name([folder / "d.png"], tmp_path / "lr", "{}_x4")
    assert pairs == [(folder / "d.png", tmp_path / "lr" / "d_x4.png")]
    with pytest.raises(DataError, match=r"lacks the partners of 1 HR pictures.*d_x2"):
        pair_by_name([folder / "d.png"], tmp_path / "lr", "{}_x2")


def test_a_broken_picture_is_replaced_by_the_next_whatever_was_read_before(caplog):
    read = _reader({3, 4, 299})
    for order in ([3, 4, 299], [4, 299, 3]):
        bad = BadFiles(300)
        with caplog.at_level(logging.WARNING):
            assert {index: bad.read(index, read) for index in order} == {3: 5, 4: 5, 299: 0}
        assert bad.bad == [3, 4, 299]
    assert "picture 299 is broken" in caplog.text


def test_more_than_one_percent_ends_the_run():
    bad = BadFiles(200)
    read = _reader({10, 20, 30})
    assert (bad.read(10, read), bad.read(20, read), bad.read(10, read)) == (11, 21, 11)
    with pytest.raises(DataError, match=r"3 of 200 pictures are broken, more than 1 %.*picture 30"):
        bad.read(30, read)


def test_one_broken_picture_of_few_is_survived_and_two_are_not():
    bad = BadFiles(5)
    assert bad.read(4, _reader({4, 2})) == 0
    with pytest.raises(DataError, match="2 of 5"):
        bad.read(2, _reader({4, 2}))


def test_no_readable_picture_at_all_is_an_error():
    with pytest.raises(DataError, match="none of 1"):
        BadFiles(1).read(0, _reader({0}))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers are not forked")
def test_processes_count_together():
    bad = BadFiles(200)
    context = multiprocessing.get_context("fork")
    for index in (10, 20):
        worker = context.Process(target=bad.read, args=(index, _reader({10, 20, 30})))
        worker.start()
        worker.join()
    assert bad.bad == [10, 20]
    with pytest.raises(DataError, match="3 of 200"):
        bad.read(30, _reader({10, 20, 30}))


def test_a_list_that_is_no_text_is_refused(folder):
    (folder / "list.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match=r"list\.txt is not UTF-8 text"):
        gather_pictures(folder, folder / "list.txt")
