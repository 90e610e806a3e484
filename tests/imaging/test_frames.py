"""Frames of videos as arrays and back."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.imaging.frames import make_frame, upright_pixels

av = pytest.importorskip("av")


def test_a_width_that_is_no_multiple_of_16_gives_the_same_pixels_every_time(rng):
    """FFmpeg's scaler errs at random there when it has several threads."""
    sr = rng.integers(0, 2**16, (480, 852, 3), np.uint16)
    source = av.VideoFrame(852, 480, "yuv420p")
    made = [make_frame(sr, source, "yuv420p") for _ in range(8)]
    assert len({frame.to_ndarray().tobytes() for frame in made}) == 1
    assert len({upright_pixels(made[0]).tobytes() for _ in range(8)}) == 1


@pytest.mark.parametrize("layout", ["rgb555le", "rgb565le"])
def test_white_of_few_bits_is_white(layout):
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 255, np.uint8), format="rgb24")
    assert upright_pixels(frame.reformat(format=layout)).min() > 65_000
