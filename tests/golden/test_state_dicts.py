"""Lists of the keys and shapes of published networks: each is recognised, and all its entries load.

The lists are `statedict_*.tsv` of the golden folder, or where it has none those of `tests/weights/keys`.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from ppsr.registry import GENERATORS
from ppsr.weights.apply import apply_state
from ppsr.weights.identify import identify
from tests.golden.files import DATA
from tests.weights.test_published_keys import KEYS

LISTS = sorted(DATA.glob("statedict_*.tsv")) or sorted(KEYS.glob("*.tsv.gz"))


def zeros(path: Path) -> dict[str, np.ndarray]:
    """An array for every entry of a list; they share one number, so that none needs memory."""
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("key\tshape")]
    shapes = {key: tuple(int(side) for side in shape.split("x") if side) for key, shape, *_ in rows}
    number = np.zeros(1, np.float32)
    return {
        key: np.lib.stride_tricks.as_strided(number, shape, (0,) * len(shape))
        for key, shape in shapes.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_published_list_is_recognised_and_loads_into_the_network_found(path: Path) -> None:
    state = zeros(path)
    name, arguments = identify(state)
    assert apply_state(GENERATORS.build({"name": name, **arguments}), state, layout="torch") == []
