"""From a config and a weight file to the network that turns LR pictures into SR pictures."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paddle import nn

from ppsr.config import load_config
from ppsr.engine.stages import load_model
from ppsr.errors import ConfigError
from ppsr.registry import MODELS, build_generator, build_model
from ppsr.weights import load_weights, read_state
from ppsr.weights.identify import identify

__all__ = ["load_network"]


def load_network(
    config_file: str | Path | None = None,
    load: str | Path | None = None,
    overrides: Iterable[str] = (),
) -> nn.Layer:
    """Build the inference network of a config, with weights.

    Args:
        config_file: a training config; only its `model` section is used. None: the weights tell.
        load: weight file.
        overrides: texts `a.b=value`.

    Returns:
        The network in evaluation mode; it has the fact `scale`.

    Raises:
        ConfigError: neither config nor weights, or the network needs the parts around it.
        WeightError: the weights do not fit, or belong to no known network.
    """
    if config_file is None:
        if load is None:
            raise ConfigError("name the network by --config-file, or give its weights by --load")
        return _identified(load)
    config = load_config(config_file, overrides)
    if "model" not in config:
        raise ConfigError(f"{config.path} has no section 'model'")
    model = build_model(_for_inference(dict(config["model"])))
    if load is not None:
        load_model(model, str(load))
    net = model.inference_net()
    net.eval()
    return net


def _for_inference(section: dict[str, Any]) -> dict[str, Any]:
    """The model without what only training needs, so that a config whose losses need files still upscales."""
    options = inspect.signature(MODELS.get(str(section.get("name")))).parameters
    spare = [k for k, option in options.items() if k.endswith("_criterion") and option.default is None]
    kept = {k: v for k, v in section.items() if k not in (*spare, "discriminator")}
    # where losses are optional, there must be one
    return {**kept, "pixel_criterion": {"name": "L1Loss"}} if "pixel_criterion" in spare else kept


def _identified(load: str | Path) -> nn.Layer:
    """The network that a weight file alone tells.

    Raises:
        ConfigError: it needs more than a picture.
    """
    name, arguments = identify(read_state(load))
    net = build_generator(name, **arguments)
    if hasattr(net, "example_inputs"):
        raise ConfigError(f"{load} holds a {name}, which needs more than a picture; give --config-file too")
    load_weights(net, load)
    net.eval()
    return net
