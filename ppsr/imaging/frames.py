"""Frames of PyAV in other layouts of pixels."""

from __future__ import annotations

from typing import Any

__all__ = ["reformatted"]


def reformatted(frame: Any, **options: Any) -> Any:
    """`VideoFrame.reformat` by one thread.

    With several, FFmpeg's scaler gives some wrong pixels at random where a width is not a multiple of 16.
    """
    return frame.reformat(threads=1, **options)
