"""From a config and a weight file to the network that turns LR pictures into SR pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from paddle import nn

from ppsr.config import load_config
from ppsr.engine.stages import load_model
from ppsr.errors import ConfigError
from ppsr.inference.backends.exported import Export, find_export
from ppsr.registry import build_generator, build_model
from ppsr.weights import load_weights, read_state
from ppsr.weights.identify import identify

__all__ = ["load_network", "load_source"]


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
    section = dict(config["model"])
    # losses and discriminators are for training; a config that needs their files still upscales
    kept = {k: v for k, v in section.items() if not k.endswith("_criterion") and k != "discriminator"}
    model = build_model({**kept, "pixel_criterion": {"name": "L1Loss"}})
    if load is not None:
        load_model(model, str(load))
    net = model.inference_net()
    net.eval()
    return net


def load_source(config_file: Path | None, load: Path | None, model_dir: Path | None) -> nn.Layer | Path:
    """What a command upscales with: a network from its weights, or the prefix of an exported one.

    Args:
        config_file: see `load_network`; not used for an export.
        load: weights, or an export.
        model_dir: folder or prefix of an export.

    Raises:
        ConfigError: not one of `load` and `model_dir`, or as `load_network`.
        DataError: `model_dir` is no export.
        WeightError: as `load_network`.
    """
    given = load or model_dir
    if given is None or (load is not None and model_dir is not None):
        raise ConfigError("give weights by --load, or an exported network by --model-dir, and not both")
    if model_dir is not None:
        return Export(model_dir).prefix
    return find_export(given) or load_network(config_file, given)


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
