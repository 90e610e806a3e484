"""Loader workers that meet broken data."""

import multiprocessing
import os
import signal
import struct
import sys
import time

import cv2
import numpy as np
import paddle
import psutil
import pytest
from paddle.io import Dataset

from ppsr.config import check_config, load_config
from ppsr.config.schema import Load, LoaderOptions
from ppsr.datasets.gather import BadFiles
from ppsr.engine import workers
from ppsr.engine.distributed import Group
from ppsr.engine.loader import build_dataset, build_stream
from ppsr.engine.stages import load_stages
from ppsr.engine.workers import WorkerError
from ppsr.errors import ConfigError, DataError, WeightError
from ppsr.registry import DATASETS, build_generator, build_model
from ppsr.weights import write_state


class _Numbers(Dataset):
    """Index -> index; some cannot be read."""

    def __init__(self, total, broken):
        super().__init__()
        self.total, self.broken = total, broken
        self.bad = BadFiles(total)

    def __len__(self):
        return self.total

    def sample(self, key):
        return {"x": np.array([self.bad.read(key[1], self._read)], np.float32)}

    def _read(self, index):
        if index in self.broken:
            raise DataError(f"image {index} is broken")
        return index


def _stream(dataset, workers):
    options = LoaderOptions(batch_size=4, num_workers=workers, shuffle=False)
    return build_stream(dataset, options, Group(), seed=0, samples_done=0)


def _epoch(dataset, workers):
    stream = _stream(dataset, workers)
    return [float(v) for _ in range(len(dataset) // 4) for v in next(stream)["x"].numpy().reshape(-1)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 2])
def test_broken_items_are_replaced_by_the_next_with_any_number_of_workers(count):
    expected = [6.0 if index in (5,) else float(index) for index in range(40)]
    assert _epoch(_Numbers(40, {5}), count) == expected


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 2])
def test_too_many_broken_items_end_training_with_any_number_of_workers(count):
    with pytest.raises(DataError, match="2 of 40 images are broken"):
        _epoch(_Numbers(40, {5, 22}), count)


@pytest.mark.slow
def test_a_stream_that_is_given_up_leaves_no_worker_behind():
    before = set(multiprocessing.active_children())
    stream = _stream(_Numbers(40, set()), workers=2)
    next(stream)
    assert len(set(multiprocessing.active_children()) - before) == 2
    stream.close()
    assert not set(multiprocessing.active_children()) - before


class _Threads(Dataset):
    """Items hold the number of threads that OpenCV has."""

    def __len__(self):
        return 4

    def __getitem__(self, key):
        return {"gt": np.array([cv2.getNumThreads()])}


def test_opencv_has_one_thread_in_loader_workers_and_keeps_its_own_elsewhere():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        cv2.GaussianBlur(np.zeros((999, 999), np.uint8), (9, 9), 2)  # which starts OpenCV's threads
        options = LoaderOptions(batch_size=2, num_workers=1)
        batch = next(build_stream(_Threads(), options, Group(), seed=0, samples_done=0))
        assert batch["gt"].numpy().ravel().tolist() == [1, 1]
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


class _Faulty(Dataset):
    """Raises what it is given."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def __len__(self):
        return 4

    def sample(self, key):
        raise self.error


@pytest.mark.parametrize("error", [DataError("a.png is small"), MemoryError("no room"), KeyError("gt")])
def test_an_error_in_a_worker_is_the_one_that_is_raised(error, capfd):
    kind = RuntimeError if isinstance(error, KeyError) else type(error)
    with pytest.raises(kind, match=str(error)):
        next(_stream(_Faulty(error), 1))
    assert "Traceback" not in capfd.readouterr().err


class _Plain(Dataset):
    """A user's data set: knows no epochs, and gives what it is told."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.make([0.1, 0.2, 0.3, 0.4][index])


@pytest.mark.parametrize("count", [0, 1])
def test_a_data_set_without_epochs_is_read_by_index(count):
    batch = next(_stream(_Plain(lambda value: {"lq": np.full((3, 2, 2), value)}), count))
    assert batch["lq"].dtype == paddle.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda value: (value, value), r"_Plain\[\d\] is a tuple; a mapping with lq and gt"),
        (lambda value: {"lq": np.zeros((8, 8, 3))}, r"lq has the shape \(8, 8, 3\); channels come first"),
        (lambda value: value.path, r"_Plain\[\d\] failed: AttributeError.*\(test_loader\.py, line \d+\)"),
    ],
)
def test_mistakes_in_a_user_s_data_set_are_named(make, message):
    with pytest.raises(DataError, match=message):
        next(_stream(_Plain(make), 0))


def _started(dataset, count):
    """A stream that has made a batch, and its workers."""
    before = set(multiprocessing.active_children())
    stream = _stream(dataset, count)
    next(stream)
    return stream, [child for child in multiprocessing.active_children() if child not in before]


@pytest.mark.slow
def test_a_killed_worker_is_named_with_cause_and_cure():
    stream, (worker, _) = _started(_Numbers(40, set()), 2)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(10)
    with pytest.raises(WorkerError, match=rf"worker {worker.pid} was killed by signal 9 .*memory is short"):
        for _ in range(100):
            next(stream)
    assert WorkerError.exit_code == 1


class _Killed(_Numbers):
    """Ends its worker at image 8, in the middle of sending."""

    def _read(self, index):
        if index == 8:
            frame = sys._getframe()
            while "foreign" not in frame.f_locals:  # of the worker's loop over batches
                frame = frame.f_back
            os.write(frame.f_locals["pipe"].fileno(), struct.pack("!i", 1000) + b"a part")
            os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_a_worker_that_is_killed_in_the_middle_of_a_batch_ends_training(count):
    stream = _stream(_Killed(40, set()), count)
    with pytest.raises(WorkerError, match="was killed by signal 9"):
        for _ in range(10):
            next(stream)


@pytest.mark.parametrize(
    ("code", "cure"), [(-signal.SIGKILL, "lower dataset.train"), (-signal.SIGSEGV, "=0"), (3, "3")]
)
def test_the_end_of_a_worker_has_a_cure(code, cure):
    assert cure in workers._cause(8, code)


def test_workers_end_with_a_trainer_that_is_killed():
    read, write = os.pipe()
    trainer = os.fork()
    if trainer == 0:
        _kept, started = _started(_Numbers(40, set()), 2)
        os.write(write, " ".join(str(worker.pid) for worker in started).encode())
        time.sleep(60)
        os._exit(0)
    pids = [int(pid) for pid in os.read(read, 100).split()]
    assert len(pids) == 2
    ended = [psutil.Process(pid) for pid in pids]
    os.kill(trainer, signal.SIGKILL)
    os.waitpid(trainer, 0)
    until = time.monotonic() + 5
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in ended):
        assert time.monotonic() < until, "workers outlive their trainer"
        time.sleep(0.05)


SIZES = {"num_feat": 4, "num_block": 1, "upscale": 2}


@pytest.fixture
def static(tmp_path):
    """Weights of a network without experts."""
    net = build_generator("MSRResNet", **SIZES)
    write_state(tmp_path / "static.pdparams", {key: value.numpy() for key, value in net.state_dict().items()})
    return Load(path=str(tmp_path / "static.pdparams"), expand_experts=True)


def _dynamic():
    generator = {"name": "CDDNet", "num_models": 3, **SIZES}
    predictor = {"name": "DegradationPredictor", "nf": 4, "num_params": 33, "num_networks": 3}
    losses = {"pixel_criterion": {"name": "L1Loss"}}
    return build_model({"name": "CDDNet", "generator": generator, "predictor": predictor, **losses})


def test_a_static_network_starts_every_expert_of_a_dynamic_one(static):
    model = _dynamic()
    load_stages(model, {"generator": static.model_copy(update={"partial": True})})
    weight = model.nets["generator"].state_dict()["conv_first.weight"].numpy()
    for expert in weight[1:]:
        np.testing.assert_array_equal(expert, weight[0])


@pytest.mark.parametrize("nets", [{""}, {"generator", "predictor"}])
def test_a_blind_network_in_one_file_starts_its_parts(nets, tmp_path):
    published, model = _dynamic(), _dynamic()
    state = {key: value.numpy() for key, value in published.inference_net().state_dict().items()}
    write_state(tmp_path / "blind.safetensors", state)
    load_stages(model, {net: Load(path=str(tmp_path / "blind.safetensors")) for net in nets})
    for key, value in state.items():
        np.testing.assert_array_equal(model.inference_net().state_dict()[key].numpy(), value)


def test_a_network_without_experts_is_named(static):
    losses = {"pixel_criterion": {"name": "L1Loss"}}
    model = build_model({"name": "SRModel", "generator": {"name": "MSRResNet", **SIZES}, **losses})
    with pytest.raises(ConfigError, match=r"load\.generator\.expand_experts: MSRResNet has no experts"):
        load_stages(model, {"generator": static})


def test_weights_of_another_scale_name_the_option_that_takes_the_rest(tmp_path):
    state = build_generator("SRVGGNetCompact", num_feat=4, num_conv=1, upscale=2).state_dict()
    write_state(tmp_path / "x2.pdparams", {key: value.numpy() for key, value in state.items()})
    generator = {"name": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 4}
    model = build_model({"name": "SRModel", "generator": generator, "criterions": [{"name": "L1Loss"}]})
    for net, option in (("generator", "load.generator.partial=true"), ("", "--load-partial")):
        with pytest.raises(WeightError, match=f"(?s)x2.*x4.*{option}"):
            load_stages(model, {net: Load(path=str(tmp_path / "x2.pdparams"))})


@pytest.mark.parametrize("config", ["realrrdb_x4", "realrrdb_dropout_x4", "realrrdb_align_x4"])
def test_every_recipe_of_a_network_starts_from_its_weights(config, tmp_path):
    size = {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    state = {
        key: value.numpy() for key, value in build_generator("RRDBNet", scale=4, **size).state_dict().items()
    }
    write_state(tmp_path / "published.pdparams", state)
    small = [f"model.generator.{key}={value}" for key, value in size.items()]
    loaded = load_config(config, [f"load={tmp_path / 'published.pdparams'}", *small])
    model = build_model(loaded["model"])
    load_stages(model, check_config(loaded).load)
    for key, value in model.nets["generator"].state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[key])


def test_a_dataset_of_your_own_needs_no_seed(monkeypatch):
    monkeypatch.setitem(DATASETS._objects, "Own", lambda *, count: range(count))
    dataset, options = build_dataset({"name": "Own", "count": 3, "batch_size": 2}, "dataset.train", seed=1)
    assert (len(dataset), options.batch_size) == (3, 2)
