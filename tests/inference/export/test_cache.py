"""What `--backend auto` keeps: its choices, and the exports of weights."""

import os

import numpy as np
import paddle
import pytest

from ppsr.inference.backends import select
from ppsr.inference.backends.benchmark import BackendResult
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export import cache as export_cache
from ppsr.inference.export.artifact import Export
from ppsr.registry import build_generator
from tests.inference.exports import Doubling

pytestmark = pytest.mark.slow

OPTIONS = BackendOptions(device="cpu", threads=1)


def _network(seed: int = 0, **changes: int):
    paddle.seed(seed)
    return build_generator("SRVGGNetCompact", **{"num_feat": 4, "num_conv": 1, "upscale": 2, **changes})


@pytest.fixture
def done(tmp_path, monkeypatch):
    """What is exported and timed, in an empty cache; Paddle Inference is always the fastest."""
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))
    monkeypatch.setattr(select.onnx_graph, "missing_packages", lambda: ["paddle2onnx"])
    done: list[str] = []
    export = export_cache.export_network

    def exported(*args: object, **options: object) -> Export:
        done.append("export")
        return export(*args, **options)

    def timed(*_: object, **__: object) -> list[BackendResult]:
        done.append("time")
        return [BackendResult("inference", error=0.0, seconds=1e-9)]

    monkeypatch.setattr(export_cache, "export_network", exported)
    monkeypatch.setattr(select, "benchmark_backends", timed)
    return done


def test_the_second_start_neither_exports_nor_times_whatever_came_between(done):
    networks = [_network(), _network(seed=1), _network(upscale=3)]
    for net in networks:
        open_backend(net, "auto", OPTIONS)
    assert done == ["export", "time"] * 3
    x = np.random.default_rng(0).random((1, 3, 9, 8), dtype=np.float32)
    for net, same in zip(networks, [_network(), _network(seed=1), _network(upscale=3)], strict=True):
        backend = open_backend(same, "auto", OPTIONS)
        assert backend.name == "inference"
        np.testing.assert_allclose(backend.run(x), net(paddle.to_tensor(x)).numpy(), atol=1e-5)
    assert done == ["export", "time"] * 3
    open_backend(_network(), "auto", BackendOptions(device="cpu", threads=2))
    assert done == [*["export", "time"] * 3, "time"]


def test_input_that_repays_an_export_is_computed_by_the_fastest_backend():
    pixels = [1920 * 1080] * 2
    assert select.default_backend(pixels[:1], OPTIONS) is None
    assert select.default_backend(pixels, OPTIONS) == "auto"
    assert select.default_backend(pixels, BackendOptions(device="cpu", precision="bf16")) is None
    assert select.default_backend(pixels, BackendOptions(device="gpu:0")) is None
    further = iter([*pixels, 0])
    select.default_backend(further, OPTIONS)
    assert next(further) == 0  # not counted, as there were enough


def test_a_network_that_cannot_be_exported_runs_on_paddle(done, monkeypatch, caplog):
    def refused(*_: object, **__: object) -> Export:
        raise ValueError("loops are not supported")

    monkeypatch.setattr(export_cache, "export_network", refused)
    backend = open_backend(_network(), "auto", OPTIONS)
    assert backend.name == "paddle"
    assert "SRVGGNetCompact cannot be exported, so it runs on paddle: loops are not" in caplog.text
    with pytest.raises(ValueError, match="loops"):
        open_backend(_network(), "inference", OPTIONS)


def test_a_damaged_export_is_made_again(done, caplog):
    first = open_backend(_network(), "auto", OPTIONS)
    assert isinstance(first, ExportedBackend)
    first.export.path(".pdiparams").write_bytes(b"")
    assert open_backend(_network(), "auto", OPTIONS).name == "inference"
    assert "the cached export cannot be used, exporting again" in caplog.text
    assert done.count("export") == 2
    open_backend(_network(), "auto", OPTIONS)
    assert done.count("export") == 2


def test_a_network_of_other_code_is_not_kept(done, tmp_path):
    for _ in range(2):
        backend = open_backend(Doubling(), "auto", OPTIONS)
        assert isinstance(backend, ExportedBackend)
        assert backend.temporary_folder is not None
    assert done.count("export") == 2
    assert not (tmp_path / "cache" / "exports").exists()


def test_a_cache_that_cannot_be_written_is_done_without(done, tmp_path):
    (tmp_path / "cache").write_text("")
    for _ in range(2):
        assert open_backend(_network(), "auto", OPTIONS).name == "inference"
    assert done == ["export", "time"] * 2


def test_exports_unused_for_longest_and_those_of_killed_processes_are_removed(done, tmp_path, monkeypatch):
    old = open_backend(_network(), "auto", OPTIONS)
    assert isinstance(old, ExportedBackend)
    folder = old.export.prefix.parent
    for name, age in ((".export-killed", 2e5), (".export-running", 10)):
        (folder.parent / name).mkdir()
        os.utime(folder.parent / name, (folder.stat().st_mtime - age,) * 2)
    size = sum(path.stat().st_size for path in folder.iterdir())
    monkeypatch.setattr(export_cache, "_MOST_BYTES", round(2.5 * size))
    os.utime(folder, (1, 1))
    open_backend(_network(seed=1), "auto", OPTIONS)
    open_backend(_network(), "auto", OPTIONS)  # used again
    open_backend(_network(seed=2), "auto", OPTIONS)
    assert folder.is_dir()
    assert {path.name for path in folder.parent.glob(".*")} == {".export-running"}
    assert len([path for path in folder.parent.glob("[0-9a-f]*")]) == 2
