"""Weights: safe readers, key maps, conversion, recognition of networks."""

from ppsr.weights.apply import load_state

__all__ = ["load_state"]
