"""Dropout of feature maps at named places of a network.

Reflash Dropout, Kong et al., CVPR 2022, arXiv:2112.12089. The places are an option of the network, not
another class: all variants share one state dict, because dropout owns no parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError, did_you_mean

__all__ = ["DropoutPlaces", "FeatureDropout"]

_KINDS = ("channel", "element")
_OPTIONS = ("type", "p", "positions", "residual_share")


class FeatureDropout(nn.Layer):
    """(N, C, H, W) -> the same; drops with probability p, divides the rest by 1 - p; identity in evaluation.

    Args:
        kind: "channel" drops whole maps, "element" single values.
        p: probability of dropping, 0 <= p < 1.
    """

    def __init__(self, kind: str, p: float) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise ConfigError(f"dropout: type must be 'channel' or 'element', got {kind!r}")
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise ConfigError(f"dropout: p is the probability of dropping, 0 <= p < 1; got {p!r}")
        self.kind = kind
        self.p = float(p)

    def draw_mask(self, x: Tensor) -> Tensor:
        """Ones where a value is kept: (N, C, 1, 1) for channels, (N, C, H, W) for elements."""
        n, c, h, w = x.shape
        shape = [n, c, 1, 1] if self.kind == "channel" else [n, c, h, w]
        return (paddle.rand(shape) >= self.p).astype(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * (self.draw_mask(x) / (1 - self.p))


class DropoutPlaces(nn.Layer):
    """One dropout, called by name at the places where the configuration wants it.

    Args:
        options: None, or `{type: channel|element, p: ..., positions: [...], residual_share: ...}`;
            `positions` defaults to [last], or to none where `residual_share` is given.
        valid: the names of places that the network has.
        residual: whether the network also accepts `residual_share`.
    """

    def __init__(
        self, options: Mapping[str, Any] | None, valid: Collection[str], *, residual: bool, where: str
    ) -> None:
        super().__init__()
        self.positions: frozenset[str] = frozenset()
        self.residual_share = 0.0
        self.drop: FeatureDropout | None = None
        if options is None:
            return
        allowed = _OPTIONS if residual else _OPTIONS[:-1]
        for key in options:
            if key not in allowed:
                raise ConfigError(f"{where}: dropout has no option '{key}'; {did_you_mean(key, allowed)}")
        share = options.get("residual_share", 0.0)
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ConfigError(
                f"{where}: dropout.residual_share is a share of the blocks, 0..1; got {share!r}"
            )
        positions = options.get("positions", () if share else ("last",))
        positions = (positions,) if isinstance(positions, str) else tuple(positions)
        for position in positions:
            if position not in valid:
                raise ConfigError(
                    f"{where} has no dropout position '{position}'; {did_you_mean(position, valid)}"
                )
        self.positions = frozenset(positions)
        self.residual_share = float(share)
        self.drop = FeatureDropout(options.get("type", "channel"), options.get("p", 0.5))

    def forward(self, x: Tensor, position: str) -> Tensor:
        return self.drop(x) if self.drop is not None and position in self.positions else x
