"""Weights: safe readers, key maps, conversion.

The readers need neither paddle nor torch, and execute nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ppsr.weights.identify import NetworkSpec
from ppsr.weights.pdparams import dump_state, parse_pdparams, stream_state
from ppsr.weights.weight_file import WeightFile, read_state, read_weight_file, write_state

__all__ = [
    "NetworkSpec",
    "WeightFile",
    "dump_state",
    "load_state",
    "load_weights",
    "parse_pdparams",
    "read_state",
    "read_weight_file",
    "stream_state",
    "write_state",
]

_APPLY = ("load_state", "load_weights")

if TYPE_CHECKING:
    from ppsr.weights.loading import load_state, load_weights


def __getattr__(name: str) -> Any:
    if name in _APPLY:
        return getattr(import_module("ppsr.weights.loading"), name)
    raise AttributeError(f"module 'ppsr.weights' has no attribute {name!r}")
