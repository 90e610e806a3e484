"""Damaged and hostile images, sent to the HTTP interface over loopback."""

from __future__ import annotations

import json
import time
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from tests.serve.helpers import encoded, served


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged metadata
def test_no_damaged_image_breaks_the_service(tmp_path):
    """600 images of six kinds with changed, missing and inserted bytes: 200 or 4xx, each within 5 s."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
    whole = [encoded(pixels, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")]
    answered = Counter()
    with served(tmp_path) as site:
        for number in range(600):
            content = bytearray(whole[number % len(whole)])
            for _ in range(int(rng.integers(1, 6))):
                at = int(rng.integers(4, min(len(content), 400)))
                action = int(rng.integers(4))
                if action == 0:
                    content[at] = int(rng.integers(256))
                elif action == 1:
                    content[at : at + 4] = rng.bytes(4)
                elif action == 2:
                    del content[at : at + int(rng.integers(1, 40))]
                else:
                    content[at:at] = rng.bytes(int(rng.integers(1, 40)))
            started = time.monotonic()
            answer = site.upscale(bytes(content))
            assert time.monotonic() - started < 5
            assert answer.status in (200, 413, 415, 422), (number, answer)
            answered[answer.status] += 1
        assert site.idle()
    assert answered[422] > 100
    assert answered[200] > 30
    assert list(tmp_path.iterdir()) == []


def test_a_tiff_of_many_pages_does_not_hold_up_the_others(tmp_path):
    """Its pages are counted in time that grows with their number, not with the square of it."""
    from tests.imaging.test_tiff import with_pages

    with served(tmp_path) as site:
        answer = site.upscale(with_pages(20_000))
    assert answer.status == 200
    report = json.loads(answer.headers["x-ppsr-report"])
    assert "more than 10,000 frames" in report["warnings"][0]
    assert report["seconds"] < 2
