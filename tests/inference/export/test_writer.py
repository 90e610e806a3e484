"""Exports: verified before they exist, whole or not there, and refused when they were altered."""

import struct

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.base import core
from paddle.base.proto import framework_pb2 as pb

from ppsr.errors import ConfigError, DataError
from ppsr.generators.network_info import network_info
from ppsr.inference.backends.base import PaddleBackend
from ppsr.inference.backends.benchmark import installed
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export import artifact, onnx_graph
from ppsr.inference.export.artifact import (
    REFERENCE_SUFFIX,
    Export,
    ReferenceOutputs,
    Tolerance,
    compute_reference,
    example_images,
    relative_error,
    tolerance,
)
from ppsr.inference.export.graph_check import check_parameters
from ppsr.inference.export.writer import ExportError, export_network
from ppsr.registry import GENERATORS
from tests.inference.exports import Doubling, altered
from tests.networks import network

IMAGE_NETWORKS = [
    name
    for name in GENERATORS.names()
    if getattr(GENERATORS.get(name), "produces_image", True)
    and not hasattr(GENERATORS.get(name), "example_inputs")
]
needs_onnx = pytest.mark.skipif(bool(onnx_graph.missing_packages()), reason="the extra onnx is not installed")


def formats() -> list[str]:
    return ["paddle"] if onnx_graph.missing_packages() else ["paddle", "onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_every_network_is_exported_and_right_on_every_installed_backend(name, tmp_path):
    """Paddle Inference with oneDNN and without; at two sizes and two batch sizes other than the traced
    ones."""
    net = network(name)
    export = export_network(net, tmp_path / "net", formats=formats())
    probes = export.entries["verified"]
    assert {p["backend"] for p in probes} == set(installed(export, BackendOptions()))
    assert all(p["error"] <= 1e-5 for p in probes)
    assert export.entries["onednn"] == getattr(net, "onednn", True), "right without oneDNN alone"
    plain = open_backend(export.prefix, "inference", BackendOptions(onednn=False))
    assert ReferenceOutputs.load(export.path(REFERENCE_SUFFIX)).compare(plain.run)[0] <= 1e-5
    assert export.info == network_info(net)


@pytest.mark.smoke
def test_exporting_leaves_the_network_as_it_was(tmp_path):
    net = network("MSRResNet")
    x = paddle.rand([1, 3, 8, 8])
    before = net(x).numpy()
    export_network(net, tmp_path / "net", formats=["paddle"], verify=())
    np.testing.assert_array_equal(net(x).numpy(), before)
    assert not [layer for layer in net.sublayers(include_self=True) if "forward" in vars(layer)]
    net.train()
    net(x).mean().backward()
    assert all(p.grad is not None for p in net.parameters() if not p.stop_gradient)


@needs_onnx
@pytest.mark.slow
def test_wrong_backend_writes_nothing_and_keeps_the_previous_export(tmp_path, monkeypatch):
    """paddle2onnx writes the exact GELU in place of the approximation: an error of about 1e-3."""
    prefix = tmp_path / "net"
    export_network(Doubling(), prefix, formats=["paddle"], verify=())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(artifact, "_FLOAT32", Tolerance(1e-5, "stricter here"))
    with pytest.raises(ExportError, match=r"nothing is written.*does not compute Doubling"):
        export_network(Doubling(nn.GELU(approximate=True)), prefix)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@needs_onnx
@pytest.mark.slow
def test_activation_that_breaks_paddles_passes_is_still_exported_right(tmp_path):
    """With Paddle 3.3 this graph crashes Paddle Inference under oneDNN, and its plain ONNX form is wrong."""
    net = Doubling(nn.LeakyReLU(0.2))
    export = export_network(net, tmp_path / "net")
    probes = {p["backend"]: p for p in export.entries["verified"]}
    assert probes["inference"]["error"] <= 1e-5
    assert probes["onnxruntime"]["error"] <= 1e-5
    backend = open_backend(tmp_path / "net", "inference")
    x = np.random.default_rng(1).random((1, 3, 5, 4), dtype=np.float32)
    np.testing.assert_allclose(backend.run(x), net(paddle.to_tensor(x)).numpy(), atol=1e-5)


def test_new_export_replaces_every_file_of_the_previous_one(tmp_path):
    prefix = tmp_path / "net"
    export_network(network("MSRResNet"), prefix, formats=["paddle"], verify=())
    (tmp_path / "net.onnx").write_bytes(b"of the previous export")
    export = export_network(network("SRVGGNetCompact"), prefix, formats=["paddle"], verify=())
    assert export.info.network == "SRVGGNetCompact"
    assert not (tmp_path / "net.onnx").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_altered_or_incomplete_files_are_refused(tmp_path):
    prefix = tmp_path / "net"
    export_network(network("MSRResNet"), prefix, formats=["paddle"], verify=())
    parameters = tmp_path / "net.pdiparams"
    parameters.write_bytes(parameters.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(DataError, match="not the file that was exported"):
        open_backend(prefix, "inference")
    (tmp_path / "net.info.json").unlink()
    with pytest.raises(DataError, match="nor the prefix of a complete one"):
        open_backend(prefix)


@pytest.mark.slow
def test_files_whose_answers_changed_are_refused(tmp_path):
    """Digests that fit, but another network: the reference outputs decide."""
    one, other = tmp_path / "one", tmp_path / "other"
    export_network(network("MSRResNet", 0), one, formats=["paddle"], verify=())
    export_network(network("MSRResNet", 1), other, formats=["paddle"], verify=())
    for suffix in (".json", ".pdmodel", ".pdiparams", ".info.json"):
        if other.with_name("other" + suffix).exists():
            other.with_name("other" + suffix).replace(one.with_name("one" + suffix))
    altered(one, {REFERENCE_SUFFIX: (tmp_path / "one.reference.npz").read_bytes()})
    with pytest.raises(DataError, match="does not compute MSRResNet as it was exported"):
        open_backend(one, "inference")


def test_prefix_is_found_from_any_file_of_the_export(tmp_path):
    export = export_network(network("MSRResNet"), tmp_path / "net.x4", formats=["paddle"], verify=())
    for path in tmp_path.iterdir():
        if path.suffix in (".pdiparams", ".json", ".pdmodel"):
            assert Export(path).prefix == export.prefix
    assert Export(tmp_path).prefix == export.prefix
    (tmp_path / "other.info.json").write_text(export.info.to_json())
    with pytest.raises(DataError, match="neither a folder with a single export"):
        Export(tmp_path)


def test_fixed_shape_takes_that_shape_alone(tmp_path, rng):
    net = network("MSRResNet")
    export_network(net, tmp_path / "net", formats=["paddle"], shape=(1, 3, 6, 8), verify=())
    backend = open_backend(tmp_path / "net", "inference")
    x = rng.random((1, 3, 6, 8), dtype=np.float32)
    np.testing.assert_allclose(backend.run(x), net(paddle.to_tensor(x)).numpy(), atol=1e-5)
    for shape in ((1, 3, 6, 9), (2, 3, 6, 8), (1, 1, 6, 8)):
        with pytest.raises(DataError, match="takes images of shape"):
            backend.run(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8), (1, 3, 8, 0), (1, 3, 9, 8)])
def test_shape_that_the_network_does_not_take_is_refused(shape, tmp_path):
    with pytest.raises(ConfigError):
        export_network(network("SwinIR"), tmp_path / "net", shape=shape, formats=["paddle"], verify=())
    assert not list(tmp_path.iterdir())


def test_formats_and_networks_that_cannot_be_exported_are_named(tmp_path):
    with pytest.raises(ConfigError, match="formats are paddle, onnx, ncnn; got caffe"):
        export_network(network("MSRResNet"), tmp_path / "net", formats=["caffe"])
    with pytest.raises(ConfigError, match="more than an image"):
        export_network(network("CDDNet"), tmp_path / "net")
    with pytest.raises(ConfigError, match="does not turn LR images"):
        export_network(network("DegradationPredictor"), tmp_path / "net")


def test_missing_package_for_onnx_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "missing_packages", lambda: ["paddle2onnx"])
    with pytest.raises(ConfigError, match=r"ONNX needs paddle2onnx.*ppsr\[onnx\]"):
        export_network(network("MSRResNet"), tmp_path / "net")


@pytest.mark.slow
@needs_onnx
def test_graph_that_cannot_be_converted_says_why(tmp_path):
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "bad.pdiparams").write_bytes(b"")
    with pytest.raises(ConfigError, match="paddle2onnx cannot convert"):
        onnx_graph.convert(tmp_path / "bad.json", tmp_path / "bad.pdiparams", tmp_path / "bad.onnx")
    assert not (tmp_path / "bad.onnx").exists()


def test_broken_weights_are_not_exported(tmp_path):
    net = Doubling()
    net.last.bias.set_value(np.full(net.last.bias.shape, np.nan, np.float32))
    with pytest.raises(DataError, match="not finite"):
        export_network(net, tmp_path / "net", formats=["paddle"], verify=())
    assert not list(tmp_path.iterdir())


def test_error_is_relative_and_infinite_for_another_shape_or_nan():
    y = np.array([[1.0, -4.0]], np.float32)
    assert relative_error(y + np.float32(0.5), y) == pytest.approx(0.125)
    assert relative_error(y[:, :1], y) == np.inf
    assert relative_error(np.array([[1.0, np.nan]], np.float32), y) == np.inf
    assert relative_error(np.full((1, 2), 1e-3, np.float32), np.zeros((1, 2), np.float32)) == pytest.approx(1)


def test_reference_survives_its_file_and_knows_other_answers(tmp_path):
    info = network_info(network("DRNGenerator"))
    compute_reference(lambda x: x.repeat(2, 2), info).save(tmp_path / "a.reference.npz")
    read = ReferenceOutputs.load(tmp_path / "a.reference.npz")
    assert [x.shape for x in read.inputs] == [x.shape for x in example_images(info)]
    assert read.compare(lambda x: x.repeat(2, 2)) == (0, np.inf)
    assert read.compare(lambda x: x.repeat(2, 2) * np.float32(1.01))[0] == pytest.approx(0.01, rel=1e-3)
    shifted = read.compare(lambda x: np.where(x > 250, x, x + info.rgb_range / 100).repeat(2, 2))
    assert shifted[1] == pytest.approx(40, abs=0.3)
    (tmp_path / "a.reference.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="export again"):
        ReferenceOutputs.load(tmp_path / "a.reference.npz")


def test_example_images_differ_in_every_open_size():
    for name in ("MSRResNet", "HAT"):
        info = network_info(network(name))
        first, second = example_images(info)
        for x in (first, second):
            assert not x.shape[2] % info.size_multiple
            assert not x.shape[3] % info.size_multiple
        assert all(a != b for a, b in zip(first.shape, second.shape, strict=True) if a != 3)
    assert [x.shape for x in example_images(network_info(Doubling()), (1, 3, 8, None))] == [
        (1, 3, 8, 31),
        (1, 3, 8, 17),
    ]


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """Values with fewer bits of precision; TF32 and float16 have 11, bfloat16 has 8."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits).astype(np.float32)


def test_reference_of_an_export_is_computed_without_tf32(tmp_path, monkeypatch):
    """Of a GPU with TF32: where the switches are on, the network's input is rounded."""
    switches = {"cublas": True, "cudnn": True}
    for name in ("cublas", "cudnn"):
        monkeypatch.setattr(core, f"get_{name}_switch", lambda name=name: switches[name], raising=False)
        monkeypatch.setattr(
            core, f"set_{name}_switch", lambda on, name=name: switches.update({name: on}), raising=False
        )
    forward = PaddleBackend._forward
    monkeypatch.setattr(
        PaddleBackend,
        "_forward",
        lambda self, x, *rest: forward(self, rounded(x, 11) if any(switches.values()) else x, *rest),
    )
    net = Doubling()
    exported = export_network(net, tmp_path / "net", formats=["paddle"], verify=())
    expected = ReferenceOutputs.load(exported.path(REFERENCE_SUFFIX))
    assert expected.compare(PaddleBackend(net).run)[0] > 1e-4  # as the GPU computes by default
    assert open_backend(exported.prefix, "inference", BackendOptions(device="cpu")).name == "inference"
    assert switches == {"cublas": True, "cudnn": True}


@pytest.mark.parametrize(
    ("device", "precision", "bits"), [("gpu", "fp32", 11), ("gpu", "fp16", 11), ("gpu", "bf16", 8)]
)
def test_tolerances_hold_products_of_rounded_factors_and_no_wrong_network(device, precision, bits):
    """As tensor cores multiply; a network whose last bias is off by a tenth of the range is wrong."""
    net = network("RRDBNet")
    expected = compute_reference(PaddleBackend(net).run, network_info(net))
    allowed = tolerance("paddle", device, precision).value
    layers = [layer for layer in net.sublayers() if isinstance(layer, nn.Conv2D)]
    hooks = [
        layer.register_forward_pre_hook(
            lambda layer, inputs: tuple(paddle.to_tensor(rounded(x.numpy(), bits)) for x in inputs)
        )
        for layer in layers
    ]
    for layer in layers:
        layer.weight.set_value(rounded(layer.weight.numpy(), bits))
    error = expected.compare(PaddleBackend(net).run)[0]
    assert tolerance("paddle", "cpu", "fp32").value < error < allowed / 5
    for hook in hooks:
        hook.remove()
    layers[-1].bias.set_value(layers[-1].bias + 0.1)
    assert expected.compare(PaddleBackend(net).run)[0] > allowed


def saved_tensor() -> bytes:
    """A one, as Paddle saves tensors: versions, level of detail, description, values."""
    description = pb.VarType.TensorDesc(data_type=pb.VarType.FP32, dims=[1]).SerializeToString()
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + struct.pack("<f", 1.0)


@pytest.mark.parametrize(
    "content",
    [
        saved_tensor()[:-1],
        saved_tensor() + b"\0",
        saved_tensor().replace(bytes(8), struct.pack("<Q", 2**62), 1),  # levels, which Paddle reads for hours
        saved_tensor().replace(b"\x10\x01", b"\x10\x7f"),
        saved_tensor().replace(b"\x10\x01", b"\x12\x00"),
        struct.pack("<IQIi", 0, 0, 0, 2**31 - 1),
    ],
)
def test_parameters_that_are_not_what_the_file_holds_are_refused(content, tmp_path):
    path = tmp_path / "net.pdiparams"
    path.write_bytes(saved_tensor() * 3)
    check_parameters(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match="does not hold the parameters"):
        check_parameters(path)


def test_a_folder_is_no_prefix(tmp_path):
    with pytest.raises(ConfigError, match=r"is a folder; name the files in it, such as .*/net"):
        export_network(network("SRVGGNetCompact"), tmp_path, formats=["paddle"], verify=())
