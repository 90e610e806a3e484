"""ppsr: super-resolution on PaddlePaddle.

Importing this package is cheap: neither paddle nor OpenCV is loaded before a name below is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Upscaler": "ppsr.inference.upscaler",
    "build_generator": "ppsr.registry",
    "build_model": "ppsr.registry",
    "evaluate": "ppsr.evaluation.evaluate",
    "load_weights": "ppsr.weights",
}

__all__ = ["Upscaler", "__version__", "build_generator", "build_model", "evaluate", "load_weights"]

if TYPE_CHECKING:
    from ppsr.evaluation.evaluate import evaluate
    from ppsr.inference.upscaler import Upscaler
    from ppsr.registry import build_generator, build_model
    from ppsr.weights import load_weights


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'ppsr' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
