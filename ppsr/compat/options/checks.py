"""Checks of single values; each raises a ValueError with what is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["as_given", "flag", "items", "number", "text", "whole"]


def number(value: Any) -> int | float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a number is needed")
    return value


def whole(value: Any) -> int:
    """A whole number, also one written as 5e3."""
    if number(value) != int(value):
        raise ValueError("a whole number is needed")
    return int(value)


def text(value: Any) -> str:
    """Text; numbers as they are written."""
    if isinstance(value, (list, Mapping)):
        raise ValueError("text is needed")
    return str(value)


def _only(kind: type, needed: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"{needed} is needed")
        return value

    return convert


flag, items = _only(bool, "true or false"), _only(list, "a list")
as_given = _only(object, "")
