"""Exporting a network: a Paddle graph and an ONNX graph for images of any size, verified before they exist.

Beside the graphs `<prefix>.json` (or `.pdmodel`, as the Paddle version has it) and `<prefix>.onnx` there are
the parameters `.pdiparams`, the network's info `.info.json` and, in `.reference.npz`, example images with
the network's outputs, with which every backend is compared here and again wherever the export is opened.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import paddle
from paddle import Tensor, nn

from ppsr.compat.paddle import full_precision
from ppsr.errors import ConfigError, PpsrError
from ppsr.files import atomic_write, sha256
from ppsr.generators.network_info import INFO_SUFFIX, NetworkInfo
from ppsr.inference.backends.base import PaddleBackend
from ppsr.inference.backends.benchmark import benchmark_backends
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.export import onnx_graph
from ppsr.inference.export.artifact import (
    DEGRADATION_NAME,
    INPUT_NAME,
    PREDICTOR_PART,
    REFERENCE_SUFFIX,
    Export,
    compute_reference,
)
from ppsr.weights.identify import NetworkSpec
from ppsr.weights.ncnn import write_ncnn

__all__ = ["FORMATS", "ExportError", "check_formats", "export_network", "ncnn_arguments"]

logger = logging.getLogger(__name__)

FORMATS = ("paddle", "onnx", "ncnn")
_ACTIVATIONS = {"PReLU": "prelu", "ReLU": "relu", "LeakyReLU": "leakyrelu"}
Shape = Sequence[int | None]
Show = Callable[[str, str, int, int], None]
ANY_SIZE: Shape = (None, None, None, None)
_GRAPH_SUFFIXES = (".json", ".pdmodel", ".pdiparams", ".pdiparams.info", ".onnx", ".ncnn.param", ".ncnn.bin")
_SUFFIXES = (*_GRAPH_SUFFIXES, *(PREDICTOR_PART + suffix for suffix in _GRAPH_SUFFIXES), REFERENCE_SUFFIX)


class ExportError(PpsrError):
    """A backend does not compute what the network computes; nothing was written."""


class _LastImage(nn.Layer):
    """The SR image of a network that may give several images, the SR last."""

    def __init__(self, net: nn.Layer) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        output = self.net(image)
        return output[-1] if isinstance(output, (list, tuple)) else output


class _Steered(_LastImage):
    """A network with its degradation parameters as a second input."""

    def forward(self, image: Tensor, degradation: Tensor) -> Tensor:  # type: ignore[override]
        return self.net(image, degradation)


class _DegradationMap(_LastImage):
    """The map whose mean is a network's degradation parameters."""

    def forward(self, image: Tensor) -> Tensor:
        return self.net.degradation_map(image)


def export_network(
    net: nn.Layer,
    prefix: str | Path,
    *,
    formats: Sequence[str] = ("paddle", "onnx"),
    shape: Shape = ANY_SIZE,
    options: BackendOptions | None = None,
    verify: Sequence[str] | None = None,
    show: Show = lambda title, item, done, total: None,
) -> Export:
    """Export a network and compare every installed backend with it; only then do the files appear.

    Args:
        net: LR -> SR network; put into evaluation mode.
        prefix: path of the files without suffixes. An export of this name is replaced.
        formats: any of "paddle", "onnx" and, for RRDBNet and SRVGGNetCompact, "ncnn". ONNX is made from the
            Paddle graph, so that is there with it.
        shape: (N, C, H, W) of the input; None means any size.
        verify: backends to compare with the network; None: all that are installed.
        show: called before each step with what is done, its item, the number of finished steps and of all.

    Raises:
        ConfigError: the prefix is a folder, the network takes more than an image, or ONNX lacks a package.
        ExportError: a backend is wrong or crashes.
    """
    check_formats(formats)
    prefix = Path(prefix)
    if prefix.is_dir():
        raise ConfigError(f"{prefix} is a folder; name the files in it, such as {prefix / 'net'}")
    options = options or BackendOptions()
    if hasattr(net, "example_inputs"):
        raise ConfigError(
            f"{type(net).__name__} needs more than an image; export the composite that inference runs"
        )
    if "ncnn" in formats and ncnn_arguments(net) is None:
        raise ConfigError(f"{type(net).__name__} has no ncnn form; RRDBNet and SRVGGNetCompact have")
    net.eval()
    reference = PaddleBackend(net)
    info = reference.info
    _check_shape(shape, info)
    wrappers: dict[str, nn.Layer] = {}
    if set(formats) != {"ncnn"}:
        steered = {"": _Steered(net), PREDICTOR_PART: _DegradationMap(net)}
        wrappers = steered if info.degradation_params else {"": _LastImage(net)}
    finished = itertools.count()
    total = 1 + ("ncnn" in formats) + len(wrappers) * (1 + ("onnx" in formats))

    def begin(step: str) -> None:
        show("export", step, next(finished), total)

    with _temporary_prefix(prefix) as temporary:
        begin("reference outputs")
        with full_precision():
            outputs = compute_reference(reference.run, info, shape)
        outputs.save(_with(temporary, REFERENCE_SUFFIX))
        if "ncnn" in formats:
            begin("ncnn graph")
            state = {key: value.numpy() for key, value in net.state_dict().items()}  # in PyTorch's layout
            spec = NetworkSpec(type(net).__name__, ncnn_arguments(net) or {})
            write_ncnn(_with(temporary, ".ncnn.param"), state, spec)
        for part, wrapper in wrappers.items():
            begin(f"Paddle graph{part}")
            graph = _trace(net, wrapper, _with(temporary, part), info, shape)
            if "onnx" in formats:
                begin(f"ONNX graph{part}")
                parameters, target = (_with(temporary, part + s) for s in (".pdiparams", ".onnx"))
                onnx_graph.convert(graph, parameters, target)
        entries = {
            "input_name": INPUT_NAME,
            "input_shape": list(shape),
            "onednn": bool(getattr(net, "onednn", True)),
            "files": {s: sha256(_with(temporary, s)) for s in _SUFFIXES if _with(temporary, s).is_file()},
        }
        _write_info(temporary, info, entries)
        _verify(temporary, info, entries, replace(options, trust=True), verify, partial(show, "compare"))
    export = Export(prefix)
    export.remember()
    if unknown := ", ".join(export.unknown_operations()):
        logger.warning(
            "the graph has operations that ppsr does not know (%s); opening it needs --trust", unknown
        )
    return export


def ncnn_arguments(net: Any) -> dict[str, Any] | None:
    """The arguments of a network's constructor that its ncnn graph depends on; None: it has no such form.

    They are read from the layers: keys and shapes of weights are the same with every activation.
    """
    name = type(net).__name__
    if name == "SRVGGNetCompact":
        act_type = _ACTIVATIONS[type(net.body[1]).__name__]
        sizes = {"upscale": net.upscale, "outscale": net.scale, "num_conv": len(net.body) // 2 - 1}
        return {**sizes, "act_type": act_type}
    if name == "RRDBNet" and net.body[0].rdb1.conv1x1 is None:
        return {"scale": net.scale, "unshuffle": net.size_multiple, "num_block": len(net.body)}
    return None


def _verify(
    prefix: Path,
    info: NetworkInfo,
    entries: dict[str, Any],
    options: BackendOptions,
    names: Sequence[str] | None,
    on_step: Callable[[str, int, int], None],
) -> None:
    """Compare backends with the reference outputs, and note the results in the info file.

    Paddle Inference is tried once more without oneDNN, whose graph passes break on some layers.
    """
    made = Export(prefix)
    results = {r.backend: r for r in benchmark_backends(made, options, names=names, on_step=on_step)}
    failed_once = "inference" in results and not results["inference"].passed
    if failed_once and entries["onednn"] and not options.on_gpu:
        logger.warning("Paddle Inference is tried again without oneDNN")
        entries["onednn"] = False
        _write_info(prefix, info, entries)
        results["inference"] = benchmark_backends(Export(prefix), options, names=["inference"])[0]
    failed = [f"{r.backend}: {r.reason}" for r in results.values() if not r.passed]
    if failed:
        raise ExportError(
            f"nothing is written, because the exported {info.network} is not the network on "
            f"{'; '.join(failed)}"
        )
    entries["verified"] = [asdict(r) for r in results.values()]
    _write_info(prefix, info, entries)


def check_formats(formats: Sequence[str]) -> None:
    """Check the formats of an export.

    Raises:
        ConfigError: one is unknown, there is none, or a package for ONNX is missing.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"formats are {', '.join(FORMATS)}; got {', '.join(unknown) or 'none'}")
    if "onnx" in formats and onnx_graph.missing_packages():
        raise ConfigError(
            f"ONNX needs {', '.join(onnx_graph.missing_packages())}: pip install 'ppsr[onnx]', "
            "or export with --formats paddle"
        )


def _check_shape(shape: Shape, info: NetworkInfo) -> None:
    if len(shape) != len(ANY_SIZE) or shape[1] not in (None, info.channels):
        raise ConfigError(f"an input is N,{info.channels},H,W with -1 for any size; got {list(shape)}")
    for size in shape[2:]:
        if size is not None and (size < 1 or size % info.size_multiple):
            raise ConfigError(
                f"{info.network} takes sizes that are multiples of {info.size_multiple}, got {size}"
            )


def _with(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _write_info(prefix: Path, info: NetworkInfo, entries: dict[str, Any]) -> None:
    atomic_write(_with(prefix, INFO_SUFFIX), info.to_json(**entries))


def _trace(net: nn.Layer, wrapper: nn.Layer, prefix: Path, info: NetworkInfo, shape: Shape) -> Path:
    """Save the graph; returns its file."""
    wrapper.eval()
    image = [-1 if s is None else s for s in (shape[0], info.channels, *shape[2:])]
    spec = [paddle.static.InputSpec(image, "float32", INPUT_NAME)]
    if isinstance(wrapper, _Steered):
        vector = [image[0], info.degradation_params]
        spec.append(paddle.static.InputSpec(vector, "float32", DEGRADATION_NAME))
    with _forwards_kept(net):
        static = paddle.jit.to_static(wrapper, input_spec=spec, full_graph=True)
        paddle.jit.save(static, str(prefix))
    return next(p for s in (".json", ".pdmodel") if (p := _with(prefix, s)).is_file())


@contextmanager
def _forwards_kept(net: nn.Layer) -> Iterator[None]:
    """Undo what tracing does to a network: each layer gets a rewritten `forward`, slower in dynamic mode."""
    before = [(layer, layer.__dict__.get("forward")) for layer in net.sublayers(include_self=True)]
    try:
        yield
    finally:
        for layer, forward in before:
            if forward is None:
                layer.__dict__.pop("forward", None)
            else:
                layer.__dict__["forward"] = forward


@contextmanager
def _temporary_prefix(prefix: Path) -> Iterator[Path]:
    """A prefix in a hidden folder next to the final one; its files are moved when the block ends well.

    The info file goes away first and comes back last, so that a reader never finds a mixture.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    folder = prefix.parent / f".{prefix.name}.tmp-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(prefix)) from None
    try:
        yield folder / prefix.name
        _with(prefix, INFO_SUFFIX).unlink(missing_ok=True)
        for suffix in (*_SUFFIXES, INFO_SUFFIX):
            made, final = _with(folder / prefix.name, suffix), _with(prefix, suffix)
            if made.is_file():
                made.replace(final)
            else:
                final.unlink(missing_ok=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
