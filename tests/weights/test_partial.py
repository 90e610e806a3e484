"""Loading weights that fit in part: what is accepted, and what is refused as another network's."""

from typing import Any

import numpy as np
import pytest
from paddle import nn

from ppsr.errors import WeightError
from ppsr.registry import GENERATORS
from ppsr.weights.loading import load_state

State = dict[str, np.ndarray]


def network(name: str = "MSRResNet", **changed: Any) -> Any:
    small = {"num_feat": 8, "num_block": 2} if name == "MSRResNet" else GENERATORS.get(name).test_args
    return GENERATORS.build({"name": name, **small, **changed})


def weights(*arguments: str, **changed: Any) -> State:
    return {key: value.numpy() for key, value in network(*arguments, **changed).state_dict().items()}


def test_another_network_s_weights_are_refused_and_named():
    net = network()
    with pytest.raises(WeightError) as caught:
        load_state(net, weights("RRDBNet", num_feat=16), partial=True)
    total = len(net.state_dict())
    assert f"of the {total} tensors of MSRResNet are in the weights; they are those of a RRDBNet" in str(
        caught.value
    )


def test_partial_loading_is_advised_only_where_half_fits():
    with pytest.raises(WeightError, match="tensors that fit: --some"):
        load_state(network(upscale=4), weights(upscale=3), option="--some")
    discriminator = dict.fromkeys(["conv0.weight", "conv9.weight"], np.ones(1))
    with pytest.raises(
        WeightError, match=r"those of a discriminator.*give the file of the generator"
    ) as error:
        load_state(network(), discriminator, option="--some")
    assert "--some" not in str(error.value)


def test_a_refused_load_changes_nothing():
    net = network()
    before = net.conv_last.bias.numpy()
    with pytest.raises(WeightError, match="partial loading needs half"):
        load_state(net, {"conv_last.bias": before + 1}, partial=True)
    assert (net.conv_last.bias.numpy() == before).all()


def test_another_scale_s_weights_load_in_part_and_the_rest_is_listed():
    problems = load_state(network(upscale=4), weights(upscale=3), partial=True)
    assert {line.split()[1].rstrip(":").split(".")[0] for line in problems} == {"upconv1", "upconv2"}


@pytest.mark.parametrize("spare", [0, 1])
def test_half_of_the_tensors_is_enough(spare):
    net, state = network(), weights()
    half = (len(state) + 1) // 2
    some = dict(list(state.items())[: half - spare])
    if spare:
        with pytest.raises(WeightError, match=rf"only {half - 1} of the {len(state)} tensors"):
            load_state(net, some, partial=True)
    else:
        assert len(load_state(net, some, partial=True)) == len(state) - half


def test_patterns_that_match_everything_accept_every_file():
    assert load_state(network(), {}, partial=[".*"])


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_are_loaded_into_networks_of_half_precision(dtype):
    net = nn.Linear(2, 2)
    net.to(dtype=dtype)
    weights = np.array([[1, -0.5], [0.25, 3]], np.float32)
    assert load_state(net, {"weight": weights, "bias": np.zeros(2, np.float32)}) == []
    assert str(net.weight.dtype).endswith(dtype)
    np.testing.assert_array_equal(net.weight.astype("float32").numpy(), weights)


def test_quantised_weights_are_named():
    state = weights()
    first = next(iter(state))
    with pytest.raises(WeightError, match=f"quantised {first}: int8"):
        load_state(network(), {**state, first: state[first].astype("i1")})
