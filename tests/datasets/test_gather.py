"""Lists, pairing, and surviving broken images."""

import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from ppsr.datasets.gather import BadFiles, gather_folders, gather_images, gather_pairs
from ppsr.datasets.sources import read_size
from ppsr.errors import ConfigError, DataError
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
            raise DataError(f"image {index} is broken")
        return index

    return read


def test_hidden_files_are_no_images(folder):
    for hidden in (".p0.tmp-4242.png", "._d.png", "sub/._c.JPG", ".Trashes/e.png"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"remains")
    assert [path.name for path in gather_images(folder)] == ["a b.png", "d.png", "c.JPG"]
    assert [path.name for path in list_images(folder)] == ["a b.png", "d.png"]
    assert [path.name for path in gather_images(folder / ".Trashes")] == ["e.png"]


def test_a_link_that_leads_nowhere_is_found_so_that_reading_names_it(folder):
    (folder / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "pipe.png")
    assert [path.name for path in gather_images(folder)] == ["a b.png", "d.png", "gone.png", "c.JPG"]
    with pytest.raises(DataError, match=r"gone\.png"):
        read_size(folder / "gone.png")


def _listed(folder, text):
    (folder / "list.txt").write_text(text)
    return [path.relative_to(folder).as_posix() for path in gather_images(folder, folder / "list.txt")]


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
    with pytest.raises(DataError, match=r"of a shipped config are in its head, all .* in data/README\.md"):
        gather_images(folder / "samples" / "train_x3" / "HR")
    with pytest.raises(DataError, match="samples/val_LRx4; `ppsr prepare samples` makes it"):
        gather_images(folder / "samples" / "val_LRx4")
    with pytest.raises(DataError, match="cannot read the list"):
        gather_images(folder, folder / "none.txt")
    for content, reason in (
        (b"\n", "names no images"),
        (b"\xff\xfe\x00a", "is not UTF-8 text"),
        (b"d.png\ne.png\nsub/f.png\n", r"names 2 of 3 images .*\['e\.png', 'sub/f\.png'\]"),
    ):
        (folder / "list.txt").write_bytes(content)
        with pytest.raises(DataError, match=rf"list\.txt {reason}"):
            gather_images(folder, folder / "list.txt")


def test_absolute_names_of_a_list_are_those_of_the_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("list.txt").write_text(f"{folder / 'sub' / 'c.JPG'}\n")
    assert gather_images("sub", "list.txt") == [Path("sub/c.JPG")]
    Path("list.txt").write_text(f"{folder / 'a b.png'}\n")
    with pytest.raises(DataError, match=r"1 of 1 images that sub does not hold, such as \['/.*a b\.png"):
        gather_images("sub", "list.txt")


def test_partners_are_found_by_a_template_and_missing_ones_named(tmp_path):
    write_image(tmp_path / "lr" / "d_x4.png", np.zeros((1, 1, 3), np.uint8))
    gt, lr = tmp_path / "gt", tmp_path / "lr"
    write_image(gt / "d.png", np.zeros((4, 4, 3), np.uint8))
    assert gather_pairs(gt, lr, "{}_x4") == [(gt / "d.png", lr / "d_x4.png")]
    message = r"lacks the partners of 1 of 1 HR images.*'d.png'.*'d_x4.png'.*filename_tmpl: '{}_x4'"
    with pytest.raises(DataError, match=message):
        gather_pairs(gt, lr, "{}_x2")
    write_image(lr / "d.png", np.zeros((1, 1, 3), np.uint8))  # as images of one's own in a shipped config
    (lr / "d_x4.png").unlink()
    with pytest.raises(DataError, match=r"filename_tmpl: '{}' would pair them"):
        gather_pairs(gt, lr, "{}_x2")


def test_a_list_may_name_pairs(tmp_path):
    for name in ("HR/a.png", "HR/b, 1.png", "LR/x.png", "LR/y.png"):
        write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "pairs.txt").write_text("HR/b, 1.png, LR/x.png\r\nHR/a.png, LR/y.png\n")
    pairs = gather_pairs(tmp_path, tmp_path, meta_info=tmp_path / "pairs.txt")
    names = [tuple(path.relative_to(tmp_path).as_posix() for path in pair) for pair in pairs]
    assert names == [("HR/b, 1.png", "LR/x.png"), ("HR/a.png", "LR/y.png")]
    (tmp_path / "pairs.txt").write_text("a.png, z.png\n")
    with pytest.raises(DataError, match=r"1 of 1 images that .*/LR does not hold, such as \['z\.png'\]"):
        gather_pairs(tmp_path / "HR", tmp_path / "LR", meta_info=tmp_path / "pairs.txt")
    with pytest.raises(DataError, match=r"there is no image folder .*/none"):
        gather_pairs(tmp_path / "HR", tmp_path / "none", meta_info=tmp_path / "pairs.txt")


@pytest.mark.parametrize("place", ["HR/a.png", "HR/*.png"])
def test_what_is_no_folder_leads_to_a_list(tmp_path, place):
    write_image(tmp_path / "HR/a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match=r"give a folder, and a list of names \(meta_info\)"):
        gather_images(tmp_path / place)


@pytest.mark.parametrize("template", ["{}", "{}_x2"])
def test_an_image_that_a_list_names_twice_is_two_samples(tmp_path, template):
    for name in ("HR/a.png", "HR/b.png", "LR/a_x2.png", "LR/b_x2.png"):
        write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "list.txt").write_text("a.png\nb.png\na.png\n")
    pairs = gather_pairs(tmp_path / "HR", tmp_path / "LR", template, tmp_path / "list.txt")
    assert [(gt.stem, lq.stem) for gt, lq in pairs] == [("a", "a_x2"), ("b", "b_x2"), ("a", "a_x2")]


def test_a_broken_image_is_replaced_by_the_next_whatever_was_read_before(caplog):
    read = _reader({3, 4, 299})
    for order in ([3, 4, 299], [4, 299, 3]):
        bad = BadFiles(300)
        with caplog.at_level(logging.WARNING):
            assert {index: bad.read(index, read) for index in order} == {3: 5, 4: 5, 299: 0}
        assert bad.bad == [3, 4, 299]
    assert "image 299 is broken" in caplog.text


def test_more_than_one_percent_ends_the_run():
    bad = BadFiles(200)
    read = _reader({10, 20, 30})
    assert (bad.read(10, read), bad.read(20, read), bad.read(10, read)) == (11, 21, 11)
    with pytest.raises(DataError, match=r"3 of 200 images are broken, more than 1 %.*image 30"):
        bad.read(30, read)


def test_one_broken_image_of_few_is_survived_and_two_are_not():
    bad = BadFiles(5)
    assert bad.read(4, _reader({4, 2})) == 0
    with pytest.raises(DataError, match="2 of 5"):
        bad.read(2, _reader({4, 2}))


def test_no_readable_image_at_all_is_an_error():
    with pytest.raises(DataError, match="none of 1 images can be used: image 0 is broken"):
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


def _write(root, *names):
    for name in names:
        write_image(root / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    return root


def _below(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def test_linked_folders_are_searched_and_each_real_one_once(tmp_path):
    root = _write(tmp_path / "set", "A/0", "A/deep/1")
    _write(tmp_path / "disk", "2")
    _write(tmp_path / "beside", "3")
    (root / "A" / "B").symlink_to("../../disk")
    (root / "again").symlink_to("../disk")
    (root / "Z").symlink_to("A")
    (root / "A" / "loop").symlink_to("..")  # to a folder that holds it
    (root / "A" / "up").symlink_to("../..")
    assert _below(gather_images(root), root) == ["A/0.png", "A/deep/1.png", "again/2.png"]
    links = tmp_path / "links"
    links.mkdir()
    (links / "A").symlink_to("../set/A")
    (links / "B").symlink_to("../disk")
    assert _below(gather_images(links), links) == ["A/0.png", "A/deep/1.png", "B/2.png"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lists_of_windows_and_macos_name_what_is_there(tmp_path, mark):
    folder = _write(tmp_path / "hr", "sub/caf\u00e9", "b")
    (tmp_path / "list.txt").write_bytes(mark + "b.png\r\nsub\\cafe\u0301.png (4,4,3)\r\n".encode())
    assert _below(gather_images(folder, tmp_path / "list.txt"), folder) == ["b.png", "sub/caf\u00e9.png"]


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        (("t1", "t2"), ("t1x4", "t2x4")),
        (("0001_HR", "0002_HR"), ("0001_LR", "0002_LR")),
        (("a/1", "b/1"), ("a/1", "b/1")),
        (("a/1", "b/1"), ("a/1x4", "b/1x4")),
        (("caf\u00e9", "a [1]"), ("cafe\u0301", "a [1]")),
    ],
)
def test_pairs_are_found_without_a_template(tmp_path, hr, lr):
    gt_folder, lq_folder = _write(tmp_path / "hr", *hr), _write(tmp_path / "lr [x4]", *lr)
    pairs = gather_pairs(str(gt_folder), str(lq_folder), "{}")
    expected = sorted((f"{a}.png", f"{b}.png") for a, b in zip(hr, lr, strict=True))
    assert sorted((*_below([a], gt_folder), *_below([b], lq_folder)) for a, b in pairs) == expected


def test_a_template_keeps_sub_folders_apart_and_alone_decides(tmp_path):
    gt_folder = _write(tmp_path / "hr", "a/1", "b/1")
    lq_folder = _write(tmp_path / "lr", "a/1", "b/1", "a/1_x4", "b/1_x4")
    pairs = gather_pairs(gt_folder, lq_folder, "{}_x4")
    assert _below([lq for _, lq in pairs], lq_folder) == ["a/1_x4.png", "b/1_x4.png"]
    with pytest.raises(DataError, match="lacks the partners of 2 of 2"):
        gather_pairs(gt_folder, lq_folder, "{}_x3")
    with pytest.raises(ConfigError, match="filename_tmpl"):
        gather_pairs(gt_folder, lq_folder, "x4")


def test_several_folders_are_one_set(tmp_path):
    many, few = _write(tmp_path / "many", *map(str, range(12))), _write(tmp_path / "few", "0", "1", "2")
    assert gather_folders([many, few]) == [*gather_images(many), *gather_images(few)]


def test_pairs_of_several_folders_stay_in_their_own(tmp_path):
    for name in ("a", "b"):
        _write(tmp_path / name / "hr", "0", "1")
        _write(tmp_path / name / "lr", "0", "1")
    hr, lr = ([tmp_path / name / side for name in "ab"] for side in ("hr", "lr"))
    pairs = gather_pairs(hr, lr, "{}")
    assert all(gt.parts[-3] == lq.parts[-3] and gt.name == lq.name for gt, lq in pairs)
    assert [gt.parts[-3] for gt, _ in pairs] == ["a", "a", "b", "b"]


def test_folders_that_do_not_fit_are_refused(tmp_path):
    folder = _write(tmp_path / "a", "0")
    with pytest.raises(ConfigError, match="gt_folder has 2 folders and lq_folder 1"):
        gather_pairs([folder, folder], folder, "{}")
    with pytest.raises(ConfigError, match="meta_info names the images of one folder"):
        gather_folders([folder, folder], meta_info=folder / "list.txt")
    with pytest.raises(ConfigError, match="gt_folder must be a folder"):
        gather_folders([])
