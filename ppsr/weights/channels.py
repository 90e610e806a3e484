"""How many channels the images of a network have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ppsr.errors import WeightError
from ppsr.weights.identify import identify

__all__ = ["input_channels"]

_CHANNEL_NAMES = ("num_in_ch", "in_chans", "n_colors", "in_nc", "num_channels")


def input_channels(net: Any) -> int:
    """Channels that a network takes: from an attribute, else from its weights, else 3."""
    inner = getattr(net, "generator", net)
    for name in _CHANNEL_NAMES:
        if hasattr(inner, name):
            return int(getattr(inner, name))
    try:
        arguments: Mapping[str, Any] = identify({k: v.numpy() for k, v in inner.state_dict().items()})[1]
    except WeightError:
        return 3
    return next((int(arguments[name]) for name in _CHANNEL_NAMES if name in arguments), 3)
