"""Fixtures of the tests that upscale files."""

from __future__ import annotations

import pytest

from ppsr.inference.upscaler import Upscaler
from tests.imaging.kinds import colours, packed
from tests.inference.helpers import Repeat


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "in"
    for name in ("a.png", "b.jpg", "sub/a.png", "sub/deep/c.webp", ".hidden/x.png", "._b.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"png": "PNG", "jpg": "JPEG", "ebp": "WEBP"}[name[-3:]]
        (place / name).write_bytes(packed(colours(), kind))
    return place


@pytest.fixture
def upscaler():
    return Upscaler(Repeat())
