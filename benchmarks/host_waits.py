"""A counter of values that the host reads from tensors, for which it waits."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import paddle

__all__ = ["HostWaits"]


class HostWaits:
    """Counts inside how often the host reads a value from a tensor, and so waits for the device.

    On a CPU nothing waits, but the same calls are counted. What Paddle reads in C++ is not seen.

    Attributes:
        places: the lines of Python that read them, innermost last, for messages.

    Example:
        >>> with HostWaits() as waits:
        ...     float(paddle.ones([]))
        >>> waits.count
        1
    """

    _METHODS = ("numpy", "item", "tolist", "__array__", "__bool__", "__float__", "__index__", "__int__")

    def __init__(self) -> None:
        self.count = 0
        self.places: list[str] = []
        self._inside = False

    def __enter__(self) -> HostWaits:
        self._saved = {name: getattr(paddle.Tensor, name) for name in self._METHODS}
        for name, method in self._saved.items():
            setattr(paddle.Tensor, name, self._counted(method))
        return self

    def __exit__(self, *_: object) -> None:
        for name, method in self._saved.items():
            setattr(paddle.Tensor, name, method)

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def read(tensor: paddle.Tensor, *arguments: Any, **options: Any) -> Any:
            if self._inside:  # float() calls item(), which is one wait
                return method(tensor, *arguments, **options)
            self.count += 1
            self.places.append("".join(traceback.format_stack(limit=4)[:-1]))
            self._inside = True
            try:
                return method(tensor, *arguments, **options)
            finally:
                self._inside = False

        return read
