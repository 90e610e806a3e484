"""Layers by name: which ones a network has, what they give, reading and changing it.

A feature map is the output of a layer that keeps the proportions of the image, channels first
(convolutions) or last (the tokens of window transformers). Layers that run more than once are not offered:
their name does not say which of the maps is meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError, did_you_mean
from ppsr.generators.apply import apply_generator, evaluating

__all__ = ["Layers", "MapLayer", "as_map", "edited", "frozen", "inspect_layers", "relative_size"]

_LEAST_SIDE = 16
_PRIMES = (3, 5, 7, 11, 13, 17)


@dataclass(frozen=True)
class MapLayer:
    """A layer that gives a feature map.

    Attributes:
        size: height and width of the map / those of the LR image.
        channels_last: (N, H, W, C) instead of (N, C, H, W).
    """

    name: str
    kind: str
    channels: int
    size: float
    channels_last: bool


@dataclass(frozen=True)
class Layers:
    """The map layers of a network, in the order in which they finish.

    Attributes:
        outline: names of the main stages: the parts of the network, of its lists and sequences, and of a
            part that gives the whole network's result.
        deepest: the layer that feeds the last convolution, or the last stage that gives no image.
        repeated: layers that run more than once.
    """

    maps: Mapping[str, MapLayer]
    outline: tuple[str, ...]
    deepest: str
    in_channels: int
    repeated: frozenset[str]

    def find(self, names: Iterable[str]) -> list[MapLayer]:
        """The layers of these names.

        Raises:
            ConfigError: unknown, run more than once, or not giving a map; the message has the nearest name.
        """
        found = []
        for name in names:
            if name in self.repeated:
                raise ConfigError(f"layer '{name}' runs more than once; {did_you_mean(name, self.maps)}")
            if name not in self.maps:
                raise ConfigError(
                    f"the network has no layer '{name}' that gives a feature map; "
                    f"{did_you_mean(name, self.maps)}; --list-layers shows all"
                )
            found.append(self.maps[name])
        return found


@contextmanager
def frozen(net: nn.Layer) -> Iterator[None]:
    """Evaluation mode inside, without gradients of parameters; everything is as before afterwards.

    Weights of LayerNorm stay differentiable: with a frozen one, Paddle's CPU kernel (2.6 and 3.3) forgets it
    in the gradient of the input.
    """
    flags = [(parameter, parameter.stop_gradient) for parameter in net.parameters()]
    norms = [
        layer.weight
        for layer in net.sublayers(include_self=True)
        if isinstance(layer, nn.LayerNorm) and layer.weight is not None
    ]
    gradients = [(weight, None if weight.grad is None else weight.grad.clone()) for weight in norms]
    for parameter, _ in flags:
        parameter.stop_gradient = True
    for weight in norms:
        weight.stop_gradient = False
    try:
        with evaluating(net):
            yield
    finally:
        for parameter, flag in flags:
            parameter.stop_gradient = flag
        for weight, gradient in gradients:
            weight.clear_gradient(False)
            if gradient is not None:
                weight.grad = gradient


@contextmanager
def edited(net: nn.Layer, layer: MapLayer, edit: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside, the output of a layer is replaced by `edit` of it; `edit` sees the layer's own axes."""
    target = dict(net.named_sublayers())[layer.name]
    hook = target.register_forward_post_hook(lambda _layer, _inputs, output: edit(output))
    try:
        yield
    finally:
        hook.remove()


def as_map(layer: MapLayer, array: np.ndarray) -> np.ndarray:
    """One sample of a layer's output, or of its gradient, as (C, H, W)."""
    return array.transpose(2, 0, 1) if layer.channels_last else array


def inspect_layers(net: nn.Layer) -> Layers:
    """Run a small empty image through a network and list its layers.

    Raises:
        ConfigError: no layer gives a feature map.
    """
    height, width = _probe_size(int(getattr(net, "size_multiple", 1)))
    with frozen(net):
        try:
            calls, inputs, sr = _run(net, 3, height, width)
            in_channels = 3
        except ValueError:  # what Paddle raises where the channels do not fit
            calls, inputs, sr = _run(net, 1, height, width)
            in_channels = 1
    outputs: dict[str, Any] = {}
    for name, output in calls:
        outputs.setdefault(name, output)
    repeated = {name for name in outputs if sum(name == called for called, _ in calls) > 1}
    kinds = {name: type(layer).__name__ for name, layer in net.named_sublayers()}
    maps = {
        name: layer
        for name, output in outputs.items()
        if name not in repeated and (layer := _map_layer(name, kinds[name], output, height, width))
    }
    if not maps:
        raise ConfigError(f"no layer of {type(net).__name__} gives a feature map")
    stages = set(_outline(net, "", outputs, list(sr.shape)))
    outline = tuple(name for name in maps if name in stages)
    # convolutions of images shift their mean, or belong to another network
    last_input = next((x for x in reversed(inputs) if x.shape[1] != sr.shape[1]), None)
    feeding = [name for name in maps if outputs[name] is last_input]
    stages_before_image = [name for name in outline if maps[name].channels != sr.shape[1]]
    deepest = [*feeding[:1], *stages_before_image[-1:], *list(maps)[-1:]][0]
    return Layers(maps, outline, deepest, in_channels, frozenset(repeated))


def _probe_size(multiple: int) -> tuple[int, int]:
    """Sides whose ratio no other pair of axes has: a * multiple and b * multiple with a prime a > b."""
    a = next(p for p in _PRIMES if p * multiple >= _LEAST_SIDE and multiple % p)
    return a * multiple, (a - 1) * multiple


def _run(
    net: nn.Layer, channels: int, height: int, width: int
) -> tuple[list[tuple[str, Any]], list[Tensor], Tensor]:
    """The outputs of all layers by name in the order of finishing, what the convolutions got, the SR."""
    calls: list[tuple[str, Any]] = []
    inputs: list[Tensor] = []

    def keep(name: str) -> Callable[..., None]:
        def hook(layer: nn.Layer, given: Any, output: Any) -> None:
            calls.append((name, output))
            if isinstance(layer, nn.Conv2D):
                inputs.append(given[0])

        return hook

    hooks = [layer.register_forward_post_hook(keep(name)) for name, layer in net.named_sublayers()]
    try:
        with paddle.no_grad():
            sr = apply_generator(net, paddle.zeros([1, channels, height, width]))
    finally:
        for hook in hooks:
            hook.remove()
    return calls, inputs, sr


def _map_layer(name: str, kind: str, output: Any, height: int, width: int) -> MapLayer | None:
    if not isinstance(output, Tensor) or output.ndim != 4:
        return None
    _, first, second, third = output.shape
    if second * width == third * height:
        return MapLayer(name, kind, first, second / height, False)
    if first * width == second * height:
        return MapLayer(name, kind, third, first / height, True)
    return None


def _outline(net: nn.Layer, prefix: str, outputs: Mapping[str, Any], image: list[int]) -> Iterator[str]:
    """Names of the main stages below `prefix`."""
    for key, layer in net.named_children():
        name = f"{prefix}{key}"
        output = outputs.get(name)
        final = isinstance(output, Tensor) and list(output.shape) == image
        if isinstance(layer, (nn.LayerList, nn.Sequential)) or (final and any(layer.named_children())):
            yield from _outline(layer, f"{name}.", outputs, image)
        elif not isinstance(layer, (nn.Dropout, nn.Identity)):  # these show what comes before them again
            yield name


def relative_size(layer: MapLayer) -> str:
    """`x4`, `x1` or `x1/2`."""
    size = layer.size
    return f"x{size:g}" if size >= 1 or not math.isclose(1 / size, round(1 / size)) else f"x1/{1 / size:g}"
