"""Upscaling by exported networks and backends."""

import numpy as np
import pytest

from ppsr.errors import ConfigError, WeightError
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.export import onnx_graph
from ppsr.inference.export.writer import export_network
from ppsr.inference.network import load_network
from ppsr.inference.upscaler import Upscaler
from ppsr.memory import resident_memory
from tests.inference.helpers import Repeat, small_network


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network and its Paddle graph."""
    net = small_network()
    folder = tmp_path_factory.mktemp("export")
    export_network(net, folder / "net", formats=["paddle"], verify=())
    return net, folder


def test_exported_network_upscales_as_the_network_does(exported, rng):
    net, folder = exported
    image = rng.random((21, 34, 4), dtype=np.float32)
    expected = Upscaler(net)(image)
    for place in (folder, folder / "net", str(folder / "net.pdiparams")):
        upscaler = Upscaler(place, backend="inference", options=BackendOptions(threads=1))
        assert upscaler.backend.name == "inference"
        np.testing.assert_allclose(upscaler(image), expected, atol=1e-5)
    tiled = Upscaler(folder, backend="inference", tile=8, overlap=net.receptive_radius)
    np.testing.assert_allclose(tiled(image), expected, atol=1e-5)


def test_memory_of_an_exported_network_is_measured(exported):
    upscaler = Upscaler(exported[1], backend="inference", max_memory=resident_memory() + 300_000_000)
    plan = upscaler.plan(2000, 3000)
    assert plan.count > 1
    assert plan.memory <= 300_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["auto", "inference", "onnxruntime", "openvino"])
def test_network_upscales_on_every_backend(name, rng):
    if name in ("onnxruntime", "openvino"):
        pytest.importorskip(name)
        if onnx_graph.missing_packages():
            pytest.skip("the extra onnx is not installed")
    net = small_network("DRNGenerator")
    image = rng.random((13, 18, 3), dtype=np.float32)
    upscaler = Upscaler(net, backend=name, options=BackendOptions(threads=1))
    np.testing.assert_allclose(upscaler(image), Upscaler(net)(image), atol=1e-5)


def test_export_of_a_fixed_size_and_options_of_an_open_backend_are_refused(tmp_path):
    for name, shape in {"net": (1, 3, 8, 8), "four": (4, 3, None, None)}.items():
        export_network(small_network(), tmp_path / name, formats=["paddle"], shape=shape, verify=())
    with pytest.raises(ConfigError, match=r"input shape \(4, 3, any, any\)"):
        Upscaler(tmp_path / "four")
    with pytest.raises(WeightError, match="name one of its files: four, net"):
        Upscaler(tmp_path)
    with pytest.raises(ConfigError, match="net is an exported network, and its weights are needed"):
        load_network(load=tmp_path / "net")
    with pytest.raises(ConfigError, match="export it with open sizes"):
        Upscaler(tmp_path / "net")
    with pytest.raises(ConfigError, match="give those when opening it"):
        Upscaler(Repeat(), options=BackendOptions())
    with pytest.raises(ConfigError, match="did you mean 'openvino'"):
        Upscaler(small_network(), backend="openvin")


@pytest.mark.parametrize("given", [None, 40])
def test_tiles_stay_within_the_sides_that_a_backend_is_built_for(given, rng):
    backend = Repeat(radius=3)
    backend.largest_side = 32
    image = rng.random((50, 90, 3), dtype=np.float32)
    np.testing.assert_allclose(
        Upscaler(backend, tile=given)(image), image.repeat(2, 0).repeat(2, 1), atol=1e-6
    )
    assert max(max(shape[2:]) for shape in backend.seen) <= 32
    with pytest.raises(ConfigError, match="takes sides up to 32"):
        Upscaler(backend, overlap=16)(image)
