"""What is on the disk when a run ends badly, and that saving does not hold training up."""

import json
import threading

import numpy as np
import paddle
import pytest

from ppsr.cli.train import main
from ppsr.engine import checkpoint
from ppsr.engine.checkpoint import CheckpointStore
from ppsr.engine.run import CHECKPOINTS
from ppsr.engine.saver import Saver
from ppsr.engine.step import TrainStep
from ppsr.engine.trainer import OutOfMemoryError
from ppsr.errors import DataError, WeightError
from ppsr.memory import resident_memory
from ppsr.solver.ema import EMA
from ppsr.weights import dump_state, read_weight_file
from tests.engine.helpers import before_steps, fingerprint, make_trainer, validated_trainer, write_config

STATE = {"weights.pdparams": {"generator": {"w": np.arange(6, dtype="f4")}}, "state.json": b"{}"}
SHORT = ["total_iters=6", "dataset.train.queue_size=0", "snapshot_config.interval=100"]


def _steps(folder):
    return [int(path.name.removeprefix("step_")) for path in CheckpointStore(folder / CHECKPOINTS).all()]


def test_the_due_checkpoint_is_written_before_the_validation(tmp_path):
    trainer = validated_trainer(tmp_path, [1.0])

    def fail(*_, **__):
        raise RuntimeError("no validation")

    trainer.validator.score = fail
    with pytest.raises(RuntimeError, match="no validation"):
        trainer.train()
    assert _steps(tmp_path / "run") == [2]


def test_an_error_between_two_steps_saves_the_finished_ones(tmp_path, caplog):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", SHORT)

    def fail(step):
        if step == 3:
            raise DataError("too many broken images")

    before_steps(trainer, fail)
    with caplog.at_level("INFO", "ppsr"), pytest.raises(DataError, match="broken images"):
        trainer.train()
    assert _steps(tmp_path / "run") == [3]
    assert "3 finished steps are saved; resume with --resume auto" in caplog.text
    again = make_trainer(tmp_path / "tiny.yaml", tmp_path / "run", SHORT)
    assert again.resume()
    assert again.train() == 0
    straight = make_trainer(tmp_path / "tiny.yaml", tmp_path / "straight", SHORT)
    assert straight.train() == 0
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "straight")


def test_an_error_in_the_middle_of_a_step_saves_nothing(tmp_path):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", SHORT)

    def fail(*_):
        raise MemoryError

    trainer.state.step = 1
    trainer.state.train_step.ema.update = fail  # comes after the update of the networks
    with pytest.raises(OutOfMemoryError):
        trainer.train()
    assert _steps(tmp_path / "run") == []


def test_memory_that_runs_out_is_one_line_and_saves_the_finished_steps(tmp_path, monkeypatch, capsys):
    run = TrainStep.run

    def limited(self, batches, step, seed, **options):
        if step == 2:
            raise MemoryError("(ResourceExhausted) Fail to alloc memory of 9 size, error code is 12.")
        return run(self, batches, step, seed, **options)

    monkeypatch.setattr(TrainStep, "run", limited)
    assert main(["-c", str(write_config(tmp_path)), "--device", "cpu", "-o", *SHORT]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: not enough memory after step 2: lower dataset.train.batch_size, gt_size")
    (run_folder,) = (tmp_path / "output").glob("tiny-*")
    assert _steps(run_folder) == [2]


@pytest.mark.parametrize(
    ("values", "interval", "steps", "best"),
    [([5.0, 9.0, 1.0, 2.0], 2, [4, 8], 4), ([3.0, 1.0, 7.0], 2, [6], 6), ([9.0, 1.0, 2.0], 5, [2, 6], 2)],
    ids=["outlives newer ones", "is the last", "is saved though not due"],
)
def test_the_checkpoint_of_the_best_step_stays(tmp_path, values, interval, steps, best):
    trainer = validated_trainer(tmp_path, values, [f"snapshot_config.interval={interval}"])
    assert trainer.train() == 0
    assert _steps(tmp_path / "run") == steps
    assert trainer.saver.store.best().name == f"step_{best:09d}"
    marked = read_weight_file(tmp_path / "run" / "best_weight.pdparams").nets["generator"]
    saved = read_weight_file(tmp_path / "run" / f"iter_{best}_weight.pdparams").nets["generator"]
    for key, value in saved.items():
        np.testing.assert_array_equal(marked[key], value)


def test_a_resumed_run_repeats_a_validation_that_was_interrupted_and_knows_the_best(tmp_path):
    trainer = validated_trainer(tmp_path, [5.0, 1.0, 2.0])
    means = trainer.validator.means

    def die_at_4(scores):
        if trainer.state.step == 4:
            raise RuntimeError("killed")
        return means(scores)

    trainer.validator.means = die_at_4
    with pytest.raises(RuntimeError, match="killed"):
        trainer.train()
    again = validated_trainer(tmp_path, [1.0, 2.0, 0.0])
    assert again.resume()
    assert (again.state.step, again.state.best, again.state.best_step) == (4, 5.0, 2)
    assert again.train() == 0
    assert again.validator.validated == [4, 6]
    third = validated_trainer(tmp_path, [8.0, 8.0, 8.0])
    third.resume()
    assert third.train() == 0
    assert third.validator.validated == []


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    reached, write = threading.Event(), checkpoint._write

    def slow(path, content):
        if path.parent.name.startswith("step_000000002"):
            assert reached.wait(30), "training waited for the disk"
        return write(path, content)

    monkeypatch.setattr(checkpoint, "_write", slow)
    options = [*SHORT, "snapshot_config.interval=2", "total_iters=4", "snapshot_config.keep=5"]
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", options)
    before_steps(trainer, lambda step: step == 3 and reached.set())
    assert trainer.train() == 0
    monkeypatch.setattr(checkpoint, "_write", write)
    sync = make_trainer(tmp_path / "tiny.yaml", tmp_path / "sync", [*options, "snapshot_config.sync=true"])
    assert sync.train() == 0
    assert _steps(tmp_path / "run") == _steps(tmp_path / "sync") == [2, 4]
    for step in ("step_000000002", "step_000000004"):
        for name in ("weights.pdparams", "optimizers.pdopt"):
            first, second = ((tmp_path / run / CHECKPOINTS / step / name) for run in ("run", "sync"))
            assert first.read_bytes() == second.read_bytes()


def test_an_error_of_the_writing_thread_is_raised(tmp_path):
    saver = Saver(tmp_path, keep=1, total=1)
    saver.save(1, {**STATE, "broken": {"w": threading.Lock()}}, networks={})
    with pytest.raises(TypeError):
        saver.close()


def test_a_failed_save_is_followed_by_one_that_works(tmp_path, monkeypatch, caplog):
    saver, write = Saver(tmp_path, keep=2, total=2), checkpoint._write

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    saver.save(1, STATE, networks={})
    saver.wait()
    assert (saver.written, saver.failed) == (None, 1)
    monkeypatch.setattr(checkpoint, "_write", write)
    saver.save(2, STATE, networks={})
    saver.close()
    assert (saver.written, saver.failed) == (2, 1)
    files, _ = saver.store.load(saver.store.latest())
    assert files["weights.pdparams"] == dump_state(STATE["weights.pdparams"])
    assert "step 1 not written, training continues" in caplog.text


def test_a_copy_of_the_state_is_what_is_written(tmp_path, monkeypatch):
    trainer = make_trainer(write_config(tmp_path), tmp_path / "run", SHORT)
    generator = trainer.state.model.nets["generator"]
    before = {key: value.numpy() for key, value in generator.state_dict().items()}
    go, write = threading.Event(), checkpoint._write
    monkeypatch.setattr(checkpoint, "_write", lambda *given: go.wait(30) and write(*given))
    trainer.save()
    for parameter in generator.parameters():
        parameter.set_value(parameter * 0)
    go.set()
    trainer.saver.close()
    stored = read_weight_file(tmp_path / "run" / "iter_0_weight.pdparams").nets["generator"]
    for key, value in before.items():
        np.testing.assert_array_equal(stored[key], value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("optimizer={name: SGD, net_names: [generator, predictor]}", "Adam as the optimizer of 'optim'.*SGD"),
        ("model.predictor={name: Other}", r"DegradationPredictor as the network of 'predictor'.*Linear"),
        ("precision", r"O1 in float16 as precision.*float32"),
    ],
)
def test_another_optimizer_network_or_precision_is_refused_naming_both(tmp_path, change, named):
    config = write_config(tmp_path)
    make_trainer(config, tmp_path / "run", [*SHORT, "total_iters=1"]).train()
    path = tmp_path / "run" / CHECKPOINTS / "step_000000001"
    again = make_trainer(config, tmp_path / "run", [*SHORT, *([change] if "optimizer" in change else [])])
    files, _ = again.saver.store.load(path)
    if "predictor" in change:
        again.state.model.nets["predictor"] = paddle.nn.Linear(1, 1)
    if change == "precision":
        state = json.loads(files["state.json"])
        state["built"]["precision"] = "O1 in float16"
        files["state.json"] = json.dumps(state).encode()
    before = again.state.model.nets["generator"].state_dict()["conv_first.weight"].numpy()
    with pytest.raises(WeightError, match=named):
        again.state.restore(files)
    after = again.state.model.nets["generator"].state_dict()["conv_first.weight"].numpy()
    np.testing.assert_array_equal(after, before)


def test_a_network_of_another_size_is_refused_in_one_line(tmp_path, caplog):
    config = write_config(tmp_path)
    make_trainer(config, tmp_path / "run", [*SHORT, "total_iters=1"]).train()
    again = make_trainer(config, tmp_path / "run", [*SHORT, "model.generator.num_feat=6"])
    with pytest.raises(WeightError, match=r"other shapes .*\(num_feat was 4, now 6\); keep it") as caught:
        again.resume()
    assert "\n" not in str(caught.value)
    assert "num_feat" not in caplog.text


def test_length_rate_schedule_and_batch_may_change_when_a_run_is_resumed(tmp_path):
    config = write_config(tmp_path)
    make_trainer(config, tmp_path / "run", [*SHORT, "total_iters=1"]).train()
    changed = ["total_iters=3", "lr_scheduler={name: ConstantLR, learning_rate: 1e-4}"]
    changed += ["dataset.train.batch_size=1", "optimizer.beta2=0.9"]
    again = make_trainer(config, tmp_path / "run", [*SHORT, *changed])
    assert again.resume()
    assert again.train() == 0
    assert again.state.step == 3


def test_a_copy_of_averaged_networks_takes_no_more_than_their_size(tmp_path):
    net = paddle.nn.LayerList([paddle.nn.Linear(512, 128, bias_attr=False) for _ in range(64)])  # 16 MB
    state = make_trainer(write_config(tmp_path), tmp_path / "run", SHORT).state
    state.model.ema = EMA({"net": net}, decay=0.5, net_names=["net"]).nets
    before = resident_memory()
    weights = state.weights()["net_ema"]
    assert sum(value.nbytes for value in weights.values()) == 2**24
    assert resident_memory() - before < 2**27  # it was 64 times 16 MB
