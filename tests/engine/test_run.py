"""Which run `--resume` goes on with."""

from __future__ import annotations

import pytest

from ppsr.config import check_config, load_config
from ppsr.engine.checkpoint import CheckpointStore
from ppsr.engine.run import CHECKPOINTS, find_run, newest_run
from ppsr.errors import ConfigError, DataError
from tests.engine.helpers import write_config


@pytest.fixture
def found(tmp_path):
    """A function of the option, in a folder that has a run with the checkpoints of steps 5 and 10."""
    config = load_config(write_config(tmp_path))
    store = CheckpointStore(tmp_path / "run" / CHECKPOINTS)
    for step in (5, 10):
        store.save(step, {"x": b""})
    return lambda resume: find_run(config, check_config(config), str(resume))


def test_a_run_is_named_by_its_folder_or_its_newest_checkpoint(found, tmp_path):
    run = tmp_path / "run"
    assert found(run) == found(run / CHECKPOINTS / "step_000000010") == run
    assert found("auto") is None


def test_an_older_checkpoint_is_refused_because_the_newest_would_be_taken(found, tmp_path):
    with pytest.raises(ConfigError, match="newest checkpoint, which is step_000000010; remove"):
        found(tmp_path / "run" / CHECKPOINTS / "step_000000005")


def test_a_checkpoint_that_is_not_there_is_not_replaced_by_another(found, tmp_path):
    with pytest.raises(DataError, match="no run with a folder 'checkpoints' is there"):
        found(tmp_path / "run" / CHECKPOINTS / "step_000000007")


def test_a_checkpoint_that_vanishes_meanwhile_does_not_matter(tmp_path):
    checkpoints = tmp_path / "tiny-2026-01-01-00-00-00" / CHECKPOINTS
    CheckpointStore(checkpoints).save(5, {"x": b""})
    (checkpoints / "step_000000004").symlink_to(tmp_path / "deleted")
    assert newest_run("tiny", tmp_path) == checkpoints.parent
