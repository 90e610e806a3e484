"""Paddle Inference opens large graphs without the passes that would take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppsr.inference.backends import paddle_inference
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.choose import open_backend
from ppsr.inference.export import export_network
from ppsr.inference.reference import REFERENCE_SUFFIX, ReferenceOutputs
from tests.inference.exports import network

CONVOLUTION = b"\x0a\x06Filter\x12\x05w.w_0"


@pytest.mark.parametrize(
    ("name", "convolutions", "left_out"), [("a.pdmodel", 351, 2), ("a.pdmodel", 817, 10), ("a.json", 817, 0)]
)
def test_more_passes_are_left_out_the_more_convolutions_a_graph_has(
    tmp_path: Path, name: str, convolutions: int, left_out: int
) -> None:
    graph = tmp_path / name
    graph.write_bytes(b"\x0a\x05Input".join([CONVOLUTION] * convolutions))
    assert len(paddle_inference._hopeless_passes(graph)) == left_out


def test_the_constants_of_a_huge_graph_are_not_folded(tmp_path: Path) -> None:
    graph = tmp_path / "a.pdmodel"
    graph.write_bytes(bytes(5_000_000))
    assert "constant_folding_pass" in paddle_inference._hopeless_passes(graph)


@pytest.mark.smoke
@pytest.mark.parametrize("onednn", [True, False])
def test_a_network_gives_the_same_without_these_passes(
    tmp_path: Path, onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = export_network(network("RCAN"), tmp_path / "net", formats=["paddle"], verify=())
    monkeypatch.setattr(paddle_inference, "_MANY_CONVOLUTIONS", 1)
    monkeypatch.setattr(paddle_inference, "_LARGE_GRAPH", 1)
    opened = open_backend(export.prefix, "inference", BackendOptions(onednn=onednn))
    assert ReferenceOutputs.load(export.path(REFERENCE_SUFFIX)).compare(opened.run)[0] <= 1e-5
