"""Images in LMDB stores are read as those of folders."""

import multiprocessing

import numpy as np
import pytest

from ppsr.datasets.dasr import DASRDataset
from ppsr.datasets.gather import gather_images
from ppsr.datasets.paired import SingleImageDataset, SRDataset
from ppsr.datasets.sources import close_stores, list_source, read_samples, read_store_list
from ppsr.errors import DataError
from ppsr.imaging.io import write_image
from ppsr.prepare.lmdb_store import make_lmdb, verify_lmdb

pytest.importorskip("lmdb")


@pytest.fixture
def folders(tmp_path, rng):
    """HR and LR as folders and as stores."""
    for name in ("a", "b", "c"):
        gt = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        write_image(tmp_path / "gt" / f"{name}.png", gt)
        write_image(tmp_path / "lq" / f"{name}x4.png", gt[::4, ::4])
    write_image(tmp_path / "deep" / "d.png", rng.integers(0, 65536, (8, 8), dtype=np.uint16))
    for name in ("gt", "lq", "deep"):
        make_lmdb(tmp_path / name, tmp_path / f"{name}.lmdb")
    yield tmp_path
    close_stores()


def _same(one, two):
    assert {k for k in one if not k.endswith("path")} == {k for k in two if not k.endswith("path")}
    for key, value in one.items():
        if key.endswith("path"):
            assert value.replace("gt/", "gt.lmdb/").replace("lq/", "lq.lmdb/") == two[key]
        else:
            np.testing.assert_array_equal(value, two[key])


@pytest.mark.parametrize("key", [1, (3, 2)])
def test_a_store_of_pairs_yields_what_the_folders_do(folders, key):
    options = {"filename_tmpl": "{}x4", "gt_size": 16, "use_hflip": True, "use_rot": True}
    plain = SRDataset(gt_folder=str(folders / "gt"), lq_folder=str(folders / "lq"), **options)
    stored = SRDataset(gt_folder=str(folders / "gt.lmdb"), lq_folder=str(folders / "lq.lmdb"), **options)
    assert len(plain) == len(stored) == 3
    _same(plain[key], stored[key])


def test_a_store_under_another_name_is_recognised(folders):
    (folders / "gt.lmdb").rename(folders / "gt_store")
    with pytest.raises(DataError, match=r"gt_store is an LMDB store; let its name end in \.lmdb"):
        gather_images(folders / "gt_store")
    with pytest.raises(DataError, match=r"gt_store is an LMDB store; let its name end in \.lmdb"):
        SRDataset(gt_folder=str(folders / "lq"), lq_folder=str(folders / "gt_store"))


def test_the_list_of_a_store_may_come_from_windows(folders):
    path = folders / "gt.lmdb" / "meta_info.txt"
    keys = list(read_store_list(folders / "gt.lmdb"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(read_store_list(folders / "gt.lmdb")) == keys


def test_a_list_chooses_from_a_store(folders):
    (folders / "list.txt").write_text("c.png (32,40,3)\na.png (32,40,3)\n")
    options = {"meta_info": str(folders / "list.txt"), "filename_tmpl": "{}x4"}
    chosen = SRDataset(gt_folder=str(folders / "gt.lmdb"), lq_folder=str(folders / "lq"), **options)
    assert [item["gt_path"][-5:] for item in (chosen[0], chosen[1])] == ["c.png", "a.png"]


def test_degradation_on_the_fly_reads_stores_too(folders):
    options = {"gt_size": 32, "crop_pad_size": 112}
    plain = DASRDataset(gt_folder=str(folders / "gt"), **options)
    stored = DASRDataset(gt_folder=str(folders / "gt.lmdb"), **options)
    _same(plain[0, 1], stored[0, 1])


def test_real_lr_is_read_from_folders_stores_and_lists(folders):
    plain = SingleImageDataset(lq_folder=str(folders / "lq"))
    assert len(plain) == 3
    assert plain[0]["lq"].shape == (3, 8, 10)
    assert "gt" not in plain[0]
    _same(plain[0], SingleImageDataset(lq_folder=str(folders / "lq.lmdb"))[0])


def test_16_bit_maps_keep_their_range(folders):
    (path,) = list_source(folders / "deep.lmdb")
    plane = read_samples(path)
    np.testing.assert_array_equal(plane, read_samples(folders / "deep" / "d.png"))
    assert plane.dtype == np.uint16
    assert len(np.unique(plane)) > 60


def test_a_missing_key_or_store_is_named(folders):
    with pytest.raises(DataError, match=r"none\.png is empty"):
        read_samples(folders / "gt.lmdb" / "none.png")
    close_stores()
    (folders / "gt.lmdb" / "data.mdb").write_bytes(b"no store" * 1000)
    (folders / "x.lmdb").mkdir()
    for store, reason in (("gt", "not a readable LMDB store"), ("x", "no LMDB store")):
        with pytest.raises(DataError, match=reason):
            read_samples(folders / f"{store}.lmdb" / "a.png")


def test_a_broken_list_is_named(folders):
    (folders / "gt.lmdb" / "meta_info.txt").write_text("a.png\n")
    with pytest.raises(DataError, match=r"expected 'name\.png \(h,w,c\) level'"):
        read_store_list(folders / "gt.lmdb")
    with pytest.raises(DataError, match="no readable meta_info"):
        list_source(folders / "none.lmdb")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="workers are not forked")
def test_a_store_that_was_opened_before_is_read_by_forked_workers(folders):
    expected = read_samples(folders / "gt.lmdb" / "a.png")
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        read = pool.map(read_samples, [folders / "gt.lmdb" / f"{name}.png" for name in "abca"])
    np.testing.assert_array_equal(read[0], expected)
    np.testing.assert_array_equal(read[3], expected)


def test_a_store_that_was_cut_off_is_refused(folders):
    data = folders / "gt.lmdb" / "data.mdb"
    with data.open("r+b") as handle:
        handle.truncate(data.stat().st_size - 4096)
    close_stores()
    with pytest.raises(DataError, match=r"data\.mdb is cut off"):
        read_samples(folders / "gt.lmdb" / "a")


def test_a_store_whose_pages_are_damaged_is_named(folders):
    data = folders / "gt.lmdb" / "data.mdb"
    content = data.read_bytes()
    data.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    close_stores()
    for read in (lambda: read_samples(folders / "gt.lmdb" / "a"), lambda: verify_lmdb(folders / "gt.lmdb")):
        with pytest.raises(DataError, match=r"gt\.lmdb is damaged"):
            read()
