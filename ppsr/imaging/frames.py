"""Frames of videos as arrays and back, with exact colours, and in other layouts of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

# matrix coefficients as videos state them (ITU-T H.273) -> as FFmpeg's scaler names them
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601 = 5  # also stands for RGB, which has no matrix: otherwise versions of PyAV take the frame's
# FFmpeg's scaler is 1 to 3 levels too dark between RGB and subsampled colours of 8 bits, but not by way of
# ten bits, nor from RGB of 16; by number of channels: layout on the way, and of arrays
_LAYOUTS = {3: ("yuv444p10le", "rgb48le"), 4: ("yuva444p10le", "rgba64le")}
_NARROW, _WIDE = 1, 2  # luma from 16 to 235 (also what results have), or from 0 to 255


def upright_pixels(frame: Any, *, alpha: bool = False) -> np.ndarray:
    """H x W x 3 or 4 RGB (and alpha) uint16, turned as the recording asks for."""
    spread = _WIDE if int(frame.color_range) == _WIDE else _NARROW
    matrix = _matrix(frame)
    exact, layout = _LAYOUTS[4 if alpha else 3]
    coarse = frame.format.is_rgb and frame.format.components[0].bits < 8  # which the scaler darkens
    converted = reformatted(
        reformatted(frame, format="rgb24") if coarse else frame,
        format=exact,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=spread,
        dst_color_range=_NARROW,
    )
    rgb = reformatted(converted, format=layout, src_colorspace=matrix, dst_colorspace=_BT601)
    quarters = round(frame.rotation / 90) % 4  # anticlockwise
    return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), quarters))


def make_frame(sr: np.ndarray, source: Any, layout: str) -> Any:
    """A frame in an encoder's layout and in the matrix of its source, from an array of `upright_pixels`."""
    import av

    frame = av.VideoFrame.from_ndarray(sr, format=_LAYOUTS[sr.shape[2]][1])
    return reformatted(frame, format=layout, src_colorspace=_BT601, dst_colorspace=_matrix(source))


def _matrix(frame: Any) -> int:
    return _MATRICES.get(int(frame.colorspace), _BT601)


def reformatted(frame: Any, **options: Any) -> Any:
    """PyAV's `VideoFrame.reformat` by one thread.

    With several, FFmpeg's scaler gives some wrong pixels at random where a width is not a multiple of 16.
    """
    return frame.reformat(threads=1, **options)
