"""Fixtures of the tests that upscale files."""

import pytest

from ppsr.inference.export import onnx_graph
from ppsr.inference.export.writer import export_network
from ppsr.inference.upscaler import Upscaler
from tests.imaging.kinds import colours, packed
from tests.inference.helpers import Repeat
from tests.networks import network


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "in"
    for name in ("a.png", "b.jpg", "sub/a.png", "sub/deep/c.webp", ".hidden/x.png", "._b.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"png": "PNG", "jpg": "JPEG", "ebp": "WEBP"}[name[-3:]]
        (place / name).write_bytes(packed(colours(), kind))
    return place


@pytest.fixture
def upscaler():
    return Upscaler(Repeat())


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """MSRResNet in all formats that can be made here; no backend was compared with it."""
    formats = ["paddle"] if onnx_graph.missing_packages() else ["paddle", "onnx"]
    prefix = tmp_path_factory.mktemp("export") / "net"
    return export_network(network("MSRResNet"), prefix, formats=formats, verify=()).prefix
