"""Files as trainers leave them: wrapped, averaged and half-finished ones name the same network."""

from __future__ import annotations

import numpy as np
import pytest

from ppsr.weights.files import read_file, write_state

STATE = {"body.0.weight": np.ones((4, 3, 3, 3), np.float32), "body.0.bias": np.zeros(4, np.float32)}


def _wrapped(prefix: str) -> dict[str, np.ndarray]:
    return {f"{prefix}{key}": value for key, value in STATE.items()}


WRITTEN = {
    "a compiled network": _wrapped("_orig_mod."),
    "a compiled network in a parallel one": _wrapped("module._orig_mod."),
    "a parallel network in a compiled one": _wrapped("_orig_mod.module."),
    "a compiled part": {key.replace("body.", "body._orig_mod."): value for key, value in STATE.items()},
    "an average by torch": {**_wrapped("module."), "n_averaged": np.array(5)},
    "an average that never began": {"params_ema": {}, "params": STATE},
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", WRITTEN)
def test_what_wrappers_add_is_left_out(name, suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors" and "params" in WRITTEN[name]:
        pytest.skip("such files have no entries")
    write_state(path, WRITTEN[name], layout="torch")
    assert set(read_file(path).state("generator")) == set(STATE)
