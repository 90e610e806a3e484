"""From a config and a weight file to the network that turns LR images into SR images."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddle import nn

from ppsr.compat.paddle import seeded
from ppsr.config import load_config
from ppsr.engine.stages import load_model
from ppsr.errors import ConfigError, WeightError
from ppsr.inference.export.artifact import find_export
from ppsr.registry import MODELS, build_model
from ppsr.weights import load_state, read_weight_file
from ppsr.weights.build import build_from_spec
from ppsr.weights.catalogue import find_entry
from ppsr.weights.fetch import get_entry
from ppsr.weights.identify import NetworkSpec
from ppsr.weights.loading import check_stated
from ppsr.weights.mix import read_with_strength
from ppsr.weights.weight_file import WeightFile

__all__ = ["DEFAULT_WEIGHTS", "load_network", "load_source", "split_networks"]

DEFAULT_WEIGHTS = "realesrgan-x4plus"
SHIPPED_WEIGHTS = "srvgg-8x32-x4"
"""A network shipped with ppsr, for machines that cannot download the default."""

logger = logging.getLogger(__name__)

Files = str | Path | Sequence[str | Path]
_PREDICTOR = "DegradationPredictor"


@seeded(0)  # initial values, which weights replace, leave the caller's random numbers alone
def load_network(
    config_file: str | Path | None = None, load: Files | None = None, overrides: Iterable[str] = ()
) -> nn.Layer:
    """Build the inference network of a config, with weights.

    Args:
        config_file: a training config; only its `model` section is used. None: inferred from the weights.
        load: weight file; several where the published files hold one network each, such as CDDNet's generator
            and its predictor.
        overrides: texts `a.b=value`.

    Returns:
        The network in evaluation mode; it has the fact `scale`.

    Raises:
        ConfigError: neither config nor weights, or the network needs the parts around it.
        WeightError: the weights do not fit, or belong to no known network.
    """
    paths = [] if load is None else [load] if isinstance(load, (str, Path)) else list(load)
    if config_file is None:
        if not paths:
            raise ConfigError("name the network by --config-file, or give its weights by --load")
        for path in paths:
            if find_export(Path(path)) is not None:
                raise ConfigError(f"{path} is an exported network, and its weights are needed here")
        return _identified(_parts(paths))
    config = load_config(config_file, overrides)
    if "model" not in config:
        raise ConfigError(f"{config.path} has no section 'model'")
    model = build_model(_for_inference(dict(config["model"])))
    if len(paths) == 1:
        load_model(model, str(paths[0]), train=False)
    else:
        for role, file in _parts(paths).items():
            if role not in model.nets:
                raise WeightError(
                    f"one of the files holds a {role}, which {config['model']['name']} does not have"
                )
            check_stated(model.nets[role], file, role)
            load_state(model.nets[role], file.state(role), layout=file.layout, source=file.path)
    net = model.inference_net()
    net.eval()
    return net


def load_source(
    config_file: str | Path | None,
    load: Sequence[Path],
    strength: float | None = None,
) -> nn.Layer | Path:
    """Load the network of a command from its weights, or return the prefix of an exported one.

    Args:
        config_file: see `load_network`; not used for an export.
        load: weights, or the folder or prefix of an export; none: `DEFAULT_WEIGHTS`, or `SHIPPED_WEIGHTS`
            where those cannot be had.
        strength: from 0 to 1, of published weights that have a weaker partner; see `read_with_strength`.

    Raises:
        ConfigError: weights without a partner, or as `load_network`.
        WeightError: as `load_network`.
    """
    if not load:
        if config_file is not None:
            raise ConfigError(f"{config_file} names a network without weights; give them by --load")
        load = [_default_weights()]
    if strength is not None:
        if len(load) != 1 or config_file is not None:
            raise ConfigError("--strength is for one --load without a config")
        return _identified({"generator": read_with_strength(load[0], strength)})
    exported = find_export(load[0]) if len(load) == 1 else None
    return exported or load_network(config_file, load)


def _default_weights() -> Path:
    """The default weights, which one line of the log names."""
    try:
        path = get_entry(find_entry(DEFAULT_WEIGHTS))
    except WeightError as error:
        logger.warning("%s", error)
        logger.warning(
            "using %s instead, a small network that comes with ppsr; it sharpens clean images and "
            "removes neither noise nor compression",
            SHIPPED_WEIGHTS,
        )
        return Path(SHIPPED_WEIGHTS)
    logger.info("no weights given, using %s (others: ppsr models list)", DEFAULT_WEIGHTS)
    return path


def split_networks(paths: Sequence[Path]) -> list[list[Path]]:
    """Files of one or several networks, those of each together.

    A lone predictor belongs to the generator before it, or to the first one.

    Raises:
        WeightError: a file is unreadable.
    """
    networks: list[list[Path]] = []
    predictors: list[Path] = []
    for path in paths:
        if len(paths) > 1 and find_export(path) is None and _roles(read_weight_file(path)) == ("predictor",):
            (networks[-1] if networks else predictors).append(path)
        else:
            networks.append([path])
    if predictors:
        networks = [[*networks[0], *predictors], *networks[1:]] if networks else [predictors]
    return networks


def _parts(paths: Sequence[str | Path]) -> dict[str, WeightFile]:
    """Which file holds the generator, and which the predictor where there is one."""
    parts: dict[str, WeightFile] = {}
    for path in paths:
        file = read_weight_file(path)
        for role in _roles(file):
            if role in parts:
                raise WeightError(f"{path} is the second file with a {role}; give one of them")
            parts[role] = file
    return parts


def _roles(file: WeightFile) -> tuple[str, ...]:
    if file.nested:
        return ("generator", "predictor") if "predictor" in file.nets else ("generator",)
    return ("predictor",) if file.network().name == _PREDICTOR else ("generator",)


def _for_inference(section: dict[str, Any]) -> dict[str, Any]:
    """The model without what only training needs, so that a config whose losses need files still upscales."""
    options = inspect.signature(MODELS.get(str(section.get("name")))).parameters
    spare = [k for k, option in options.items() if k.endswith("_criterion") and option.default is None]
    kept = {k: v for k, v in section.items() if k not in (*spare, "criterions", "discriminator", "teacher")}
    # where losses are optional, there must be one
    return {**kept, "criterions": [{"name": "L1Loss"}]} if "criterions" in options else kept


def _identified(parts: Mapping[str, WeightFile]) -> nn.Layer:
    """The network inferred from weight files alone."""
    named = {role: file.network(role) for role, file in parts.items()}
    for role, file in parts.items():
        for choice in file.open_choices(role):
            logger.warning(
                "%s: %s", file.path, f"{choice}; to say otherwise: ppsr convert IN OUT -o KEY=VALUE"
            )
    names = ", ".join(dict.fromkeys(str(file.path) for file in parts.values()))
    if "generator" not in named:
        raise ConfigError(f"{names} holds a {_PREDICTOR} alone; give the generator's file by --load too")
    net: Any = build_from_spec(named["generator"], [parts["generator"].state("generator")], names)
    loaded = {"generator": net}
    if hasattr(net, "example_inputs"):
        if "predictor" not in named:
            raise ConfigError(
                f"{names} holds a {named['generator'].name}, which needs more than an image; "
                "give the file of its predictor by a second --load"
            )
        sections = {role: {"name": spec.name, **spec.kwargs} for role, spec in named.items()}
        states = [parts[role].state(role) for role in sections]
        net = build_from_spec(NetworkSpec("BlindSR", sections), states, names)
        loaded = {role: getattr(net, role) for role in sections}
    for role, part in loaded.items():
        load_state(part, parts[role].state(role), layout=parts[role].layout, source=parts[role].path)
    net.eval()
    return net
