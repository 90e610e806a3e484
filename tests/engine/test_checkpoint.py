"""Checkpoints: whole or absent at every interruption, damage always seen."""

import builtins
import errno
import io
import logging
import os
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppsr.engine.checkpoint import CheckpointError, CheckpointStore
from ppsr.weights import dump_state

FILES = {"nets.pdparams": dump_state({"generator": {"w": np.arange(6, dtype="f4")}}), "state.json": b"{}"}
OPERATIONS = [(io, "open"), (builtins, "open")]
OPERATIONS += [(os, name) for name in ("open", "mkdir", "fsync", "rename", "rmdir", "unlink", "replace")]
OPERATIONS += [(pathlib.Path, name) for name in ("rename", "mkdir", "open", "replace")]


class Interrupter:
    """Counts file operations, and fails at the chosen one."""

    def __init__(self, patch: pytest.MonkeyPatch, stop_at: int, fail: Callable[[], None]) -> None:
        self.count = 0
        self.stop_at = stop_at
        self.fail = fail
        for owner, name in OPERATIONS:
            patch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.stop_at:
                self.fail()
            return original(*args, **kwargs)

        return operation


def store_with(folder: Path, *steps: int) -> CheckpointStore:
    store = CheckpointStore(folder, keep=2)
    for step in steps:
        store.save(step, FILES, {"at": step})
    return store


def operations_of_a_save(folder: Path) -> int:
    store = store_with(folder, 1, 2)
    with pytest.MonkeyPatch.context() as patch:
        counter = Interrupter(patch, 0, lambda: None)
        store.save(3, FILES)
    return counter.count


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["new step", "same step"])
def test_death_at_any_file_operation_leaves_a_valid_checkpoint(tmp_path: Path, again: bool) -> None:
    total = operations_of_a_save(tmp_path / "count") + 4
    assert total > 15
    for stop in range(1, total + 1):
        folder = tmp_path / f"dies{stop}"
        store = store_with(folder, 2) if again else store_with(folder, 1, 2)
        child = os.fork()
        if child == 0:
            with pytest.MonkeyPatch.context() as patch:
                Interrupter(patch, stop, lambda: os._exit(9))
                store.save(2 if again else 3, FILES, {"at": 2 if again else 3})
            os._exit(0)
        os.waitpid(child, 0)
        found = CheckpointStore(folder).latest()
        assert found is not None, f"nothing left after death at operation {stop}"
        assert store.load(found)[0] == FILES
        store.save(4, FILES)
        assert not list(folder.glob("*.tmp-*")), "the dead process's folder was not removed"


def test_full_disk_at_any_file_operation_keeps_the_older_ones(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    total = operations_of_a_save(tmp_path / "count")
    failed = 0
    for stop in range(1, total + 1):
        folder = tmp_path / f"full{stop}"
        store = store_with(folder, 1, 2)
        with pytest.MonkeyPatch.context() as patch:
            Interrupter(patch, stop, full)
            try:
                store.save(3, FILES)
            except CheckpointError as error:
                failed += 1
                assert "No space left" in str(error)
        found = store.latest()
        assert found is not None and store.load(found)[0] == FILES
    assert failed >= 8


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    folder = store_with(tmp_path, 1).all()[0]
    store, rng = CheckpointStore(tmp_path), np.random.default_rng(0)
    good = {path: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    paths = sorted(good)
    for index in range(1000):
        path = paths[index % len(paths)]
        damaged = bytearray(good[path])
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            store.load(folder)
        path.write_bytes(good[path])
    assert store.load(folder)[0] == FILES


def test_damaged_newest_is_named_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = store_with(tmp_path, 1, 2)
    (store.all()[-1] / "state.json").write_bytes(b"[]")
    with caplog.at_level(logging.WARNING):
        found = store.latest()
    assert found is not None and found.name == "step_000000001"
    assert "step_000000002" in caplog.text


@pytest.mark.parametrize(
    "manifest",
    ["[" * 100_000, '{"files": {"/dev/zero": {"bytes": 9, "sha256": ""}}}', '{"files": {"state.json": []}}'],
)
def test_hostile_manifests_are_damage(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "step_000000001").mkdir()
    (tmp_path / "step_000000001" / "manifest.json").write_text(manifest)
    (tmp_path / "step_000000001" / "zero").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="incomplete or damaged"):
        CheckpointStore(tmp_path).load(tmp_path / "step_000000001")


def test_nothing_valid_gives_none(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1)
    (store.all()[0] / "manifest.json").unlink()
    assert store.latest() is None
    assert CheckpointStore(tmp_path / "absent").latest() is None


def test_folders_of_running_processes_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / f"step_000000007.tmp-{os.getppid()}"
    foreign.mkdir()
    store_with(tmp_path, 8)
    assert foreign.is_dir()


@pytest.mark.parametrize("keep", [1, 2])
def test_a_run_that_goes_back_behind_damage_keeps_what_it_writes(tmp_path: Path, keep: int) -> None:
    store = CheckpointStore(tmp_path, keep=keep)
    for step in (10, 20, 30):
        store.save(step, FILES)
    for folder in store.all():
        (folder / "state.json").write_bytes(b"damaged")
    for step in (5, 15):
        store.save(step, FILES)
        assert store.latest() == tmp_path / f"step_{step:09d}"
        assert len(store.all()) == keep


def test_the_newest_is_the_one_written_last(tmp_path: Path) -> None:
    store = store_with(tmp_path, 10, 20, 15)
    assert store.latest() == tmp_path / "step_000000015"
    assert [path.name for path in store.all()] == ["step_000000015", "step_000000020"]
