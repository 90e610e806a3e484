"""Reading ncnn files whose graph is that of a known network.

Order and shapes prove nothing, as equal shapes may compute something else; so the network's own graph is
built in normal form from what was recognised and must equal the file's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.weights.identify import NetworkSpec
from ppsr.weights.ncnn.graph import Conv, Expected, Graph, UnknownGraph, build_graph
from ppsr.weights.ncnn.layers import Layer, Numbers, parse_param
from ppsr.weights.ncnn.networks import ACTIVATION_SLOPES, NETWORKS
from ppsr.weights.opcodes import CorruptFile, UnsafeFile

_ACTIVATIONS = {slope: name for name, slope in ACTIVATION_SLOPES.items() if slope is not None}
_PER_BLOCK = 15  # convolutions of an RRDB
_OTHERS = 4  # convolutions of RRDBNet outside of blocks and upsampling: first, body, two of the tail


@dataclass
class NcnnWeights:
    """Contents of a pair of files.

    Attributes:
        state: key -> float32 array, with the keys and the layout of the published .pth.
        notes: what follows the network in the graph.
    """

    state: dict[str, np.ndarray]
    network: NetworkSpec
    notes: list[str] = field(default_factory=list)


def read_ncnn(path: str | Path) -> NcnnWeights:
    """Read an ncnn network whose graph is that of RRDBNet or SRVGGNetCompact.

    Args:
        path: the .param or the .bin file; the other one is in the same folder.

    Raises:
        CorruptFile: damaged, or a graph that no known network has; the message names the first difference.
        UnsafeFile: a storage of weights that is not read.
        OSError: a file is missing.
    """
    param, numbers = Path(path).with_suffix(".param"), Path(path).with_suffix(".bin")
    try:
        layers = parse_param(param)
        graph, result, convs, prelus = build_graph(layers)
        kinds = {layer.kind for layer in layers}
        if "Concat" in kinds:
            recognise = _rrdb
        elif "PixelShuffle" in kinds:
            recognise = _srvgg
        else:
            raise UnknownGraph(f"no known network has these layers: {', '.join(sorted(kinds))}")
        result, factor, notes = _tail(graph, result)
        name, arguments = recognise(graph, convs, prelus, layers)
        expected = Expected(graph)
        wanted = NETWORKS[name](expected, arguments)
        if result != wanted:
            raise UnknownGraph(f"it looks like {name}, but {graph.difference(result, wanted)}")
        if factor != 1:
            arguments = _resized(name, arguments, factor)
        slopes = dict(zip(map(id, prelus), expected.slopes, strict=True))
        state = _numbers(Numbers(numbers), layers, convs, slopes, expected.convs)
    except (CorruptFile, UnsafeFile) as error:
        text = str(error)
        raise type(error)(
            text if text.startswith((str(param), str(numbers))) else f"{param}: {text}"
        ) from None
    except (ValueError, OverflowError) as error:
        raise CorruptFile(f"{param}: {error}") from None
    return NcnnWeights(state, NetworkSpec(name, arguments), notes)


def _tail(graph: Graph, result: int) -> tuple[int, float, list[str]]:
    """Operations after the network: a clip, which writing an image does anyway, and a bicubic resize."""
    factor, notes = 1.0, []
    while graph.nodes[result][0] in ("clip", "bicubic"):
        kind, value, (below,) = graph.nodes[result]
        if kind == "clip" and value != (0.0, 1.0):
            raise UnknownGraph(f"it clips to {value[0]:g}..{value[1]:g}")
        notes.append(
            "its graph clips to 0..1" if kind == "clip" else f"its graph resizes bicubically by {value:g}"
        )
        factor *= value if kind == "bicubic" else 1.0
        result = below
    return result, factor, notes


def _resized(name: str, arguments: dict[str, Any], factor: float) -> dict[str, Any]:
    product = arguments.get("upscale", 0) * factor
    outscale = round(product)  # files have factors such as 1/3 in seven digits
    if name != "SRVGGNetCompact" or abs(product - outscale) > 1e-4 or outscale < 1:
        raise UnknownGraph(f"it resizes the result of {name} by {factor:g}, which is not known")
    return {**arguments, "outscale": outscale}


def _srvgg(graph: Graph, convs: list[Conv], prelus: list[Layer], layers: list[Layer]) -> NetworkSpec:
    factor = next(layer.count(0) for layer in layers if layer.kind == "PixelShuffle")
    count = len(convs)
    if count < 2 or convs[-1].outputs % factor**2:
        raise UnknownGraph(f"{convs[-1].outputs if convs else 0} channels cannot be shuffled by {factor}")
    slopes = {attribute for kind, attribute, _ in graph.nodes if kind == "LeakyReLU"}
    if not prelus and (len(slopes) != 1 or min(slopes) not in _ACTIVATIONS):
        raise UnknownGraph(f"the slopes {sorted(slopes)} are not an activation of SRVGGNetCompact: 0 or 0.1")
    arguments = {
        "num_in_ch": convs[0].inputs,
        "num_out_ch": convs[-1].outputs // factor**2,
        "num_feat": convs[0].outputs,
        "num_conv": count - 2,
        "upscale": factor,
        "act_type": "prelu" if prelus else _ACTIVATIONS[min(slopes)],
    }
    return NetworkSpec("SRVGGNetCompact", arguments)


def _rrdb(graph: Graph, convs: list[Conv], prelus: list[Layer], layers: list[Layer]) -> NetworkSpec:
    ups = sum(kind == "nearest enlargement" for kind, _, _ in graph.nodes)
    fold = next((layer.count(0) for layer in layers if layer.kind == "Reorg"), 1)
    blocks = (len(convs) - _OTHERS - ups) // _PER_BLOCK
    if blocks < 1 or len(convs) != _PER_BLOCK * blocks + _OTHERS + ups or prelus:
        raise UnknownGraph(f"{len(convs)} convolutions and {ups} enlargements are not an RRDBNet")
    scale = 2**ups / max(fold, 1)
    if fold < 1 or not scale.is_integer():
        raise UnknownGraph(f"{ups} enlargements by 2 after folding by {fold} give no whole scale")
    arguments = {
        "num_in_ch": convs[0].inputs // fold**2,
        "num_out_ch": convs[-1].outputs,
        "scale": int(scale),
        "num_feat": convs[0].outputs,
        "num_block": blocks,
        "num_grow_ch": convs[1].outputs,
        "unshuffle": fold,
        "plus": False,
    }
    return NetworkSpec("RRDBNet", arguments)


def _numbers(
    numbers: Numbers, layers: list[Layer], convs: list[Conv], slopes: dict[int, str], keys: list[str]
) -> dict[str, np.ndarray]:
    """The state, in the order of the file, which must be used up."""
    state: dict[str, np.ndarray] = {}
    order = {id(conv.layer): (conv, key) for conv, key in zip(convs, keys, strict=True)}
    channels = 0
    for layer in layers:
        what = f"layer '{layer.name}'"
        if id(layer) in order:
            conv, key = order[id(layer)]
            channels = conv.outputs
            weights = numbers.tagged(9 * conv.outputs * conv.inputs, what)
            state[f"{key}.weight"] = weights.reshape(conv.outputs, conv.inputs, 3, 3)
            state[f"{key}.bias"] = numbers.bare(channels, what) if conv.bias else np.zeros(channels, "f4")
        elif id(layer) in slopes:
            count = layer.count(0)
            if count not in (1, channels):
                raise CorruptFile(f"{what} has {count} slopes for {channels} channels")
            state[f"{slopes[id(layer)]}.weight"] = np.resize(numbers.bare(count, what), channels)
    numbers.finish()
    return state
