"""Models of the service: from weights, from exported networks, on any backend."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from ppsr.errors import ConfigError, WeightError
from ppsr.inference.export import export_network
from ppsr.inference.upscaler import Upscaler
from ppsr.serve.limits import RefusedError
from ppsr.serve.service import Options, Service
from tests.inference.helpers import Repeat, small_network
from tests.serve.helpers import encoded


@pytest.fixture
def service(tmp_path):
    (tmp_path / "service").mkdir()
    made = Service(tmp_path / "service")
    yield made
    made.close()


def _result(service, pixels, **options):
    with service.own_folder() as folder:
        (folder / "image").write_bytes(encoded(pixels))
        result = service.submit(
            folder / "image", None, Options(**options), preview=True, stem="../a/b"
        ).future.result()
        assert result.path.parent.parent == folder
        return result, result.path.read_bytes()


def test_weights_alone_are_enough(service, tmp_path, rng):
    net = small_network()
    paddle.save(net.state_dict(), str(tmp_path / "net.pdparams"))
    service.load("net", [tmp_path / "net.pdparams"])
    assert service.models["net"].network == "SRVGGNetCompact"
    pixels = rng.integers(0, 256, (11, 13, 3), dtype=np.uint8)
    result, content = _result(service, pixels)
    assert content == encoded_by(service, net, pixels)
    before, after = result.preview
    assert before.shape == after.shape
    np.testing.assert_array_equal(after, Upscaler(net)(pixels))
    assert result.path.name == f"b_x{net.scale}.png"


def encoded_by(service, net, pixels):
    """The file that the same steps write without the service."""
    from ppsr.inference.files import FileOptions, upscale_image

    source = service.folder / "source"
    source.write_bytes(encoded(pixels))
    upscale_image(Upscaler(net), source, service.folder / "expected.png", FileOptions())
    return (service.folder / "expected.png").read_bytes()


@pytest.mark.slow
def test_an_exported_network_is_served_by_the_fastest_backend(service, tmp_path, rng):
    import io

    from PIL import Image

    net = small_network()
    export_network(net, tmp_path / "net", formats=["paddle"])
    service.load("net", [tmp_path / "net"])
    assert service._models["net"].backend.name == "inference"
    pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    _, content = _result(service, pixels, tile=16)
    expected = Upscaler(net)(pixels).astype(int)
    assert np.abs(np.asarray(Image.open(io.BytesIO(content))) - expected).max() <= 1
    with pytest.raises(ConfigError, match="backend paddle runs networks from weights"):
        service.load("other", [tmp_path / "net"], backend="paddle")


def test_what_cannot_be_loaded_is_said_at_the_start(service, tmp_path):
    (tmp_path / "broken.pdparams").write_bytes(b"broken")
    with pytest.raises(WeightError):
        service.load("a", [tmp_path / "broken.pdparams"])
    service.add("a", Repeat)
    with pytest.raises(ConfigError, match="two models are called 'a'"):
        service.add("a", Repeat)
    assert list(service.models) == ["a"]


def test_what_waits_when_the_service_closes_is_cancelled(tmp_path, rng):
    from tests.serve.helpers import Gate

    service, gate = Service(tmp_path), Gate()
    service.add("gate", lambda: gate)
    source = tmp_path / "image"
    source.write_bytes(encoded(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)))
    jobs = [service.submit(source, None, Options()) for _ in range(2)]
    assert gate.reached.wait(10)
    for job in jobs:
        job.stop()
    assert jobs[1].future.cancelled()
    gate.open.set()
    service.close()
    with pytest.raises(RefusedError, match="cancelled"):
        jobs[0].future.result(5)
    assert len(gate.seen) == 1


def test_a_gpu_out_of_memory_is_answered_as_such_although_it_is_an_os_error(service, monkeypatch):
    def short(*_, **__):
        raise OSError("(External) CUBLAS error(3). [Hint: 'CUBLAS_STATUS_ALLOC_FAILED'.]")

    monkeypatch.setattr("ppsr.serve.service.upscale_image", short)
    service.add("net", Repeat)
    with pytest.raises(RefusedError, match="memory is short") as refused:
        _result(service, np.zeros((12, 12, 3), np.uint8))
    assert refused.value.code == "out_of_memory"
