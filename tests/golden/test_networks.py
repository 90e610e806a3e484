"""Networks against the released code: recognition, outputs, features on the way, gradients;
RRDBNet in every published key layout."""

import math
from inspect import signature
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.generators.apply import apply_generator, pad_to_multiple
from ppsr.generators.rrdbnet import esrgan_keys, esrgan_layout
from ppsr.registry import GENERATORS, build_generator
from ppsr.weights import load_state, read_weight_file
from ppsr.weights.identify import identify
from ppsr.weights.loading import transposed_keys
from tests.golden.files import CLAIMED, DATA, Golden, assert_close, golden, with_values
from tests.golden.hash_weights import hash_array

# beside the golden folder, or beside the project
WEIGHTS = (DATA.parent / "weights", Path(__file__).parents[3] / "shared" / "weights")
OPTIONS = ("attention", "plus", "shared_slopes", "unshuffle")  # ours, which the released classes lack
# In float64 gradients agree to 2e-12. In float32 a LeakyReLU whose input is as small as rounding may take the
# other slope; the most that a gradient moved was 1.3e-4 of its norm.
_GRADIENT = 5e-4
CONVOLUTIONS = golden("srvgg_*", "imdn_*", "fsrcnn_*", "espcn_*", "esrgan_*")
TRANSFORMERS = golden("drct_*", "hat_*", "swinir_*")


def published_state(case: Golden) -> dict[str, np.ndarray]:
    """The state dict under the keys of the published file."""
    if "weights_file" in case.meta:
        path = next((p for p in WEIGHTS if (p / case.meta["weights_file"]).is_file()), None)
        if path is None:
            pytest.skip(f"{case.meta['weights_file']} is in none of {', '.join(map(str, WEIGHTS))}")
        return dict(read_weight_file(path / case.meta["weights_file"]).state())
    return case.params or {
        key: hash_array(k, tuple(shape), _bound(key, shape))
        for k, (key, shape) in enumerate(case.meta["keys"].items())
    }


def _bound(key: str, shape: list[int]) -> float:
    return 0.1 if key.endswith(".bias") else 1.2 * math.sqrt(3 / math.prod(shape[1:]))


def options_of(case: Golden) -> dict:
    return {**case.meta["kwargs"], **{key: case.meta[key] for key in OPTIONS if key in case.meta}}


def build(case: Golden):
    net = build_generator(case.meta["network"], **options_of(case))
    assert not load_state(net, published_state(case), layout="torch")
    net.eval()
    return net


@golden("imdn_*", "fsrcnn_*", "espcn_*", "esrgan_*")
def test_network_is_recognised_by_its_keys(path: Path) -> None:
    case = Golden(path)
    name, found = identify(published_state(case))
    parameters = signature(GENERATORS.get(name)).parameters
    expected = {key: parameters[key].default for key in found}
    expected |= {k: v for k, v in options_of(case).items() if name != "FSRCNN" or k != "scale"}
    assert (name, found) == (case.meta["network"], expected)


def run(net, case: Golden, x: np.ndarray) -> paddle.Tensor:
    image = paddle.to_tensor(x)
    if case.meta["network"] != "SwinIR":
        return apply_generator(net, image)
    # pads in its forward, to the window of its options even where that is larger than the images
    height, width = image.shape[2:]
    y = net(pad_to_multiple(image, case.meta["kwargs"].get("window_size", 7)))
    return y[:, :, : height * net.scale, : width * net.scale]


def check_outputs(case: Golden, rtol: float) -> None:
    net = build(case)
    taps = {}
    for name, layer in net.named_sublayers():
        layer.register_forward_post_hook(lambda _, __, y, name=name: taps.__setitem__(name, y))
    for index, stored in enumerate(case.meta["cases"]):
        with paddle.no_grad():
            y = run(net, case, case[stored["input"]])
        assert_close(y, case[stored["output"]], rtol=rtol, what=stored["output"])
        for name, expected in case.group(f"output/tap{index}").items():
            value = taps[name].numpy()
            if value.ndim == 4 and expected.ndim == 3:  # tokens
                value = value.reshape(expected.shape)
            assert_close(value, expected, rtol=rtol, what=name)


@CONVOLUTIONS
@pytest.mark.smoke
def test_outputs_of_convolutions_equal_the_released_code(path: Path) -> None:
    check_outputs(Golden(path), rtol=1e-5)


@TRANSFORMERS
def test_outputs_and_features_of_transformers_equal_the_released_code(path: Path) -> None:
    check_outputs(Golden(path), rtol=1e-4)


def check_gradients(case: Golden) -> None:
    if "input/target0" not in case:
        pytest.skip("this file has no gradients")
    net = build(case)
    y, target = run(net, case, case["input/x0"]), paddle.to_tensor(case["input/target0"])
    assert_close(float(F.l1_loss(y, target)), case["output/l1_loss0"], rtol=1e-5, what="loss")
    F.l1_loss(with_values(y, case["output/y0"]), target).backward()
    turned = transposed_keys(net)
    gradients = {key: p.grad.numpy().astype(np.float64) for key, p in net.named_parameters()}
    rename = getattr(type(net), "map_published_keys", dict)
    own_keys = {theirs: own for own, theirs in rename({key: key for key in published_state(case)}).items()}
    compared = case.group("grad")
    assert compared
    for key, expected in compared.items():
        own = own_keys[key]
        ours = gradients[own].T if own in turned else gradients[own]
        error = np.linalg.norm(ours - expected) / max(np.linalg.norm(expected), 1e-12)
        assert error < _GRADIENT, f"{key}: {error:.2e}"
    norms = case.meta["grad_l2_norms_of_l1_loss0"]
    assert {own_keys[key] for key in norms} == gradients.keys()
    for key, expected in norms.items():
        norm = np.linalg.norm(gradients[own_keys[key]])
        assert norm == pytest.approx(expected, rel=_GRADIENT, abs=1e-7), key


@CONVOLUTIONS
def test_gradients_of_convolutions_equal_the_released_code(path: Path) -> None:
    check_gradients(Golden(path))


@pytest.mark.slow
@TRANSFORMERS
def test_gradients_of_transformers_equal_the_released_code(path: Path) -> None:
    check_gradients(Golden(path))


WRAPPED = sorted(DATA.glob("esrgan_wrapped*.npz"))
CLAIMED.update(path.stem for path in WRAPPED)
FILES = [
    (path, DATA / Golden(path).meta["folder"] / name)
    for path in WRAPPED
    for name in Golden(path).meta["files"]
]


@golden("esrgan_*")
def test_keys_are_mapped_as_recorded(path: Path) -> None:
    case = Golden(path)
    assert esrgan_layout(case.params) == case.meta["layout"]
    recorded = case.meta.get("ppsr_keys")
    if not isinstance(recorded, dict):
        pytest.skip("this file records no keys")
    mapped = esrgan_keys({key: key for key in case.params})
    assert {old: new for new, old in mapped.items()} == recorded


@pytest.mark.parametrize(("path", "file"), FILES, ids=lambda path: path.stem)
def test_wrapped_files_yield_the_same_state(path: Path, file: Path) -> None:
    case = Golden(path)
    state = read_weight_file(file).state("generator")
    assert state.keys() == case.params.keys()
    for key, expected in case.params.items():
        np.testing.assert_array_equal(state[key].astype(np.float32), expected, err_msg=key)
