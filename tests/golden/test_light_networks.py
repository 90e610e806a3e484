"""IMDN, FSRCNN and ESPCN against the released code: recognition, outputs, loss, gradients and their norms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.registry import build_generator
from ppsr.weights.apply import apply_state, transposed_keys
from ppsr.weights.files import read_file
from ppsr.weights.identify import identify
from tests.golden.files import DATA, Golden, assert_close, golden, with_values
from tests.golden.hash_weights import hash_array

# beside the golden folder, or beside the project
WEIGHTS = (DATA.parent / "weights", Path(__file__).parents[3] / "shared" / "weights")
light_networks = golden("imdn_*", "fsrcnn_*", "espcn_*")


def published_state(case: Golden) -> dict[str, np.ndarray]:
    """The state dict under the keys of the published file."""
    if "weights_file" in case.meta:
        path = next((p for p in WEIGHTS if (p / case.meta["weights_file"]).is_file()), None)
        if path is None:
            pytest.skip(f"{case.meta['weights_file']} is in none of {', '.join(map(str, WEIGHTS))}")
        return dict(read_file(path / case.meta["weights_file"]).state())
    return case.params or {
        key: hash_array(k, tuple(shape), _bound(key, shape))
        for k, (key, shape) in enumerate(case.meta["keys"].items())
    }


def _bound(key: str, shape: list[int]) -> float:
    return 0.1 if key.endswith(".bias") else 1.2 * math.sqrt(3 / math.prod(shape[1:]))


def build(case: Golden):
    arguments = dict(case.meta["kwargs"])
    for option in ("attention", "shared_slopes"):
        if option in case.meta:
            arguments[option] = case.meta[option]
    net = build_generator(case.meta["network"], **arguments)
    assert not apply_state(net, published_state(case), layout="torch")
    net.eval()
    return net, arguments


@light_networks
def test_outputs_equal_the_released_code(path: Path) -> None:
    case = Golden(path)
    net, _ = build(case)
    for stored in case.meta["cases"]:
        with paddle.no_grad():
            y = net(paddle.to_tensor(case[stored["input"]]))
        assert_close(y.numpy(), case[stored["output"]], atol=1e-6, rtol=1e-5, what=stored["output"])


@light_networks
def test_network_is_recognised_by_its_keys(path: Path) -> None:
    case = Golden(path)
    name, found = identify(published_state(case))
    expected = {"attention": True} if case.meta["network"] == "IMDN" else {}
    expected |= {k: v for k, v in case.meta["kwargs"].items() if name != "FSRCNN" or k != "scale"}
    expected |= {k: case.meta[k] for k in ("attention", "shared_slopes") if k in case.meta}
    assert (name, found) == (case.meta["network"], expected)


@light_networks
def test_loss_and_gradients_equal_the_released_code(path: Path) -> None:
    case = Golden(path)
    if "input/target0" not in case:
        pytest.skip("this file has no gradients")
    net, _ = build(case)
    y, target = net(paddle.to_tensor(case["input/x0"])), paddle.to_tensor(case["input/target0"])
    assert_close(float(F.l1_loss(y, target)), case["output/l1_loss0"], rtol=1e-5, what="loss")
    F.l1_loss(with_values(y, case["output/y0"]), target).backward()
    assert not transposed_keys(net)
    gradients = {key: parameter.grad.numpy() for key, parameter in net.named_parameters()}
    rename = getattr(type(net), "map_published_keys", dict)
    for key, expected in rename(case.group("grad")).items():
        error = np.linalg.norm(gradients[key] - expected) / np.linalg.norm(expected)
        assert error <= 2e-4, f"{key}: {error:.2e}"
    norms = rename(case.meta["grad_l2_norms_of_l1_loss0"])
    assert norms.keys() == gradients.keys()
    for key, expected in norms.items():
        norm = float(np.linalg.norm(gradients[key].astype(np.float64)))
        assert_close(norm, expected, rtol=2e-4, what=f"norm of {key}")
