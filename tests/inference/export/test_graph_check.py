"""Graphs of exported networks: those that only compute are opened, others reach no runtime."""

import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from paddle.base.proto import framework_pb2 as pb

from ppsr.errors import DataError
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.backends.select import open_backend
from ppsr.inference.export import onnx_graph
from ppsr.inference.export.artifact import REFERENCE_SUFFIX
from ppsr.inference.export.graph_check import check_graph, unknown_operations
from ppsr.inference.export.writer import export_network
from tests.inference.export.test_writer import saved_tensor
from tests.inference.exports import altered
from tests.networks import network

HARMFUL_PADDLE = [
    "save", "load", "save_combine", "load_combine", "py_func", "print", "run_program", "pylayer", "custom_op",
    "while", "conditional_block", "recurrent", "send_v2", "pull_sparse", "tensorrt_engine", "Conv2D", "",
]  # fmt: skip
HARMFUL_PIR = [
    "1.save", "1.load", "1.save_combine", "1.load_combine", "1.py_func", "1.print", "1.run_program", "1.if",
    "1.while", "2.yield", "3.my_op", "pd_op.conv2d", "1.tensorrt_engine", "0.module",
    "0.t_f32", "1.a_str", "",
]  # fmt: skip
HARMFUL_ONNX = ["If", "Loop", "Scan", "SequenceMap", "StringNormalizer", "RandomNormalLike", "PyOp", ""]


def field(number: int, value: bytes | int) -> bytes:
    """A field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def program(*blocks: list[str]) -> bytes:
    """A `ProgramDesc` with these operations in its blocks."""
    made = pb.ProgramDesc()
    for index, operations in enumerate(blocks):
        block = made.blocks.add(idx=index, parent_idx=index - 1)
        for name in operations:
            operation = block.ops.add(type=name)
            operation.inputs.add(parameter="X", arguments=["save"])
            operation.attrs.add(name="file_path", type=pb.STRING, s="/tmp/print")
    return made.SerializeToString()


def node(name: str, domain: str = "", attribute: bytes = b"") -> bytes:
    """A `NodeProto`."""
    return field(1, b"x") + field(4, name.encode()) + field(7, domain.encode()) + attribute


def model(*nodes: bytes, graph: bytes = b"", more: bytes = b"") -> bytes:
    """A `ModelProto`."""
    return field(1, 8) + field(7, b"".join(field(1, each) for each in nodes) + graph) + more


EXTERNAL = field(2, 1) + field(8, b"w") + field(13, field(1, b"location") + field(2, b"../../etc/passwd"))
EXTERNAL_BY_PLACE = field(2, 1) + field(14, 1)


@pytest.mark.parametrize("name", HARMFUL_PADDLE)
def test_operations_of_a_program_that_do_more_than_compute_are_named(name, tmp_path):
    path = tmp_path / "net.pdmodel"
    path.write_bytes(program(["feed", "conv2d", "fetch"]))
    assert unknown_operations(path) == []
    for blocks in ([["feed", name, "fetch"]], [["feed", "fetch"], ["relu", name]]):
        path.write_bytes(program(*blocks))
        assert unknown_operations(path) == [name]
        with pytest.raises(DataError, match=r"is refused: nothing is known of .*--trust"):
            check_graph(path)


@pytest.mark.parametrize("name", HARMFUL_PIR)
def test_operations_of_a_new_program_that_do_more_than_compute_are_named(name, tmp_path):
    path = tmp_path / "net.json"

    def write(operations: list[dict]) -> None:
        block = {"#": "block_0", "args": [], "ops": operations}
        tree = {"regions": [{"#": "region_0", "blocks": [block]}]}
        path.write_text(json.dumps({"base_code": {"magic": "pir", "version": 4}, "program": tree}))

    plain = {
        "#": "1.conv2d",
        "A": [{"#": "1.a_intarray", "N": "strides"}],
        "O": [{"TT": {"#": "0.t_dtensor"}}],
    }
    bad = {"#": name, "A": [], "O": []}
    inner = {"#": "region_1", "blocks": [{"#": "block_1", "args": [], "ops": [plain, bad]}]}
    write([plain, {"#": "p"}])
    assert unknown_operations(path) == []
    for operations in ([plain, bad], [{**plain, "regions": [inner]}], [{"A": []}]):
        write(operations)
        assert len(unknown_operations(path)) == 1
        with pytest.raises(DataError, match="--trust"):
            check_graph(path)


@pytest.mark.parametrize("name", HARMFUL_ONNX)
def test_operations_of_an_onnx_graph_that_are_not_known_are_named(name, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model(node("Conv"), node("Relu", "ai.onnx")))
    assert unknown_operations(path) == []
    bad = node(name)
    inside = field(5, field(1, b"then_branch") + field(6, field(1, bad)))
    for content in (
        model(node("Conv"), bad),
        model(node("Conv", attribute=inside)),
        model(node("Conv", attribute=field(5, field(11, field(1, bad))))),
        model(node("Conv"), more=field(25, field(1, b"f") + field(7, bad))),
        model(node("Conv"), more=field(20, field(2, field(1, bad)))),
        model(node("Conv")) + model(bad),  # protobuf merges the two graphs
    ):
        path.write_bytes(content)
        assert unknown_operations(path) == [name]


@pytest.mark.parametrize("tensor", [EXTERNAL, EXTERNAL_BY_PLACE, field(2, 1) + field(14, 2**32 + 1)])
def test_onnx_graph_never_names_another_file(tensor, tmp_path):
    path = tmp_path / "net.onnx"
    for content in (
        model(node("Conv"), graph=field(5, tensor)),
        model(node("Conv"), graph=field(15, field(1, tensor))),
        model(node("Conv", attribute=field(5, field(5, tensor)))),
        model(node("Conv", attribute=field(5, field(10, tensor)))),
    ):
        path.write_bytes(content)
        assert unknown_operations(path) == ["'data in another file'"]


def test_operations_of_other_makers_are_named(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model(node("Conv", "com.microsoft")))
    assert unknown_operations(path) == ["'domain com.microsoft'"]
    path.write_bytes(model(node("Conv") + field(4, b"Evil")))  # of two names the last counts
    assert unknown_operations(path) == ["Evil"]


@pytest.mark.slow
def test_graphs_of_paddle_are_read_as_they_are(exported):
    for path in exported.parent.iterdir():
        if path.suffix in (".pdmodel", ".onnx") or path.name == "net.json":
            assert unknown_operations(path) == []


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".json", b"{}"),
        (".json", b"[" * 100_000),
        (".json", b'{"program": {"ops": [3]}}'),
        (".json", b'{"program": {"a": 1, "a": 2, "ops": [{"#": "1.relu"}]}}'),
        (".json", b"\xff\xfe"),
        (".json", b'{"program": ' + b"9" * 10_000 + b"}"),
        (".onnx", b""),
        (".onnx", b"\x3a\xff\xff\xff\xff\x0f"),
        (".onnx", b"\x3b\x3c"),
        (".onnx", b"\xff" * 20),
        (".onnx", b"<net name='x'/>"),
        (".pdmodel", b"\x0a"),
        (".pdmodel", b"\x09\x00"),
        (".pdmodel", b"\x00\x00"),
    ],
    ids=[str(number) for number in range(14)],
)
def test_what_is_no_graph_is_refused(suffix, content, tmp_path):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a graph"):
        check_graph(path)


def test_deeply_nested_onnx_graphs_are_refused(tmp_path):
    inner = node("Conv")
    for _ in range(100):
        inner = node("Conv", attribute=field(5, field(6, field(1, inner))))
    (tmp_path / "net.onnx").write_bytes(model(inner))
    with pytest.raises(DataError, match="deeper than"):
        check_graph(tmp_path / "net.onnx")


@pytest.mark.slow
def test_damaged_graphs_end_in_one_kind_of_error(exported, tmp_path):
    draw = random.Random(0)
    graphs = [p for p in exported.parent.iterdir() if p.suffix == ".onnx" or p.name == "net.json"]
    for graph in graphs:
        content = graph.read_bytes()[:20_000]
        path = tmp_path / graph.name
        for _ in range(100):
            damaged = bytearray(content)
            for _ in range(draw.randrange(1, 8)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            path.write_bytes(damaged[: draw.randrange(len(damaged))])
            with pytest.raises(DataError):
                check_graph(path)


def writing_program(target: Path) -> bytes:
    """A program that writes its input to a file."""
    made = pb.ProgramDesc()
    block = made.blocks.add(idx=0, parent_idx=-1)
    for name, kind in (("feed", pb.VarType.FEED_MINIBATCH), ("fetch", pb.VarType.FETCH_LIST)):
        block.vars.add(name=name, persistable=True).type.type = kind
    for name in ("image", "sr", "one"):
        kind = block.vars.add(name=name, persistable=name == "one").type
        kind.type = 7  # a tensor, whose name changed between versions of Paddle
        tensor = getattr(kind, kind.DESCRIPTOR.fields_by_number[3].name).tensor
        tensor.data_type = pb.VarType.FP32
        tensor.dims.extend([1] if name == "one" else [-1, 3, -1, -1])

    def operation(name: str, source: str, made_of: str) -> pb.OpDesc:
        added = block.ops.add(type=name)
        added.inputs.add(parameter="X", arguments=[source])
        if made_of:
            added.outputs.add(parameter="Out", arguments=[made_of])
        return added

    operation("feed", "feed", "image").attrs.add(name="col", type=pb.INT, i=0)
    added = operation("elementwise_add", "image", "sr")
    added.inputs.add(parameter="Y", arguments=["one"])
    added.attrs.add(name="axis", type=pb.INT, i=-1)
    operation("save", "image", "").attrs.add(name="file_path", type=pb.STRING, s=str(target))
    operation("fetch", "sr", "fetch").attrs.add(name="col", type=pb.INT, i=0)
    return made.SerializeToString()


@pytest.mark.slow
def test_program_that_writes_a_file_is_refused_before_paddle_opens_it(exported, tmp_path):
    target = tmp_path / "profile"
    contents = {".pdmodel": writing_program(target), ".pdiparams": saved_tensor()}
    prefix = altered(exported, contents, tmp_path)
    with pytest.raises(DataError, match=r"nothing is known of save, .*--trust"):
        open_backend(prefix, "inference", BackendOptions(threads=1))
    assert not target.exists()
    options = BackendOptions(threads=1, trust=True)
    with pytest.raises(DataError, match="does not compute"):  # it runs, and is another network
        open_backend(prefix, "inference", options)
    assert target.exists(), "the attack is real"


@pytest.mark.slow
def test_malformed_graph_of_known_operations_ends_another_process(exported, tmp_path):
    graph = exported.with_name("net.json")
    if not graph.is_file():
        pytest.skip("this Paddle writes .pdmodel")
    tree = json.loads(graph.read_text())
    del tree["program"]["regions"][0]["blocks"][0]["ops"][0]["OA"]
    prefix = altered(exported, {".json": json.dumps(tree).encode()}, tmp_path)
    check_graph(prefix.with_name("net.json"))
    with pytest.raises(DataError, match="backend inference cannot run"):
        open_backend(prefix, "inference", BackendOptions(threads=1))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_onnx_graph_with_an_unknown_operation_reaches_no_runtime(name, exported, tmp_path, monkeypatch):
    module = pytest.importorskip(name)
    if onnx_graph.missing_packages():
        pytest.skip("the extra onnx is not installed")

    def opened(*_, **__) -> None:
        raise AssertionError("the runtime was asked")

    if name == "onnxruntime":
        monkeypatch.setattr(module, "InferenceSession", opened)
    else:
        reads = {"read_model": opened, "compile_model": opened, "get_property": lambda *_: ["FP32"]}
        core = type("Core", (), reads)
        monkeypatch.setattr(module, "Core", core)
        monkeypatch.setattr("ppsr.inference.backends.open_vino._core", core)  # kept from earlier backends
    prefix = altered(exported, {".onnx": model(node("Conv", "evil.ops"))}, tmp_path)
    with pytest.raises(DataError, match=r"domain evil\.ops"):
        open_backend(prefix, name, BackendOptions(threads=1))


@pytest.mark.parametrize(("name", "suffix"), [("inference", ".pdiparams"), ("onnxruntime", ".onnx")])
def test_damaged_files_whose_digests_fit_end_in_one_line(name, suffix, exported, tmp_path):
    if name == "onnxruntime" and onnx_graph.missing_packages():
        pytest.skip("the extra onnx is not installed")
    content = model(node("Conv")) if suffix == ".onnx" else b"\xff" * 40
    prefix = altered(exported, {suffix: content}, tmp_path)
    with pytest.raises(DataError, match=r"(cannot run|does not hold) .*; export again$"):
        open_backend(prefix, name, BackendOptions(threads=1))


def test_reference_file_that_grows_is_refused(exported, tmp_path, monkeypatch):
    bomb = io.BytesIO()
    np.savez_compressed(bomb, inputs0=np.zeros(2**18, np.float32))
    prefix = altered(exported, {REFERENCE_SUFFIX: bomb.getvalue()}, tmp_path)
    monkeypatch.setattr("ppsr.inference.export.artifact._LARGEST", 2**20 - 1)
    with pytest.raises(DataError, match="its arrays take 1 MB"):
        open_backend(prefix, "inference", BackendOptions(threads=1, trust=True))


def test_own_network_with_other_operations_is_exported_with_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("ppsr.inference.export.graph_check._PIR", frozenset({"p"}))
    monkeypatch.setattr("ppsr.inference.export.graph_check._PROGRAM", frozenset({"feed", "fetch"}))
    export_network(network("MSRResNet"), tmp_path / "net", formats=["paddle"], verify=())
    assert "conv2d" in caplog.text
    assert "needs --trust" in caplog.text
    with pytest.raises(DataError, match="--trust"):
        open_backend(tmp_path / "net", "inference")
    backend = open_backend(tmp_path / "net", "inference", BackendOptions(trust=True))
    assert backend.run(np.zeros((1, 3, 6, 6), np.float32)).shape == (1, 3, 12, 12)
