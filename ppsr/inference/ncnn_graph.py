"""From a network to ncnn's pair of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ppsr.weights.ncnn import write_ncnn

__all__ = ["ncnn_arguments", "write_graph"]

_ACTIVATIONS = {"PReLU": "prelu", "ReLU": "relu", "LeakyReLU": "leakyrelu"}


def ncnn_arguments(net: Any) -> dict[str, Any] | None:
    """The arguments of a network's constructor that its graph depends on; None: it has no ncnn form.

    They are read from the layers: keys and shapes of weights do not tell one activation from another.
    """
    name = type(net).__name__
    if name == "SRVGGNetCompact":
        return {
            "upscale": net.upscale,
            "outscale": net.scale,
            "num_conv": len(net.body) // 2 - 1,
            "act_type": _ACTIVATIONS[type(net.body[1]).__name__],
        }
    if name == "RRDBNet" and net.body[0].rdb1.conv1x1 is None:
        return {"scale": net.scale, "unshuffle": net.size_multiple, "num_block": len(net.body)}
    return None


def write_graph(net: Any, target: Path) -> None:
    """Write a network that has an ncnn form.

    Args:
        net: the network; the keys and layouts of its convolutions are PyTorch's.
        target: the .param file; the numbers are written to .bin in the same folder.

    Raises:
        WeightError: it has parts without an ncnn form.
    """
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    write_ncnn(target, state, (type(net).__name__, ncnn_arguments(net) or {}))
