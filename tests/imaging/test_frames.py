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
