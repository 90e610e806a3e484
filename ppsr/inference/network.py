"""From a config and a weight file to the network that turns LR pictures into SR pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from paddle import nn

from ppsr.config import load_config
from ppsr.engine.stages import load_model
from ppsr.errors import ConfigError
from ppsr.registry import build_model

__all__ = ["load_network"]


def load_network(
    config_file: str | Path | None = None,
    load: str | Path | None = None,
    overrides: Iterable[str] = (),
) -> nn.Layer:
    """Build the inference network of a config, with weights.

    Args:
        config_file: a training config; only its `model` section is used.
        load: weight file.
        overrides: texts `a.b=value`.

    Returns:
        The network in evaluation mode; it has the fact `scale`.

    Raises:
        ConfigError: no config.
        WeightError: the weights do not fit.
    """
    if config_file is None:
        raise ConfigError("name the network by --config-file")
    config = load_config(config_file, overrides)
    if "model" not in config:
        raise ConfigError(f"{config.path} has no section 'model'")
    section = dict(config["model"])
    # losses and discriminators are for training; a config that needs their files still upscales
    kept = {k: v for k, v in section.items() if not k.endswith("_criterion") and k != "discriminator"}
    model = build_model({**kept, "pixel_criterion": {"name": "L1Loss"}})
    if load is not None:
        load_model(model, str(load))
    net = model.inference_net()
    net.eval()
    return net
