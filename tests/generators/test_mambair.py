"""MambaIR and MambaDRCT: arguments, sizes, and everything that any network goes through."""

import inspect
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppsr.config import load_config
from ppsr.errors import ConfigError
from ppsr.generators.network_info import network_info
from ppsr.generators.variants import find_variant
from ppsr.registry import GENERATORS
from tests.networks import network

CONFIGS = Path(__file__).parents[2] / "configs"
both = pytest.mark.parametrize("name", ["MambaIR", "MambaDRCT"])


@pytest.mark.parametrize("name", ["MambaIR_x4", "MambaIR-light_x4", "MambaDRCT_x4"])
def test_config_has_the_arguments_of_the_named_model(name: str) -> None:
    variant = find_variant(name)
    file = name.lower().replace("-", "_")
    config = dict(load_config(CONFIGS / f"{file}.yaml")["model"]["generator"])
    assert config.pop("name") == variant.generator
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(GENERATORS.get(variant.generator)).parameters.items()
    }
    without_effect = {"img_size", "window_size", "mlp_ratio"} if "DRCT" in name else set()

    def settings(arguments):
        merged = {**defaults, **arguments}
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in merged.items() if k not in without_effect
        }

    assert settings(config) == settings(variant.kwargs)


def test_only_kept_windows_restrict_the_size() -> None:
    assert network_info(network("MambaDRCT", mamba_blocks=[1, 1, 1, 1, 1])).size_multiple == 1
    assert network_info(network("MambaDRCT")).size_multiple == 4
    assert network_info(network("MambaIR")).size_multiple == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mamba_blocks": [1, 1]}, "5 flags"),
        ({"mamba_blocks": [1, 2, 0, 0, 0]}, "5 flags"),
        ({"mamba_type": "mamba2"}, "vss or ssmlp"),
        ({"upsampler": "nearest+conv"}, "pixelshuffle"),
        ({"embed_dim": 20}, "30"),
    ],
)
def test_wrong_arguments_of_mambadrct_are_named(arguments, message) -> None:
    with pytest.raises(ConfigError, match=message):
        network("MambaDRCT", **arguments)
    with pytest.raises(ConfigError, match="'nearest' is unknown"):
        network("MambaIR", upsampler="nearest")


@pytest.mark.parametrize("name", ["MambaIR", "SwinIR"])
def test_no_upsampler_is_written_as_none_too(name: str) -> None:
    x = paddle.rand([1, 3, 8, 8])
    empty, none = (network(name, upsampler=value, upscale=1) for value in ("", None))
    np.testing.assert_array_equal(none(x).numpy(), empty(x).numpy())
    assert none(x).shape == x.shape


@pytest.mark.slow
@both
def test_recomputing_changes_no_gradient(name: str) -> None:
    x = paddle.rand([1, 3, 8, 8])
    found = []
    for use_checkpoint in (False, True):
        net = network(name, use_checkpoint=use_checkpoint, drop_path_rate=0.0)
        net.train()
        net(x).mean().backward()
        found.append({key: p.grad.numpy() for key, p in net.named_parameters()})
    for key, gradient in found[0].items():
        np.testing.assert_allclose(found[1][key], gradient, atol=1e-7, err_msg=key)
