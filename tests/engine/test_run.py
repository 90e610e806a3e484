"""Which run and which checkpoint --resume means."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import paddle
import pytest

from ppsr.cli.train import main
from ppsr.config import check_config, load_config
from ppsr.engine.checkpoint import CheckpointStore
from ppsr.engine.run import CHECKPOINTS, find_run, lock_run, mark_latest, newest_run
from ppsr.errors import DataError
from tests.engine.helpers import make_trainer, write_config

SHORT = ["total_iters=3", "snapshot_config.interval=1", "dataset.train.queue_size=0"]


@pytest.fixture
def found(tmp_path):
    """A function of the option, in a folder that has a run with the checkpoints of steps 5 and 10."""
    config = load_config(write_config(tmp_path))
    store = CheckpointStore(tmp_path / "run" / CHECKPOINTS)
    for step in (5, 10):
        store.save(step, {"x": b""})
    return lambda resume: find_run(config, check_config(config), str(resume))


def test_a_run_is_named_by_its_folder_or_one_of_its_checkpoints(found, tmp_path):
    run = tmp_path / "run"
    assert found(run) == found(run / CHECKPOINTS / "step_000000005") == run
    assert found("auto") is None
    with pytest.raises(DataError, match="no run with a folder 'checkpoints' is there"):
        found(tmp_path / "run" / CHECKPOINTS / "step_000000007")


def test_a_checkpoint_that_vanishes_meanwhile_does_not_matter(tmp_path):
    checkpoints = tmp_path / "tiny-2026-01-01-00-00-00" / CHECKPOINTS
    CheckpointStore(checkpoints).save(5, {"x": b""})
    (checkpoints / "step_000000004").symlink_to(tmp_path / "deleted")
    assert newest_run("tiny", tmp_path) == checkpoints.parent


def test_a_run_of_a_config_whose_name_begins_alike_is_not_taken(tmp_path):
    (tmp_path / "small-2-2026-01-31-12-00-00" / CHECKPOINTS / "step_000000001").mkdir(parents=True)
    with pytest.raises(DataError, match="no run of 'small'"):
        newest_run("small", tmp_path)
    ours = tmp_path / "small-2026-01-31-11-00-00-2"
    (ours / CHECKPOINTS / "step_000000001").mkdir(parents=True)
    assert newest_run("small", tmp_path) == ours


def test_a_named_checkpoint_is_the_one_that_is_taken(tmp_path, capsys):
    config = write_config(tmp_path)
    run = tmp_path / "run"
    options = [*SHORT, "snapshot_config.keep=3"]
    make_trainer(config, run, options).train()
    chosen = run / CHECKPOINTS / "step_000000001"
    arguments = ["-c", str(config), "--device", "cpu", "--resume", str(chosen)]
    arguments += ["-o", *options, "total_iters=2"]
    assert main(arguments) == 0
    assert "at step 1" in capsys.readouterr().out
    (chosen / "state.json").write_text("{}")
    assert main(arguments) == 2
    assert "state.json is damaged" in capsys.readouterr().err


def test_resuming_says_where_a_run_begins(tmp_path, capsys):
    config = write_config(tmp_path)
    given = ["-c", str(config), "--device", "cpu", "--resume", "auto"]
    assert main([*given, "-o", *SHORT, "total_iters=1"]) == 0
    assert f"starting a new run: no checkpoint of tiny in {tmp_path / 'output'}" in capsys.readouterr().out
    (run,) = (tmp_path / "output").glob("tiny-*")
    weights = str(run / "iter_1_weight.pdparams")
    with_weights = [*given, "--load", weights, "-o", *SHORT, "total_iters=1"]
    assert main(with_weights) == 0
    printed = capsys.readouterr().out
    assert f"--resume with --load: --load is not used, {run} is resumed" in printed
    assert "changed since" not in printed
    assert main([*given, "-o", *SHORT, "total_iters=2", "ema=null"]) == 0
    changes = capsys.readouterr().out.partition("changed since the run began: ")[2].splitlines()[0]
    assert "ema.decay was 0.9, now None" in changes
    assert "total_iters was 1, now 2" in changes
    assert "starting a new run" not in printed
    assert main([*with_weights, f"output_dir={tmp_path / 'other'}"]) == 0
    assert f"--resume with --load: starting from {weights}" in capsys.readouterr().out


def test_the_order_of_samples_goes_on_with_another_batch_size(tmp_path):
    config = write_config(tmp_path)
    first = make_trainer(config, tmp_path / "run", [*SHORT, "total_iters=1"])
    first.train()
    again = make_trainer(config, tmp_path / "run", [*SHORT, "dataset.train.batch_size=1"])
    assert again.resume()
    assert again.state.samples == 2
    seen = []
    read = type(again.dataset).__getitem__

    class Noting(type(again.dataset)):
        def __getitem__(self, key):
            seen.append(key)
            return read(self, key)

    again.dataset.__class__ = Noting
    again.train()
    whole = make_trainer(config, tmp_path / "whole", [*SHORT, "total_iters=2"])
    whole.dataset.__class__ = Noting
    noted, seen[:] = list(seen), []
    whole.train()
    assert noted == seen[2:]


def test_another_seed_and_another_optimizer_are_named(tmp_path, caplog):
    config = write_config(tmp_path)
    make_trainer(config, tmp_path / "run", [*SHORT, "total_iters=1"]).train()
    again = make_trainer(config, tmp_path / "run", [*SHORT, "seed=4"])
    with caplog.at_level("WARNING", "ppsr"):
        assert again.resume()
    assert "seed 3; from here on the seed is 4" in caplog.text
    assert again.state.seed == 4
    renamed = ["optimizer={optimG: {name: Adam, net_names: [generator, predictor]}}"]
    with pytest.raises(ValueError, match=r"no optimizer 'optimG'; it has \['optim'\]"):
        make_trainer(config, tmp_path / "run", [*SHORT, *renamed]).resume()


def test_scalars_are_valid_json_also_where_a_loss_is_not_finite(tmp_path):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", [*SHORT, "log_config.interval=1"])
    model = trainer.state.model
    losses = model.generator_losses
    model.generator_losses = lambda batch: {k: v * float("nan") for k, v in losses(batch).items()}
    trainer.train()

    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    for line in (tmp_path / "run" / "scalars.jsonl").read_text().splitlines():
        assert json.loads(line, parse_constant=refuse)["l_pix"] == "nan"


def test_epochs_count_every_image(tmp_path):
    options = ["epochs=4", "dataset.train.queue_size=0", "step.accumulate=2"]
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", options)
    assert trainer.total == 5  # steps of four, of four times five images


def test_a_network_without_a_scale_trains_too(tmp_path, monkeypatch):
    config = write_config(tmp_path)
    monkeypatch.setattr("ppsr.models.cddnet.CDDNetModel.inference_net", lambda _: paddle.nn.Layer())
    assert make_trainer(config, tmp_path / "run", SHORT).train() == 0


def _command(config, *arguments):
    return main(["-c", str(config), "--device", "cpu", "-o", *SHORT, *arguments])


def test_the_latest_run_does_not_depend_on_the_clock(tmp_path):
    config = write_config(tmp_path)
    assert _command(config) == 0
    (old,) = (tmp_path / "output").glob("tiny-*")
    future = old.with_name("tiny-2031-01-01-00-00-00")
    old.rename(future)
    for path in future.glob("checkpoints/step_*"):
        os.utime(path, (2e9, 2e9))  # written before the clock was set back
    assert newest_run("tiny", tmp_path / "output") == future
    assert _command(config) == 0
    (new,) = set((tmp_path / "output").glob("tiny-*")) - {future}
    assert newest_run("tiny", tmp_path / "output") == new
    assert (tmp_path / "output" / "tiny" / "latest").resolve() == new


def test_without_the_link_the_times_of_the_checkpoints_count(tmp_path):
    runs = [tmp_path / f"tiny-2026-01-0{day}-00-00-00" for day in (1, 2)]
    for run, time in zip(runs, (2e9, 1e9), strict=True):
        folder = run / CHECKPOINTS / "step_000000001"
        folder.mkdir(parents=True)
        os.utime(folder, (time, time))
    assert newest_run("tiny", tmp_path) == runs[0]
    mark_latest(tmp_path / "deleted-2026-01-01-00-00-00")
    mark_latest(tmp_path / "tiny-2026-01-09-00-00-00")  # deleted since
    assert newest_run("tiny", tmp_path) == runs[0]
    mark_latest(runs[1])
    assert newest_run("tiny", tmp_path) == runs[1]


def test_a_folder_in_place_of_the_link_is_named(tmp_path, caplog):
    (tmp_path / "tiny" / "latest").mkdir(parents=True)  # as copying with its contents leaves it
    mark_latest(tmp_path / "tiny-2026-01-01-00-00-00")
    assert "is a folder, not the link to the latest run; remove it" in caplog.text
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["latest"]


@pytest.mark.parametrize(
    "fault", ["dataset.train.gt_folder=nowhere", "optimizer=null", "dataset.train.gt_size=512"]
)
def test_a_start_that_fails_leaves_no_folder(tmp_path, fault):
    with suppress(DataError):
        assert _command(write_config(tmp_path), fault, "dataset.train.batch_size=2") == 2
    assert not list((tmp_path / "output").glob("tiny-*"))


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    (tmp_path / "run").mkdir()
    read, write = os.pipe()
    other = os.fork()
    if other == 0:
        with lock_run(tmp_path / "run", new=False):
            os.write(write, b"held")
            signal.pause()
    assert os.read(read, 4) == b"held"
    message = f"run is in use by process {other}; wait for it"
    try:
        with pytest.raises(DataError, match=message), lock_run(tmp_path / "run", new=True):
            raise AssertionError
        assert (tmp_path / "run").is_dir()
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
    with lock_run(tmp_path / "run", new=False):  # a killed process holds nothing
        pass


def test_temporary_files_of_a_killed_run_are_removed(tmp_path):
    left = [tmp_path / ".tmp-1-abc.pdparams", tmp_path / "visual_test" / ".tmp-1-abc.png"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with lock_run(tmp_path, new=False):
        assert not any(path.exists() for path in left)


@pytest.mark.slow
def test_a_signal_while_starting_has_its_exit_code_and_leaves_nothing(tmp_path):
    """In a process of its own, as a signal that is missed would end the test."""
    program = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "  # ignored under nohup
        "from ppsr.cli.train import main; from ppsr.engine import trainer; "
        f"trainer.Trainer = lambda *_, **__: os.kill(os.getpid(), {int(signal.SIGHUP)}); "
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["-c", str(write_config(tmp_path)), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, check=False)
    assert done.returncode == 128 + signal.SIGHUP, done.stderr[-2000:]
    assert not list((tmp_path / "output").glob("tiny-*"))
