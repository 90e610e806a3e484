"""RRDBNet in every published key layout against the published code: outputs, gradients, wrapped files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.generators.apply import apply_generator
from ppsr.generators.rrdbnet import esrgan_keys, esrgan_layout
from ppsr.registry import build_generator
from ppsr.weights import apply_state, read_file
from ppsr.weights.identify import identify
from tests.golden.files import CLAIMED, DATA, Golden, assert_close, assert_near, golden, with_values

WRAPPED = sorted(DATA.glob("esrgan_wrapped*.npz"))
CLAIMED.update(path.stem for path in WRAPPED)
FILES = [
    (path, DATA / Golden(path).meta["folder"] / name)
    for path in WRAPPED
    for name in Golden(path).meta["files"]
]


def build(case: Golden):
    """The network that the keys and shapes alone name."""
    name, arguments = identify(case.params)
    assert name == case.meta["network"]
    net = build_generator(name, **arguments)
    assert not apply_state(net, case.params, layout="torch")
    net.eval()
    return net


@golden("esrgan_*")
def test_layout_and_arguments_are_recognised(path: Path) -> None:
    case = Golden(path)
    layout = esrgan_layout(case.params)
    assert layout == case.meta["layout"]
    arguments = identify(case.params)[1]
    wanted = {**case.meta["kwargs"], "unshuffle": case.meta["unshuffle"], "plus": case.meta["plus"]}
    assert arguments == wanted


@golden("esrgan_*")
def test_keys_are_mapped_as_recorded(path: Path) -> None:
    case = Golden(path)
    recorded = case.meta.get("ppsr_keys")
    if not isinstance(recorded, dict):
        pytest.skip("this file records no keys")
    mapped = esrgan_keys({key: key for key in case.params})
    assert {old: new for new, old in mapped.items()} == recorded


@golden("esrgan_*")
def test_outputs_equal_the_published_code(path: Path) -> None:
    case = Golden(path)
    net = build(case)
    for stored in case.meta["cases"]:
        with paddle.no_grad():
            y = apply_generator(net, paddle.to_tensor(case[stored["input"]]))
        assert_close(y.numpy(), case[stored["output"]], rtol=1e-5, what=stored["output"])


@golden("esrgan_*")
def test_gradients_equal_the_published_code(path: Path) -> None:
    case = Golden(path)
    if "input/target0" not in case:
        pytest.skip("this file has no gradients")
    net = build(case)
    y, target = (
        apply_generator(net, paddle.to_tensor(case["input/x0"])),
        paddle.to_tensor(case["input/target0"]),
    )
    assert_near(float(F.l1_loss(y, target)), case["output/l1_loss0"], 1e-5, "loss")
    F.l1_loss(with_values(y, case["output/y0"]), target).backward()
    gradients = {key: parameter.grad.numpy() for key, parameter in net.named_parameters()}
    ours = {old: new for new, old in esrgan_keys({key: key for key in case.params}).items()}
    for key, expected in case.group("grad").items():
        error = np.linalg.norm(gradients[ours[key]].astype(np.float64) - expected) / np.linalg.norm(expected)
        assert error < 2e-4, (key, error)
    for key, expected in case.meta["grad_l2_norms_of_l1_loss0"].items():
        norm = np.linalg.norm(gradients[ours[key]].astype(np.float64))
        assert norm == pytest.approx(expected, rel=2e-4), key


@pytest.mark.parametrize(("path", "file"), FILES, ids=lambda path: path.stem)
def test_wrapped_files_yield_the_same_state(path: Path, file: Path) -> None:
    case = Golden(path)
    state = read_file(file).state("generator")
    assert state.keys() == case.params.keys()
    for key, expected in case.params.items():
        np.testing.assert_array_equal(state[key].astype(np.float32), expected, err_msg=key)
