"""Full-size networks against the key lists of the released ones: every name and every shape."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from ppsr.generators.variants import find_variant
from ppsr.registry import GENERATORS
from ppsr.weights.identify import identify
from ppsr.weights.loading import load_state, transposed_keys

KEYS = Path(__file__).parent / "keys"
# list of keys -> variant with exactly these
MODELS = {
    "drct_x4": "DRCT_x4",
    "drct_l_x4": "DRCT-L_x4",
    "hat_s_x4": "HAT-S_x4",
    "hat_x4": "HAT_x4",
    "hat_l_x4": "HAT-L_x4",
    "mambair_x4": "MambaIR_x4",
    "mambair_light_x4": "MambaIR-light_x4",
    "swinir_m_x4": "SwinIR-M_x4",
    "swinir_real_m_x4": "SwinIR-Real-M_x4",
}


def read_keys(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """key -> (shape in PyTorch's layout, param or buffer)."""
    lines = gzip.decompress((KEYS / f"{name}.tsv.gz").read_bytes()).decode().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return {key: (tuple(int(n) for n in shape.split("x") if n), kind) for key, shape, _, kind in rows}


def test_every_list_is_tested() -> None:
    assert {p.name.removesuffix(".tsv.gz") for p in KEYS.glob("*.tsv.gz")} == set(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_released_file_is_recognised_and_loads_into_the_variant(name: str, undrawn: None) -> None:
    published = read_keys(name)
    one = np.ones(1, np.float32)  # which all arrays share, so that none needs memory
    state = {
        key: np.lib.stride_tricks.as_strided(one, shape, (0,) * len(shape))
        for key, (shape, _) in published.items()
    }
    net = find_variant(MODELS[name]).build()
    turned = transposed_keys(net)
    ours = {
        key: tuple(reversed(value.shape)) if key in turned else tuple(value.shape)
        for key, value in net.state_dict().items()
    }
    assert ours == {key: shape for key, (shape, kind) in published.items() if kind == "param"}
    assert load_state(net, state, layout="torch") == []  # buffers are left out by name
    assert all((p.numpy() == 1).all() for p in net.parameters()[:5])
    found, arguments = identify(state)
    again = GENERATORS.build({"name": found, **arguments})
    assert type(again) is type(net)
    assert [p.shape for p in again.parameters()] == [p.shape for p in net.parameters()]
