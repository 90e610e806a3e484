"""What computes a network: Paddle itself, Paddle Inference, ONNX Runtime, OpenVINO, TensorRT."""

from __future__ import annotations

from ppsr.inference.backends.base import Backend, PaddleBackend, ReducedPrecision, apply_backend

__all__ = ["Backend", "PaddleBackend", "ReducedPrecision", "apply_backend"]
