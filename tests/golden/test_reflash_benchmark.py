"""The degradations of Reflash's benchmark against the published script."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ppsr.degradations.reflash_benchmark import degrade
from tests.golden.files import Golden, assert_close, golden


@dataclass
class _Recorded:
    """A generator that hands out recorded noise."""

    noise: np.ndarray | None

    def normal(self, mean, deviation, shape):
        assert self.noise.shape == shape
        return self.noise


@golden("functions_reflash_benchmark*")
@pytest.mark.smoke
def test_every_degradation(path):
    g = Golden(path)
    image = g["input/gt"]
    scale = image.shape[0] // g["output/bicubic"].shape[0]
    for variant in g.meta["order"]:
        rng = _Recorded(g.group("input").get(f"noise_{variant}"))
        lq = degrade(image, variant, scale=scale, rng=rng)
        # OpenCV's blur and libjpeg differ by a level or two between versions; the rest is exact
        allowed = 2 * ("jepg" in variant) + ("blur" in variant)
        assert_close(lq, g[f"output/{variant}"], atol=allowed, what=variant)
        mean = np.abs(lq.astype(int) - g[f"output/{variant}"]).mean()
        assert mean <= 0.2 * allowed, f"{variant}: mean difference {mean}"
