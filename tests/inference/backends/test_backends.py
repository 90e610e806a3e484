"""The interface of the backends, and the steps around a network."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest

from ppsr.errors import ConfigError, DataError
from ppsr.generators.apply import super_resolve as tensor_super_resolve
from ppsr.generators.network_info import network_info
from ppsr.inference.backends import benchmark, paddle_inference, select
from ppsr.inference.backends.base import PaddleBackend, apply_backend
from ppsr.inference.backends.benchmark import BackendResult, benchmark_backends, installed
from ppsr.inference.backends.exported import BackendOptions, ExportedBackend
from ppsr.inference.backends.onnx_runtime import TensorRtBackend
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export.artifact import REFERENCE_SUFFIX, Export, ReferenceOutputs
from ppsr.inference.export.writer import export_network
from tests.inference.exports import altered
from tests.networks import network

pytestmark = pytest.mark.slow


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["MSRResNet", "DRNGenerator", "SwinIR"])
def test_dygraph_backend_equals_the_network(name, rng):
    net = network(name)
    lq = rng.random((2, 3, 9, 13), dtype=np.float32)
    backend = PaddleBackend(net)
    expected = tensor_super_resolve(net, paddle.to_tensor(lq)).numpy()
    np.testing.assert_allclose(apply_backend(backend, lq), expected, atol=1e-6)


def test_half_precision_where_there_is_none_is_refused_with_a_warning(caplog):
    paddle.set_device("cpu")
    for name in ("MSRResNet", "HAT"):
        with caplog.at_level(logging.WARNING):
            assert PaddleBackend(network(name), precision="fp16").dtype == "float32"
    assert caplog.text.count("computed in float32") == 2


@pytest.mark.parametrize(
    ("name", "wanted", "has", "dtype"),
    [
        ("MSRResNet", "fp16", ["float16", "bfloat16"], "float16"),
        ("HAT", "fp16", ["float16", "bfloat16"], "bfloat16"),
        ("HAT", "fp16", ["float16"], "float32"),
        ("MSRResNet", "bf16", ["float16"], "float16"),
    ],
)
def test_half_precision_is_the_safe_type_that_the_device_has(name, wanted, has, dtype, monkeypatch, caplog):
    monkeypatch.setattr("ppsr.precision.half_types", lambda device: has)
    with caplog.at_level(logging.INFO):
        backend = PaddleBackend(network(name), precision=wanted)
    assert backend.dtype == dtype
    assert len(caplog.records) == (dtype != {"fp16": "float16", "bf16": "bfloat16"}[wanted])
    used = []
    autocast = paddle.amp.auto_cast

    def remembered(enable, level, dtype):
        used.append(dtype if enable else "float32")
        return autocast(enable=False)

    monkeypatch.setattr(paddle.amp, "auto_cast", remembered)
    x = np.zeros((1, 3, 16, 16), np.float32)
    backend.run(x)
    backend.run_float32(x)
    assert used == [dtype, "float32"]


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
def test_export_that_is_not_safe_in_float16_takes_bfloat16_where_the_processor_has_it(
    has, precision, monkeypatch, caplog
):
    monkeypatch.setattr(select, "has_bfloat16", lambda: has)
    options = BackendOptions(device="cpu", precision="fp16")
    with caplog.at_level(logging.INFO):
        assert select._safe(options, network_info(network("HAT"))).precision == precision
        assert select._safe(options, network_info(network("MSRResNet"))).precision == "fp16"
    assert len(caplog.records) == 1
    assert f"computed in {precision}" in caplog.text


@pytest.mark.parametrize("name", ["inference", "onnxruntime", "openvino"])
def test_backend_equals_the_network_at_other_sizes(name, exported, rng):
    if name != "inference":
        pytest.importorskip(name)
    net = network("MSRResNet")
    backend = open_backend(exported, name, BackendOptions(threads=1))
    assert backend.name == name
    kept = []
    for shape in ((1, 3, 6, 11), (3, 3, 13, 4)):
        lq = rng.random(shape, dtype=np.float32)
        expected = tensor_super_resolve(net, paddle.to_tensor(lq)).numpy()
        kept.append((apply_backend(backend, lq), expected))
    for actual, expected in kept:  # after all calls: a result must not lie in memory that is used again
        np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["inference", "openvino"])
def test_calls_of_several_threads_do_not_mix(name, exported, rng):
    if name != "inference":
        pytest.importorskip(name)
    backend = open_backend(exported, name, BackendOptions(threads=1))
    images = [rng.random((1, 3, 4 + i % 5, 6 + i % 3), dtype=np.float32) for i in range(24)]
    alone = [backend.run(x) for x in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backend.run, images))
    for x, y in zip(together, alone, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_full_precision_is_verified_and_not_opened_twice(exported):
    opened = []

    class Broken(ExportedBackend):
        name, package, precisions = "onnxruntime", "numpy", ("fp32", "bf16")

        def __init__(self, export: Export, options: BackendOptions) -> None:
            super().__init__(export, options)
            opened.append(options.precision)

        def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
            return np.full_like(inputs["image"], np.inf).repeat(2, 2).repeat(2, 3)

    x = np.zeros((1, 3, 5, 6), np.float32)
    full = Broken(Export(exported), BackendOptions(device="cpu"))
    assert np.isinf(full.run_float32(x)).all()
    assert opened == ["fp32"]
    reduced = Broken(Export(exported), BackendOptions(device="cpu", precision="bf16"))
    for _ in range(2):
        with pytest.raises(DataError, match=r"does not compute .* is allowed in fp32"):
            reduced.run_float32(x)


def test_auto_takes_the_fastest_that_is_right_and_remembers_it(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))
    asked = []

    def measured(export: Export, options: BackendOptions, *, side: int) -> list[BackendResult]:
        asked.append(side)
        return [
            BackendResult("openvino", error=0.0, seconds=0.1, reason="wrong"),
            BackendResult("inference", error=0.0, seconds=0.2),
            BackendResult("onnxruntime", error=0.0, seconds=0.3),
        ]

    monkeypatch.setattr(select, "benchmark_backends", measured)
    options = BackendOptions(threads=1)
    for _ in range(2):
        backend = open_backend(exported, None, options)
        assert backend.name == "inference"
        assert backend.note == "the fastest of inference 200 ms, onnxruntime 300 ms, openvino not usable"
    assert asked == [192]
    open_backend(exported, "auto", options, tile=64)
    open_backend(exported, "auto", BackendOptions(threads=2), tile=1000)
    assert asked == [192, 64, 192]
    (tmp_path / "cache" / "backends.json").write_text("[]")
    open_backend(exported, "auto", options, tile=8)
    assert asked[3:] == [32]
    monkeypatch.setattr(
        select, "benchmark_backends", lambda *_, **__: [BackendResult("inference", reason="no")]
    )
    with pytest.raises(DataError, match="no backend runs this export: inference: no"):
        open_backend(exported, "auto", BackendOptions(threads=3))


def test_crash_and_missing_answer_of_a_backend_are_results(exported, tmp_path):
    incomplete = Export(altered(exported, {}, tmp_path, files={}))
    for missing in benchmark_backends(incomplete, BackendOptions(), names=["onnxruntime", "inference"]):
        assert "was exported without" in missing.reason
    late = benchmark_backends(Export(exported), BackendOptions(), names=["inference"], timeout=0.05)
    assert late[0].reason == "no answer within 0.05 s"


def test_process_that_a_backend_ends_is_a_result(exported, monkeypatch):
    command = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]
    run = subprocess.run
    monkeypatch.setattr(benchmark.subprocess, "run", lambda _, **options: run(command, **options))
    crashed = benchmark_backends(Export(exported), BackendOptions(), names=["inference"])[0]
    assert not crashed.passed
    assert crashed.reason == "signal 11"


def test_names_and_options_that_do_not_exist_are_refused(exported):
    with pytest.raises(ConfigError, match="did you mean 'openvino'"):
        open_backend(exported, "openvin")
    with pytest.raises(ConfigError, match="runs networks from weights"):
        open_backend(exported, "paddle")
    with pytest.raises(ConfigError, match="no half precision on a CPU"):
        open_backend(exported, "inference", BackendOptions(precision="fp16"))
    with pytest.raises(ConfigError, match="in fp32 on a CPU"):
        open_backend(network("MSRResNet"), "paddle", BackendOptions(precision="bf16"))
    for options in ({"precision": "int8"}, {"device": "tpu"}, {"device": "gpu:x"}, {"threads": 0}):
        with pytest.raises(ConfigError):
            BackendOptions(**options)


def test_backends_that_need_a_gpu_say_so_without_one(exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    with pytest.raises(ConfigError, match="give --device gpu"):
        open_backend(exported, "tensorrt", BackendOptions(device="cpu"))
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ConfigError, match="has no TensorrtExecutionProvider"):
            open_backend(exported, "tensorrt", BackendOptions(device="gpu"))


def test_tensorrt_profile_covers_the_sizes_in_multiples_of_the_window(exported, tmp_path):
    copy = altered(exported, {}, tmp_path, size_multiple=16)
    backend = TensorRtBackend.__new__(TensorRtBackend)  # opening it needs a GPU; its options do not
    backend.export, backend.info = Export(copy), Export(copy).info
    backend.options = BackendOptions(
        device="gpu:1", precision="fp16", min_side=1, opt_side=640, max_side=1290, max_batch=4
    )
    name, options = backend._providers()[0]
    assert name == "TensorrtExecutionProvider"
    assert options["trt_profile_min_shapes"] == "image:1x3x16x16"
    assert options["trt_profile_opt_shapes"] == "image:1x3x640x640"
    assert options["trt_profile_max_shapes"] == "image:4x3x1280x1280"
    assert backend.largest_side == 1280
    assert options["trt_fp16_enable"]
    assert options["device_id"] == 1
    name, options = backend._providers()[1]
    assert name == "CUDAExecutionProvider"
    assert options == {"device_id": 1, "cudnn_conv_algo_search": "HEURISTIC"}


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runtimes_without_a_gpu_compute_on_the_cpu_where_paddle_has_one(name, exported, monkeypatch):
    module = pytest.importorskip(name)
    if name == "onnxruntime":
        monkeypatch.setattr(module, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr("ppsr.inference.backends.exported.default_device", lambda: "gpu")
    backend = open_backend(exported, name, BackendOptions(threads=1))
    assert backend.options.device == "cpu"
    assert backend.run(np.zeros((1, 3, 6, 6), np.float32)).shape == (1, 3, 12, 12)


def test_backends_without_a_device_are_those_that_have_one(exported, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    monkeypatch.setattr("ppsr.inference.backends.exported.default_device", lambda: "gpu")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert installed(Export(exported), BackendOptions()) == ["inference", "onnxruntime", "openvino"]
    assert installed(Export(exported), BackendOptions(device="gpu")) == ["inference"]
    assert BackendOptions().on_gpu
    assert not BackendOptions(device="cpu").on_gpu


def test_the_constants_of_a_huge_graph_are_not_folded(tmp_path):
    graph = tmp_path / "a.pdmodel"
    graph.write_bytes(bytes(5_000_000))
    assert "constant_folding_pass" in paddle_inference._hopeless_passes(graph)


@pytest.mark.smoke
@pytest.mark.parametrize("onednn", [True, False])
def test_a_network_gives_the_same_without_these_passes(tmp_path, onednn, monkeypatch):
    export = export_network(network("RCAN"), tmp_path / "net", formats=["paddle"], verify=())
    monkeypatch.setattr(paddle_inference, "_MANY_CONVOLUTIONS", 1)
    monkeypatch.setattr(paddle_inference, "_LARGE_GRAPH", 1)
    opened = open_backend(export.prefix, "inference", BackendOptions(onednn=onednn))
    assert ReferenceOutputs.load(export.path(REFERENCE_SUFFIX)).compare(opened.run)[0] <= 1e-5
