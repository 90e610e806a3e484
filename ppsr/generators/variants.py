"""The published models by name: each network lists its own in `variants`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ppsr.errors import ConfigError, did_you_mean
from ppsr.registry import GENERATORS

__all__ = ["Variant", "all_variants", "find_variant", "window_kwargs"]


@dataclass(frozen=True)
class Variant:
    """One published model.

    Attributes:
        name: unique, ends with the scale.
        parameters: numbers in its parameters, frozen ones included.
        macs: multiply-accumulates for a 64x64 LR image, of convolutions, linear layers, matrix products.
        paper: where it was published.
        kwargs: constructor arguments that differ from the network's defaults.
        generator: registered name of the network; `all_variants` fills it in.
    """

    name: str
    parameters: int
    macs: int
    paper: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    generator: str = ""

    @property
    def scale(self) -> int:
        """SR size / LR size."""
        return int(self.name.rpartition("_x")[2])

    def build(self) -> Any:
        """The network, freshly initialised."""
        return GENERATORS.build({"name": self.generator, **self.kwargs})


@cache
def all_variants() -> tuple[Variant, ...]:
    """The variants of all registered networks."""
    return tuple(
        replace(variant, generator=name)
        for name in GENERATORS.names()
        for variant in getattr(GENERATORS.get(name), "variants", ())
    )


def find_variant(name: str) -> Variant:
    """The variant of this name.

    Raises:
        ConfigError: there is none; the message has the nearest valid name.

    Example:
        >>> find_variant("RCAN_x4").parameters
        15592379
    """
    found = {variant.name: variant for variant in all_variants()}
    if name not in found:
        raise ConfigError(f"unknown model '{name}'; {did_you_mean(name, found)}")
    return found[name]


def window_kwargs(groups: int, scale: int, *, window: int = 16, **changes: Any) -> dict[str, Any]:
    """The settings that SwinIR-M, HAT and DRCT share: width 180, six heads, six blocks per group."""
    return {
        "img_size": 64,
        "window_size": window,
        "embed_dim": 180,
        "depths": (6,) * groups,
        "num_heads": (6,) * groups,
        "mlp_ratio": 2,
        "upscale": scale,
        "upsampler": "pixelshuffle",
        **changes,
    }
