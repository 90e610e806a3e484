"""LMDB stores: lossless, complete, resumed, verified."""

import cv2
import numpy as np
import pytest

from ppsr.datasets.sources import close_stores, open_store, read_store_list
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import decode_image, write_image
from ppsr.prepare import lmdb_store
from ppsr.prepare.lmdb_store import make_lmdb, verify_lmdb

lmdb = pytest.importorskip("lmdb")


@pytest.fixture
def source(tmp_path, rng):
    write_image(tmp_path / "in" / "a.png", rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    write_image(tmp_path / "in" / "deep.png", rng.integers(0, 65536, (7, 5), dtype=np.uint16))
    write_image(tmp_path / "in" / "sub" / "v1.2.png", rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return tmp_path / "in"


@pytest.fixture
def store(source, tmp_path):
    make_lmdb(source, tmp_path / "s.lmdb")
    return tmp_path / "s.lmdb"


def _change(store, key, value):
    with lmdb.open(str(store)) as opened, opened.begin(write=True) as change:
        if value is None:
            change.delete(key.encode())
        else:
            change.put(key.encode(), value)


def test_the_list_has_the_published_form_and_keys(store):
    lines = (store / "meta_info.txt").read_text().splitlines()
    assert lines == ["a.png (9,12,3) 1", "deep.png (7,5,1) 1", "v1.2.png (4,4,3) 1"]


def test_images_are_stored_without_loss_in_the_order_that_opencv_reads(store, source):
    with open_store(store).begin() as read:
        for key, path in (("a", source / "a.png"), ("deep", source / "deep.png")):
            image = cv2.imdecode(np.frombuffer(read.get(key.encode()), np.uint8), cv2.IMREAD_UNCHANGED)
            original = decode_image(path)
            assert image.dtype == original.dtype
            assert (image == (original if original.ndim == 2 else original[..., ::-1])).all()
    close_stores()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("a", None, "not in the store"),
        ("a", b"\x89PNG broken", "is not an image"),
        ("new", b"x", "not in the list"),
        ("a", cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes(), "the store holds"),
    ],
)
def test_every_difference_from_the_list_is_found(store, key, value, reason):
    _change(store, key, value)
    failed = verify_lmdb(store).failed
    assert list(failed) == [key]
    assert reason in failed[key]


def test_a_full_store_gets_more_room(source, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(lmdb_store, "_FIRST_MAP", 1 << 16)
    for number in range(4):
        write_image(source / f"n{number}.png", rng.integers(0, 256, (99, 99, 3), dtype=np.uint8))
    assert make_lmdb(source, tmp_path / "s.lmdb").written == 7
    assert verify_lmdb(tmp_path / "s.lmdb").present == 7


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_run_leaves_what_was_there(source, tmp_path, monkeypatch, there):
    if there:
        make_lmdb(source, tmp_path / "s.lmdb")
    monkeypatch.setattr(lmdb_store, "_put", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_lmdb(source, tmp_path / "s.lmdb", force=True)
    assert (tmp_path / "s.lmdb").exists() == there
    monkeypatch.undo()
    assert make_lmdb(source, tmp_path / "s.lmdb", force=True).written == 3
    assert verify_lmdb(tmp_path / "s.lmdb").present == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "s.lmdb"]


def _interrupt(*arguments):
    raise KeyboardInterrupt


def test_a_store_that_is_there_stays_unless_forced(store, source):
    before = (store / "data.mdb").stat()
    assert make_lmdb(source, store).present == 3
    (source / "a.png").rename(source / "new.png")
    again = make_lmdb(source, store)
    assert (again.present, again.exit_code) == (2, 1)
    assert again.failed == {
        "a": "is in the store, not in the source; --force recreates the store",
        "new": "is in the source, not in the store; --force recreates the store",
    }
    after = (store / "data.mdb").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert make_lmdb(source, store, force=True).written == 3
    assert set(read_store_list(store)) == {"new", "deep", "v1.2"}


def test_a_store_made_otherwise_is_refused_unless_forced(store, source, tmp_path, rng):
    write_image(tmp_path / "other" / "z.png", rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    with pytest.raises(ConfigError, match="'source'"):
        make_lmdb(tmp_path / "other", store)
    with pytest.raises(ConfigError, match="'level'"):
        make_lmdb(source, store, level=5)
    assert verify_lmdb(store).present == 3
    assert make_lmdb(tmp_path / "other", store, force=True).written == 1
    (store / "prepare.json").unlink()  # as BasicSR makes them
    with pytest.raises(ConfigError, match=r"does not say how it was made.*--force replaces it"):
        make_lmdb(tmp_path / "other", store)
    assert not (store / "prepare.json").exists()


def test_a_store_that_is_in_its_source_or_holds_it_is_refused(store, source):
    write_image(store / "in" / "b.png", np.zeros((4, 4), np.uint8))
    for read, written in ((store, store), (source, source / "t.lmdb"), (store / "in", store)):
        with pytest.raises(ConfigError, match="in each other"):
            make_lmdb(read, written, force=True)
    assert verify_lmdb(store).present == 3
    assert (store / "in" / "b.png").is_file()
    assert not (source / "t.lmdb").exists()


def test_broken_images_are_named_and_two_of_one_name_refused(source, tmp_path):
    (source / "broken.png").write_bytes(b"no image")
    done = make_lmdb(source, tmp_path / "s.lmdb")
    assert list(done.failed) == ["broken.png"]
    assert (done.written, done.exit_code) == (3, 1)
    assert verify_lmdb(tmp_path / "s.lmdb").present == 3
    write_image(source / "sub" / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="have the same name"):
        make_lmdb(source, tmp_path / "t.lmdb")


def test_the_source_of_a_store_is_looked_at_first(store, source, tmp_path):
    with pytest.raises(DataError, match="no image folder"):
        make_lmdb(tmp_path / "none", store)
    (tmp_path / "file.lmdb").write_text("x")
    with pytest.raises(ConfigError, match="is a file"):
        make_lmdb(source, tmp_path / "file.lmdb", force=True)


def test_nothing_readable_leaves_no_store(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image")
    assert make_lmdb(tmp_path / "in", tmp_path / "s.lmdb").exit_code == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_wrong_names_and_levels_are_refused(source, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.lmdb"):
        make_lmdb(source, tmp_path / "store")
    with pytest.raises(ConfigError, match="0 to 9, got 10"):
        make_lmdb(source, tmp_path / "s.lmdb", level=10)
    with pytest.raises(DataError, match="no LMDB store"):
        verify_lmdb(tmp_path / "s.lmdb")
