"""Features of inner layers by name, for any network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from paddle import Tensor, nn

from ppsr.errors import ConfigError, did_you_mean

__all__ = ["capture", "find_layer"]


def find_layer(net: nn.Layer, name: str) -> nn.Layer:
    """The sublayer of a dotted name."""
    layers = dict(net.named_sublayers())
    if name not in layers:
        raise ConfigError(f"{type(net).__name__} has no layer '{name}'; {did_you_mean(name, layers)}")
    return layers[name]


@contextmanager
def capture(net: nn.Layer, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of layers while the block runs the network; a layer that is called often keeps its
    last.

    Hooks exist inside the block alone, so that copies of the network carry none.

    Args:
        names: dotted layer names, see `named_sublayers`.

    Yields:
        Name -> output, filled by each forward pass.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(layer: nn.Layer, inputs: Any, output: Any) -> None:
            outputs[name] = output[-1] if isinstance(output, (list, tuple)) else output

        return hook

    handles = [find_layer(net, name).register_forward_post_hook(keep(name)) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
