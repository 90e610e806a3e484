"""Backend ncnn: networks written by our own writer, compared with dynamic mode, refused when altered."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.inference.backends.base import PaddleBackend, apply_backend
from ppsr.inference.backends.benchmark import installed
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export.artifact import Export
from ppsr.inference.export.writer import export_network
from ppsr.inference.upscaler import Upscaler
from tests.inference.exports import altered
from tests.networks import network

pytest.importorskip("ncnn")

CPU = BackendOptions(threads=1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RRDBNet", {"scale": 4}),
        ("RRDBNet", {"scale": 2}),  # folds its input
        ("RRDBNet", {"scale": 2, "unshuffle": 1}),
        ("SRVGGNetCompact", {"upscale": 4}),
        ("SRVGGNetCompact", {"act_type": "relu"}),
        ("SRVGGNetCompact", {"act_type": "leakyrelu"}),
        ("SRVGGNetCompact", {"upscale": 4, "outscale": 3}),
    ],
)
def test_an_export_equals_the_network_at_any_size(name, arguments, tmp_path, rng):
    net = network(name, **arguments)
    export_network(net, tmp_path / "net", formats=["ncnn"], verify=())
    backend = open_backend(tmp_path / "net", "ncnn", CPU)
    for shape in ((1, 3, 5, 22), (3, 3, 37, 40)):
        x = rng.random(shape, dtype=np.float32)
        # Winograd's transforms of tiles of 6 x 6 lose less than a digit of float32's seven
        np.testing.assert_allclose(apply_backend(backend, x), apply_backend(PaddleBackend(net), x), atol=2e-5)


def test_tiles_equal_the_whole_image(rng):
    net = network("SRVGGNetCompact")
    image = rng.random((50, 41, 4), dtype=np.float32)
    upscaler = Upscaler(net, backend="ncnn", options=CPU, tile=16)
    assert upscaler.backend.name == "ncnn"
    np.testing.assert_allclose(upscaler(image), Upscaler(net, tile=0)(image), atol=2e-5)


def test_ncnn_is_a_candidate_of_auto_where_its_files_are(tmp_path, monkeypatch):
    monkeypatch.setenv("PPSR_HOME", str(tmp_path / "home"))
    net = network("SRVGGNetCompact")
    export_network(net, tmp_path / "net", formats=["ncnn"], verify=["ncnn"])
    export = Export(tmp_path / "net")
    assert [r["backend"] for r in export.entries["verified"]] == ["ncnn"]
    assert installed(export, BackendOptions()) == ["ncnn"]
    assert installed(export, BackendOptions(device="gpu")) == []
    assert open_backend(tmp_path / "net", "auto", CPU).note.startswith("the fastest of ncnn")


def test_networks_without_an_ncnn_form_and_gpus_are_refused(tmp_path):
    for net in (network("MSRResNet"), network("RRDBNet", plus=True)):
        with pytest.raises(ConfigError, match="has no ncnn form"):
            export_network(net, tmp_path / "net", formats=["ncnn"], verify=())
    export_network(network("SRVGGNetCompact"), tmp_path / "net", formats=["ncnn"], verify=())
    with pytest.raises(ConfigError, match="computes on the CPU"):
        open_backend(tmp_path / "net", "ncnn", BackendOptions(device="gpu"))
    with pytest.raises(ConfigError, match="in fp32, not in bf16"):
        open_backend(tmp_path / "net", "ncnn", BackendOptions(precision="bf16"))


def _altered(folder: Path, old: str, new: str) -> Path:
    """The export with another graph, whose digest fits."""
    export_network(network("SRVGGNetCompact"), folder / "net", formats=["ncnn"], verify=())
    graph = (folder / "net.ncnn.param").read_text()
    assert old in graph
    return altered(folder / "net", {".ncnn.param": graph.replace(old, new, 1).encode()})


@pytest.mark.parametrize("new", ["Convolution3D   ", "PReLU           "])
def test_a_graph_of_no_known_network_reaches_no_runtime(new, tmp_path, monkeypatch):
    prefix = _altered(tmp_path, "Convolution     ", new)
    monkeypatch.setattr("ncnn.Net", None)
    with pytest.raises(DataError, match=r"is refused: .*--trust"):
        open_backend(prefix, "ncnn", CPU)


def test_a_graph_that_computes_something_else_is_refused(tmp_path):
    """It is a known network's, with relu in place of prelu's numbers: the reference outputs decide."""
    other = network("SRVGGNetCompact", seed=1)
    export_network(other, tmp_path / "other", formats=["ncnn"], verify=())
    export_network(network("SRVGGNetCompact"), tmp_path / "net", formats=["ncnn"], verify=())
    content = (tmp_path / "other.ncnn.bin").read_bytes()
    (tmp_path / "net.ncnn.bin").write_bytes(content)
    with pytest.raises(DataError, match="not the file that was exported"):
        open_backend(tmp_path / "net", "ncnn", CPU)
    altered(tmp_path / "net", {".ncnn.bin": content})
    with pytest.raises(DataError, match="does not compute SRVGGNetCompact as it was exported"):
        open_backend(tmp_path / "net", "ncnn", CPU)


def test_an_extraction_that_fails_is_lack_of_memory(tmp_path, monkeypatch):
    export_network(network("SRVGGNetCompact"), tmp_path / "net", formats=["ncnn"], verify=())
    backend = open_backend(tmp_path / "net", "ncnn", CPU)
    monkeypatch.setattr("ncnn.Extractor.extract", lambda *_: (-100, None))
    with pytest.raises(MemoryError, match="code -100"):
        backend.run(paddle.zeros([1, 3, 8, 8]).numpy())
