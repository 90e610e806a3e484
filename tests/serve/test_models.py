"""Models of the command line and of the catalogue."""

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError, WeightError
from ppsr.inference.export.writer import export_network
from ppsr.inference.upscaler import Upscaler
from ppsr.serve import service
from ppsr.serve.limits import Limits, RequestError
from ppsr.serve.models import ModelSource, catalogue_models, named_models
from ppsr.serve.service import Service
from ppsr.serve.worker import Job, Task, open_model
from ppsr.weights.catalogue import find_entry
from tests.inference.helpers import small_network


@pytest.fixture
def weights(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.pdparams").write_bytes(b"")
    return [tmp_path / "a.pdparams", tmp_path / "b.pdparams"]


def _files(load, configs=()):
    return {name: (list(model.files), model.config) for name, model in named_models(load, configs).items()}


def test_models_are_named_by_the_user_or_by_their_file(weights, tmp_path):
    first, second = weights
    config, other = tmp_path / "c.yaml", tmp_path / "d.yaml"
    assert _files([str(first), f"sharp={second}"]) == {"a": ([first], None), "sharp": ([second], None)}
    both = list(map(str, weights))
    assert _files(both, [config]) == {"a": ([first], config), "b": ([second], config)}
    assert [c for _, c in _files(both, [config, other]).values()] == [config, other]
    assert _files([f"blind={first}+{second}"]) == {"blind": ([first, second], None)}


def test_exports_run_folders_names_and_odd_file_names_are_found(tmp_path, monkeypatch):
    odd, run, got = tmp_path / "lr=1.pdparams", tmp_path / "run", tmp_path / "RealESRGAN_x4plus.pth"
    exported = tmp_path / "exported"
    run.mkdir()
    exported.mkdir()
    for path in (odd, exported / "net.info.json", run / "best_weight.pdparams", got):
        path.touch()
    monkeypatch.setattr("ppsr.weights.fetch.get_entry", lambda entry: got)
    load = [str(odd), str(exported / "net"), str(exported), str(run), "realesr-general-x4v3"]
    found = named_models(load, [])
    assert list(found) == ["lr=1", "net", "exported", "run", "realesr-general-x4v3"]
    assert [str(model.files[0]) for model in found.values()] == load
    assert found["realesr-general-x4v3"].partner == "realesr-general-wdn-x4v3"


def test_models_of_one_name_and_missing_files_are_refused(weights, tmp_path):
    with pytest.raises(ConfigError, match="two models are called 'a'"):
        named_models([str(weights[0]), f"a={weights[1]}"], [])
    with pytest.raises(ConfigError, match="no weight file and no exported network"):
        named_models([f"x={tmp_path / 'none.pdparams'}"], [])
    with pytest.raises(WeightError, match="no published weights"):
        named_models(["realesrgan-x5"], [])
    with pytest.raises(ConfigError, match="2 configs for 1"):
        named_models([str(weights[0])], [tmp_path, tmp_path])


def test_the_catalogue_lists_what_needs_no_person(tmp_path, monkeypatch):
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))
    found = catalogue_models()
    assert next(iter(found)) == "realesrgan-x4plus"
    assert found["srvgg-8x32-x4"].download == 0  # comes with ppsr
    general = found["realesr-general-x4v3"]
    assert (general.scale, general.download) == (4, find_entry("realesr-general-x4v3").size)
    assert general.partner in found
    assert "drct-l-x4" not in found  # behind a page
    assert all(model.scale for model in found.values())  # no parameters of a metric


def test_weights_and_exports_are_opened(tmp_path, rng):
    net = small_network()
    paddle.save(net.state_dict(), str(tmp_path / "net.pdparams"))
    pixels = rng.integers(0, 256, (11, 13, 3), dtype=np.uint8)
    given = {"backend": None, "precision": "fp32", "trust": False}
    opened = open_model(ModelSource((tmp_path / "net.pdparams",)), None, **given)
    np.testing.assert_array_equal(opened(pixels), Upscaler(net)(pixels))
    with pytest.raises(ConfigError, match="no second file"):
        open_model(ModelSource((tmp_path / "net.pdparams",)), 0.5, **given)


@pytest.mark.slow
def test_an_exported_network_is_opened_by_the_fastest_backend(tmp_path):
    export_network(small_network(), tmp_path / "net", formats=["paddle"])
    model = named_models([f"net={tmp_path}"], [])["net"]
    assert open_model(model, None, backend=None, precision="fp32", trust=False).backend.name == "inference"
    with pytest.raises(ConfigError, match="backend paddle runs networks from weights"):
        open_model(model, None, backend="paddle", precision="fp32", trust=False)


class Echo:
    """Stands where the process is; nothing is computed in these tests."""

    async def run(self, task, job):
        return {"computed": task.model.files[0].name}


def _run(name, get_entry, monkeypatch, *, strength=None, jobs=1):
    general = find_entry(name)
    listed = {
        name: ModelSource((Path(name),), download=100, partner=general.partner),
        general.partner: ModelSource((Path(general.partner),), download=100),
    }
    monkeypatch.setattr(service, "get_entry", get_entry)

    async def both():
        made = Service(Echo(), listed, Limits())
        task = Task(Path("image"), Path("out.png"), listed[name], strength=strength)
        runs = (made.run(name, task, Job()) for _ in range(jobs))
        return await asyncio.gather(*runs, return_exceptions=True)

    return asyncio.run(both()), listed


def test_a_model_is_downloaded_once_before_its_first_use(monkeypatch):
    asked = []

    def get_entry(entry, progress):
        asked.append(entry.name)
        time.sleep(0.1)

    name = "realesr-general-x4v3"
    results, listed = _run(name, get_entry, monkeypatch, jobs=2)
    assert [result["computed"] for result in results] == [name] * 2
    assert asked == [name]
    assert listed[name].download == 0
    asked.clear()
    _run(name, get_entry, monkeypatch, strength=0.5)
    assert asked == [name, "realesr-general-wdn-x4v3"]


def test_a_download_whose_request_has_gone_is_joined_by_the_next_one(monkeypatch):
    name, asked, finish = "realesr-general-x4v3", [], threading.Event()

    def get_entry(entry, progress):
        asked.append(entry.name)
        finish.wait(10)

    async def run():
        made = Service(Echo(), {name: ModelSource((Path(name),), download=100)}, Limits())
        task = Task(Path("image"), Path("out.png"), made.models[name])
        first = asyncio.create_task(made.run(name, task, Job()))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.create_task(made.run(name, task, Job()))
        await asyncio.sleep(0.05)
        finish.set()
        assert (await second)["computed"] == name
        return made.models[name].download

    monkeypatch.setattr(service, "get_entry", get_entry)
    assert asyncio.run(run()) == 0
    assert asked == [name]


def test_a_failed_download_is_answered(monkeypatch):
    def get_entry(entry, progress):
        raise WeightError("no connection to github.com")

    (error,), listed = _run("realesr-general-x4v3", get_entry, monkeypatch)
    assert isinstance(error, RequestError)
    assert (error.status, error.code, str(error)) == (502, "no_download", "no connection to github.com")
    assert listed["realesr-general-x4v3"].download == 100


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_limit_that_limits_nothing_is_refused(value):
    with pytest.raises(ConfigError, match="max_seconds"):
        Limits(max_seconds=value)


def test_an_address_of_the_network_gets_half_of_the_places():
    async def run():
        made = Service(Echo(), {"a": ModelSource((Path("a"),))}, Limits(max_requests=4))
        task = Task(Path("image"), Path("out.png"), made.models["a"])
        async with made._turn:
            addresses = ["10.0.0.1"] * 3 + ["10.0.0.2"]
            runs = []
            for number, address in enumerate(addresses):
                job = made.jobs[str(number)] = Job(address)
                runs.append(asyncio.create_task(made.run("a", task, job)))
            await asyncio.sleep(0.01)
            return [run.done() and run.exception().code for run in runs]

    assert asyncio.run(run()) == [False, False, "too_many_requests", False]
