"""Normal form of an ncnn graph, in which equal functions are equal nodes however they are written.

Exporters write one network in several ways: activations fused or as layers, `a*x + y` as Eltwise or as two
BinaryOps, with or without defaults. Nodes are interned tuples, so that comparing two networks is comparing
two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ppsr.weights.ncnn.layers import Layer
from ppsr.weights.opcodes import CorruptFile

Node = int
_DIGITS = 6  # of slopes and coefficients, which are float32 or decimal texts
_NEAREST, _BICUBIC = 1, 3
_RELU, _LEAKY = 1, 2


class UnknownGraph(CorruptFile):
    """A graph that no known network has."""


def _refuse(layer: Layer, why: str) -> UnknownGraph:
    return UnknownGraph(f"layer '{layer.name}' ({layer.kind}): {why}")


@dataclass(frozen=True)
class Conv:
    """A 3x3 convolution, stride 1, zero padding 1."""

    layer: Layer
    outputs: int
    inputs: int
    bias: bool


class Graph:
    """Interned nodes (operation, attributes, inputs) and the layers that they stand for."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, Any, tuple[Node, ...]]] = []
        self.layers: dict[Node, Layer] = {}
        self._known: dict[tuple[str, Any, tuple[Node, ...]], Node] = {}

    def node(self, kind: str, attribute: Any, *inputs: Node) -> Node:
        key = kind, attribute, inputs
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(key)
        return self._known[key]

    def input(self) -> Node:
        return self.node("input", None)

    def conv(self, index: int, x: Node) -> Node:
        """The convolution with this number in the order of the file."""
        return self.node("convolution", index, x)

    def slopes(self, index: int, x: Node) -> Node:
        """The PReLU with this number."""
        return self.node("PReLU", index, x)

    def leaky(self, slope: float, x: Node) -> Node:
        return self.node("LeakyReLU", round(slope, _DIGITS), x)

    def concat(self, *inputs: Node) -> Node:
        return self.node("concat", None, *inputs)

    def scaled(self, factor: float, x: Node) -> Node:
        return self.node("times", round(factor, _DIGITS), x)

    def total(self, inputs: Sequence[Node], factors: Sequence[float] = ()) -> Node:
        """A sum with a factor per term, in any order."""
        terms = []
        for x, factor in zip(inputs, factors or [1.0] * len(inputs), strict=True):
            kind, inner, below = self.nodes[x]
            term = (below[0], inner * factor) if kind == "times" else (x, factor)
            terms.append((term[0], round(term[1], _DIGITS)))
        terms.sort()
        return self.node("sum", tuple(factor for _, factor in terms), *(x for x, _ in terms))

    def shuffle(self, factor: int, x: Node) -> Node:
        return x if factor == 1 else self.node("pixel shuffle", factor, x)

    def unshuffle(self, factor: int, x: Node) -> Node:
        return x if factor == 1 else self.node("pixel unshuffle", factor, x)

    def nearest(self, factor: int, x: Node) -> Node:
        return x if factor == 1 else self.node("nearest enlargement", factor, x)

    def difference(self, got: Node, wanted: Node) -> str:
        """The first place from the result where two networks differ."""
        while True:
            (kind, attribute, inputs), (other, its, its_inputs) = self.nodes[got], self.nodes[wanted]
            layer = self.layers.get(got)
            where = f"layer '{layer.name}' ({layer.kind})" if layer else "the input"
            if kind != other:
                return f"{where} is a {kind} where the network has a {other}"
            if attribute != its:
                return f"{where} has {attribute} where the network has {its}"
            if sorted(inputs) == sorted(its_inputs):
                return f"{where} has its inputs in another order than the network"
            pairs = [(a, b) for a, b in zip(inputs, its_inputs, strict=False) if a != b]
            if kind == "sum":
                mine = [x for x in inputs if x not in its_inputs]
                theirs = [x for x in its_inputs if x not in inputs]
                pairs = list(zip(mine, theirs, strict=False))
            if len(inputs) != len(its_inputs) or not pairs:
                return f"{where} has other inputs than the network"
            got, wanted = pairs[0]


class Expected:
    """Builds the graph of a known network into a `Graph`, and collects the keys of its weights."""

    def __init__(self, graph: Graph) -> None:
        self.convs: list[str] = []
        self.slopes: list[str] = []
        self._graph = graph
        self.input, self.concat, self.total = graph.input, graph.concat, graph.total
        self.shuffle, self.unshuffle, self.nearest = graph.shuffle, graph.unshuffle, graph.nearest

    def conv(self, key: str, x: Node, slope: float | None = None) -> Node:
        self.convs.append(key)
        result = self._graph.conv(len(self.convs) - 1, x)
        return result if slope is None else self._graph.leaky(slope, result)

    def prelu(self, key: str, x: Node) -> Node:
        self.slopes.append(key)
        return self._graph.slopes(len(self.slopes) - 1, x)


def build_graph(layers: Sequence[Layer]) -> tuple[Graph, Node, list[Conv], list[Layer]]:
    """The normal form of a network.

    Returns:
        The graph, its result, its convolutions and its PReLUs, both in the order of the file.
    """
    graph, blobs = Graph(), dict[str, Node]()
    convs: list[Conv] = []
    prelus: list[Layer] = []
    read: set[str] = set()
    for layer in layers:
        missing = [name for name in layer.inputs if name not in blobs]
        if missing:
            raise _refuse(layer, f"reads '{missing[0]}', which no layer before it makes")
        read.update(layer.inputs)
        inputs = [blobs[name] for name in layer.inputs]
        if layer.kind == "Convolution":
            result = _convolution(graph, layer, inputs, convs)
        elif layer.kind == "PReLU":
            prelus.append(layer)
            result = graph.slopes(len(prelus) - 1, _single(layer, inputs))
        elif layer.kind in _LAYERS:
            result = _LAYERS[layer.kind](graph, layer, inputs)
        else:
            raise _refuse(layer, "no known network has a layer of this type")
        graph.layers.setdefault(result, layer)
        copies = layer.kind in _COPIES
        if len(layer.outputs) != 1 and not copies:
            raise _refuse(layer, f"makes {len(layer.outputs)} results")
        blobs |= dict.fromkeys(layer.outputs, result)
    results = [name for name in blobs if name not in read]
    if len(results) != 1 or sum(layer.kind == "Input" for layer in layers) != 1:
        raise UnknownGraph(f"the graph must have one input and one result; its results are {results[:4]}")
    return graph, blobs[results[0]], convs, prelus


def _single(layer: Layer, inputs: list[Node]) -> Node:
    if len(inputs) != 1:
        raise _refuse(layer, f"has {len(inputs)} inputs instead of one")
    return inputs[0]


def _convolution(graph: Graph, layer: Layer, inputs: list[Node], convs: list[Conv]) -> Node:
    outputs, width, weights = layer.count(0), layer.count(1), layer.count(6)
    pad = layer.count(4)
    bottom = layer.count(14, pad)
    geometry = {
        "kernels other than 3x3": (width, layer.count(11, width)) != (3, 3),
        "dilation": (layer.count(2, 1), layer.count(12, layer.count(2, 1))) != (1, 1),
        "strides": (layer.count(3, 1), layer.count(13, layer.count(3, 1))) != (1, 1),
        "padding other than 1": (pad, bottom, layer.count(15, pad), layer.count(16, bottom)) != (1,) * 4,
        "padding with a value": layer.number(18) != 0,
        "groups": layer.count(7, 1) != 1,
        "int8 weights": layer.count(8) != 0,
        "weights that are inputs": layer.count(19) != 0,
    }
    wrong = [what for what, found in geometry.items() if found]
    if wrong:
        raise _refuse(layer, f"no known network has {wrong[0]}")
    if outputs < 1 or weights < 1 or weights % (9 * outputs):
        raise _refuse(layer, f"{weights} weights are no 3x3 convolution to {outputs} channels")
    convs.append(Conv(layer, outputs, weights // (9 * outputs), bool(layer.count(5))))
    result = graph.conv(len(convs) - 1, _single(layer, inputs))
    graph.layers[result] = layer
    activation = layer.count(9)
    if activation == _RELU:
        return graph.leaky(0.0, result)
    if activation == _LEAKY:
        return graph.leaky(float((layer.array(10) or [0.0])[0]), result)
    if activation:
        raise _refuse(layer, f"its activation {activation} is none of ReLU and LeakyReLU")
    return result


def _input(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    return graph.input()


def _copy(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    return _single(layer, inputs)


def _relu(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    return graph.leaky(float(layer.number(0)), _single(layer, inputs))


def _concat(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    if layer.count(0):
        raise _refuse(layer, "joins other axes than channels")
    return graph.concat(*inputs)


def _eltwise(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    factors = [float(value) for value in layer.array(1)]
    if layer.count(0) != 1 or (factors and len(factors) != len(inputs)):
        raise _refuse(layer, "is not a sum")
    return graph.total(inputs, factors)


def _binary(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    operation, scalar = layer.count(0), layer.count(1)
    if scalar and operation == 2:
        return graph.scaled(float(layer.number(2)), _single(layer, inputs))
    if scalar or operation or len(inputs) != 2:
        raise _refuse(layer, "is neither a sum nor a product with a number")
    return graph.total(inputs)


def _interp(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    kind, tall, wide = layer.count(0), layer.number(1, 1.0), layer.number(2, 1.0)
    sized = layer.count(3) or layer.count(4) or layer.count(5) or layer.count(6)
    if sized or tall != wide or kind not in (_NEAREST, _BICUBIC) or tall <= 0:
        raise _refuse(layer, "is not a nearest or bicubic resizing by a factor")
    if kind == _BICUBIC:
        return graph.node("bicubic", round(float(tall), _DIGITS), _single(layer, inputs))
    if not float(tall).is_integer():
        raise _refuse(layer, f"resizes by {tall:g}, no whole factor")
    return graph.nearest(int(tall), _single(layer, inputs))


def _shuffle(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    if layer.count(0) < 1:
        raise _refuse(layer, f"its factor is {layer.count(0)}; it must be 1 or more")
    if layer.count(1):
        raise _refuse(layer, "has another order of channels than PyTorch")
    act = graph.shuffle if layer.kind == "PixelShuffle" else graph.unshuffle
    return act(layer.count(0), _single(layer, inputs))


def _clip(graph: Graph, layer: Layer, inputs: list[Node]) -> Node:
    return graph.node("clip", (float(layer.number(0)), float(layer.number(1))), _single(layer, inputs))


_COPIES = ("Split", "Noop", "Dropout")
_LAYERS: dict[str, Callable[[Graph, Layer, list[Node]], Node]] = {
    "Input": _input,
    **dict.fromkeys(_COPIES, _copy),
    "ReLU": _relu,
    "Concat": _concat,
    "Eltwise": _eltwise,
    "BinaryOp": _binary,
    "Interp": _interp,
    "PixelShuffle": _shuffle,
    "Reorg": _shuffle,
    "Clip": _clip,
}
