"""What computes a network: Paddle itself, Paddle Inference, ONNX Runtime, OpenVINO, TensorRT."""

from __future__ import annotations

from ppsr.inference.backends.base import Backend, ReducedPrecision, self_ensemble, super_resolve

__all__ = ["Backend", "ReducedPrecision", "self_ensemble", "super_resolve"]
