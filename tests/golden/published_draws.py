"""The random streams of the published code: `random` for choices, NumPy's legacy generator for numbers."""

import random
from collections.abc import Sequence

import numpy as np


class PublishedDraws:
    """Draws in the order and by the generators that the published code uses."""

    def __init__(self, seed: int) -> None:
        self.python = random.Random(seed)
        self.numpy = np.random.RandomState(seed)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return float(self.numpy.uniform(low, high))

    def choice(self, options: Sequence, p: Sequence[float] | None = None) -> object:
        return self.python.choice(options) if p is None else self.python.choices(options, p)[0]
