"""What holds for every registered generator, found through the registry."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ppsr.errors import ConfigError
from ppsr.generators.apply import super_resolve
from ppsr.registry import GENERATORS, build_generator
from ppsr.weights.identify import identify
from ppsr.weights.loading import load_state, transposed_keys
from tests.networks import network

every_network = pytest.mark.parametrize("name", GENERATORS.names())
INITIALISATIONS = 8


def build(name: str, seed: int = 0):
    """The small test network of an lq -> sr class; auxiliary networks are not for these tests."""
    cls = GENERATORS.get(name)
    if not getattr(cls, "produces_image", True):
        pytest.skip(f"{name} does not make SR images")
    return network(name, seed)


def test_a_config_entry_and_a_name_build_the_same():
    entry = {"name": "ESPCN", "scale": 2}
    assert build_generator(entry).built_from == build_generator("ESPCN", scale=2).built_from == entry
    with pytest.raises(ConfigError, match=r"the name of a generator must be a text, got \['ESPCN'\]"):
        build_generator({"name": ["ESPCN"]})
    with pytest.raises(ConfigError, match="upscale is the text '4'"):
        build_generator("DRCT", upscale="4")


def example(net, n: int, h: int, w: int) -> list[paddle.Tensor]:
    """Inputs as forward takes them, in the network's own value range."""
    if hasattr(net, "example_inputs"):
        return [paddle.to_tensor(array) for array in net.example_inputs(n, h, w)]
    image = np.random.default_rng(0).random((n, 3, h, w), dtype=np.float32)
    return [paddle.to_tensor(image * float(getattr(net, "rgb_range", 1.0)))]


def outputs(result) -> list[paddle.Tensor]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


@every_network
@pytest.mark.smoke
def test_facts_that_other_parts_rely_on_are_stated(name: str) -> None:
    net = build(name)
    assert isinstance(net.scale, int)
    assert net.scale >= 1
    assert isinstance(type(net).fp16_safe, bool)
    assert isinstance(getattr(net, "size_multiple", 1), int)
    assert net.receptive_radius is None or isinstance(net.receptive_radius, int)
    assert float(getattr(net, "rgb_range", 1.0)) in (1.0, 255.0)


@every_network
@pytest.mark.parametrize(("height", "width"), [(11, 17), (7, 5)])
def test_image_of_an_odd_size_is_enlarged_by_the_scale(name: str, height: int, width: int) -> None:
    net = build(name)
    inputs = example(net, 2, height, width)
    if len(inputs) == 1:
        sr = super_resolve(net, inputs[0] / float(getattr(net, "rgb_range", 1.0)))
    else:
        assert getattr(net, "size_multiple", 1) == 1, "a network of several inputs is called directly"
        sr = outputs(net(*inputs))[-1]
    assert list(sr.shape) == [2, inputs[0].shape[1], height * net.scale, width * net.scale]
    assert bool(paddle.isfinite(sr).all())


@every_network
def test_gradient_reaches_every_trainable_parameter(name: str) -> None:
    """A dead ReLU or a dropped path may hide a parameter from one initialisation, but not from all."""
    unreached: set[str] | None = None
    for seed in range(INITIALISATIONS):
        net = build(name, seed)
        net.train()
        multiple = getattr(net, "size_multiple", 1)
        side = multiple * max(1, 8 // multiple)
        sum((y**2).mean() for y in outputs(net(*example(net, 2, side, side)))).backward()
        trainable = {key: p for key, p in net.named_parameters() if not p.stop_gradient}
        assert trainable
        for key, parameter in trainable.items():
            assert parameter.grad is None or np.isfinite(parameter.grad.numpy()).all(), key
        silent = {key for key, p in trainable.items() if p.grad is None or not p.grad.numpy().any()}
        unreached = silent if unreached is None else unreached & silent
        if not unreached:
            return
    assert not unreached


@every_network
@pytest.mark.parametrize("layout", ["paddle", "torch"])
def test_state_dict_moves_to_another_instance_without_loss(name: str, layout: str) -> None:
    net, other = build(name, 0), build(name, 1)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    if layout == "torch":
        turned = transposed_keys(net)
        state = {key: value.T if key in turned else value for key, value in state.items()}
    multiple = getattr(net, "size_multiple", 1)
    inputs = example(net, 1, multiple * 2, multiple * 3)
    with paddle.no_grad():
        expected, before = outputs(net(*inputs))[-1].numpy(), outputs(other(*inputs))[-1].numpy()
        assert load_state(other, state, layout=layout) == []
        after = outputs(other(*inputs))[-1].numpy()
    assert not np.array_equal(expected, before), "two initialisations are equal: the test would prove nothing"
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize(
    "name", [n for n in GENERATORS.names() if hasattr(GENERATORS.get(n), "example_inputs")]
)
@pytest.mark.slow
def test_export_with_open_sizes_equals_the_network(name: str, tmp_path: Path) -> None:
    """Of networks that take more than an image; of others tests/inference/export/test_writer.py."""
    net = build(name)
    multiple = getattr(net, "size_multiple", 1)
    unit = multiple if multiple > 1 else 5
    traced = example(net, 1, unit, unit)
    specs = [
        paddle.static.InputSpec(
            [None, x.shape[1], None, None] if x.ndim == 4 else [None, *x.shape[1:]], "float32"
        )
        for x in traced
    ]
    cases = []
    for n, h, w in ((1, 2 * unit, 3 * unit), (2, 3 * unit, 2 * unit + multiple)):
        inputs = example(net, n, h, w)
        with paddle.no_grad():
            cases.append((inputs, [y.numpy() for y in outputs(net(*inputs))]))
    static = paddle.jit.to_static(net, input_spec=specs, full_graph=True)
    paddle.jit.save(static, str(tmp_path / "net"), input_spec=specs)
    loaded = paddle.jit.load(str(tmp_path / "net"))
    for inputs, expected in cases:
        with paddle.no_grad():
            actual = outputs(loaded(*inputs))
        assert len(actual) == len(expected)
        for y, reference in zip(actual, expected, strict=True):
            assert list(y.shape) == list(reference.shape)
            error = np.abs(y.numpy() - reference).max() / np.abs(reference).max()
            assert error <= 1e-5, f"relative error {error:.2e} at {inputs[0].shape}"


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("edge", ["left", "right", "top", "bottom"])
def test_nothing_beyond_the_stated_radius_changes_the_output(name: str, edge: str) -> None:
    net = build(name)
    radius = net.receptive_radius
    if radius is None:
        pytest.skip(f"{name} sees the whole image")
    multiple = getattr(net, "size_multiple", 1)
    short, long = -(-4 // multiple) * multiple, -(-(radius + 4) // multiple) * multiple
    horizontal = edge in ("left", "right")
    inputs = example(net, 1, *((short, long) if horizontal else (long, short)))
    disturbed = inputs[0].numpy().copy()
    line = 0 if edge in ("left", "top") else -1
    if horizontal:
        disturbed[:, :, :, line] += 10
    else:
        disturbed[:, :, line, :] += 10
    with paddle.no_grad():
        before = outputs(net(*inputs))[-1].numpy()
        after = outputs(net(paddle.to_tensor(disturbed), *inputs[1:]))[-1].numpy()
    change = np.abs(after - before).max(axis=(0, 1)).max(axis=0 if horizontal else 1)
    if line == -1:
        change = change[::-1]
    assert change[0] > 1e-3, "the disturbance has no effect: the test would prove nothing"
    beyond = change[(radius + 1) * net.scale :]
    assert beyond.size
    assert beyond.max() <= 1e-6 * max(1.0, np.abs(before).max())


def plain(value: Any) -> Any:
    """Tuples as lists, as a config holds them."""
    return json.loads(json.dumps(value))


def check_recognised(name: str, arguments: dict[str, Any]) -> None:
    """Build, forget the arguments, recognise the weights, rebuild, load, compare."""
    net = GENERATORS.build({"name": name, **arguments})
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    found, recovered = identify(state)
    assert found == name
    if name == "FSRCNN":  # its scale leaves no trace
        recovered = {**recovered, "scale": arguments["scale"]}
    for key, value in plain(arguments).items():
        if key == "img_size" and key not in recovered:
            continue  # only stored masks and position embeddings show it, and nothing else depends on it
        got = plain(recovered)[key]
        assert (got | value if isinstance(value, dict) else value) == got, key
    turned = {key: value.T if key in transposed_keys(net) else value for key, value in state.items()}
    assert identify(turned) == identify(state)
    again = GENERATORS.build({"name": found, **recovered})
    assert not load_state(again, state)
    for key, value in again.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[key])


@every_network
@pytest.mark.smoke
def test_weights_are_recognised_and_the_network_rebuilt(name: str) -> None:
    check_recognised(name, GENERATORS.get(name).test_args)


class _Halved(nn.Layer):
    """Gives half the size that it came in."""

    def forward(self, x):
        return x[:, :, ::2, ::2]


def test_networks_of_another_size_than_their_scale_says_are_named() -> None:
    net = _Halved()
    with pytest.raises(ConfigError, match="_Halved states no scale"):
        super_resolve(net, paddle.zeros([1, 3, 8, 8]))
    net.scale = 1
    with pytest.raises(ConfigError, match=r"_Halved makes \[4, 4\] of \[8, 8\], its scale is 1"):
        super_resolve(net, paddle.zeros([1, 3, 8, 8]))
