"""Loading weights into an algorithm: by network, or all its networks from one file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from paddle import nn

from ppsr.config.schema import Load
from ppsr.errors import ConfigError, did_you_mean
from ppsr.models.base import BaseModel
from ppsr.weights import load_state, read_weight_file
from ppsr.weights.loading import check_stated
from ppsr.weights.weight_file import WeightFile

logger = logging.getLogger(__name__)


def load_stages(model: BaseModel, stages: Mapping[str, Load], *, train: bool = True) -> None:
    """Load networks from the files that a config names.

    Args:
        stages: weights by the name of a network; "" means all networks.

    Raises:
        ConfigError: the algorithm has no such network.
        WeightError: a file does not fit and `partial` does not accept that.
    """
    for name, stage in stages.items():
        if not name:
            load_model(model, stage.path, partial=stage.partial, train=train)
            continue
        if name not in model.nets:
            raise ConfigError(f"load: the model has no net '{name}'; {did_you_mean(name, model.nets)}")
        net = model.nets[name]
        file = read_weight_file(stage.path).split(model.nets)
        state = file.state(name)
        if stage.expand_experts:
            if not hasattr(net, "adapt_state"):
                raise ConfigError(f"load.{name}.expand_experts: {type(net).__name__} has no experts")
            state = net.adapt_state(state)
        _apply(net, state, file, stage.partial, f"load.{name}.partial=true")


def load_model(
    model: BaseModel, path: str, *, partial: bool | Sequence[str] = False, train: bool = True
) -> None:
    """Load every network of an algorithm from one file.

    A nested file gives each network its part, preferring averaged parameters (`<net>_ema`) as the published
    tests do, and so does a file of one network of these parts. Another flat file belongs to the generator.

    Args:
        train: otherwise the networks must be those that the file states.

    Raises:
        WeightError: the file fits no network, or states another one.
    """
    file = read_weight_file(path).split(model.nets)
    parts = file.parts(model.nets)
    for name, state in parts.items():
        if not train and not partial:
            check_stated(model.nets[name], file, name)
        _apply(model.nets[name], state, file, partial, "--load-partial" if train else "")
    for name in sorted(set(model.nets) - set(parts)) if file.nested else ():
        logger.warning("%s has no weights for '%s'; it keeps its initial ones", path, name)


def _apply(
    net: nn.Layer,
    state: Mapping[str, np.ndarray],
    file: WeightFile,
    partial: bool | Sequence[str],
    option: str,
) -> None:
    """Load one network; `option` is what accepts the rest of weights that fit in part."""
    left_out = load_state(net, state, layout=file.layout, partial=partial, source=file.path, option=option)
    for line in left_out:
        logger.warning("%s: not loaded: %s", file.path, line)
