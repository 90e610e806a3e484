"""`--backend auto` for weights: it exports them, and keeps its choices."""

import logging

import numpy as np
import paddle
import pytest

from ppsr.inference.backends import select
from ppsr.inference.backends.benchmark import BackendResult
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export.artifact import Export
from ppsr.registry import build_generator

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
    export = select.export_network

    def exported(*args: object, **options: object) -> Export:
        done.append("export")
        return export(*args, **options)

    def timed(*_: object, **__: object) -> list[BackendResult]:
        done.append("time")
        return [BackendResult("inference", error=0.0, seconds=1e-9)]

    monkeypatch.setattr(select, "export_network", exported)
    monkeypatch.setattr(select, "benchmark_backends", timed)
    return done


def test_weights_are_exported_and_computed_by_the_fastest_backend(done):
    net, x = _network(), np.random.default_rng(0).random((1, 3, 9, 8), dtype=np.float32)
    backend = open_backend(net, "auto", OPTIONS)
    assert isinstance(backend, ExportedBackend)
    assert backend.name == "inference"
    np.testing.assert_allclose(backend.run(x), net(paddle.to_tensor(x)).numpy(), atol=1e-5)
    assert done == ["export", "time"]


def test_an_export_is_timed_once_on_a_machine(done, tmp_path):
    export = select.export_network(_network(), tmp_path / "net", formats=["paddle"], verify=())
    for _ in range(2):
        assert open_backend(export.prefix, "auto", OPTIONS).name == "inference"
    assert done == ["export", "time"]
    open_backend(export.prefix, "auto", BackendOptions(device="cpu", threads=2))
    assert done == ["export", "time", "time"]


def test_a_network_that_cannot_be_exported_runs_on_paddle(done, monkeypatch, caplog):
    def refused(*_: object, **__: object) -> Export:
        raise ValueError("loops are not supported")

    monkeypatch.setattr(select, "export_network", refused)
    backend = open_backend(_network(), "auto", OPTIONS)
    assert backend.name == "paddle"
    assert "SRVGGNetCompact cannot be exported, so it runs on paddle: loops are not" in caplog.text
    with pytest.raises(ValueError, match="loops"):
        open_backend(_network(), "inference", OPTIONS)


def test_a_cache_that_cannot_be_written_is_done_without(done, tmp_path):
    (tmp_path / "cache").write_text("")
    export = select.export_network(_network(), tmp_path / "net", formats=["paddle"], verify=())
    for _ in range(2):
        assert (
            open_backend(export.prefix, "auto", BackendOptions("cpu", threads=1, trust=True)).name
            == "inference"
        )
    assert done == ["export", "time", "time"]


def test_bf16_by_another_backend_gives_no_warning_of_paddle(done, monkeypatch, caplog):
    monkeypatch.setattr(select, "_open_export", lambda export, name, *_: name)
    options = BackendOptions(device="cpu", threads=1, precision="bf16")
    assert open_backend(_network(), "auto", options) == "inference"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
