"""Loading weights into an algorithm: earlier stages by network, or all its networks from one file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from ppsr.config.schema import Load
from ppsr.errors import ConfigError, WeightError, did_you_mean
from ppsr.generators.cddnet import expand_experts
from ppsr.models.base import BaseModel
from ppsr.weights import apply_state, read_file

__all__ = ["load_model", "load_stages"]

logger = logging.getLogger(__name__)


def load_stages(model: BaseModel, stages: Mapping[str, Load]) -> None:
    """Load single networks from the files that a config names.

    Raises:
        ConfigError: the algorithm has no such network.
        WeightError: a file does not fit and `partial` does not accept that.
    """
    for name, stage in stages.items():
        if name not in model.nets:
            raise ConfigError(f"load: the model has no net '{name}'; {did_you_mean(name, model.nets)}")
        net = model.nets[name]
        file = read_file(stage.path)
        state = file.state(name)
        if stage.expand_experts:
            state = expand_experts(state, net)
        for line in apply_state(net, state, layout=file.layout, partial=stage.partial):
            logger.warning("%s: not loaded: %s", stage.path, line)


def load_model(model: BaseModel, path: str, *, partial: bool | Sequence[str] = False) -> list[str]:
    """Load every network of an algorithm from one file.

    A nested file gives each network its part, preferring averaged parameters (`<net>_ema`) as the published
    tests do. A flat file belongs to the generator.

    Returns:
        What was not loaded; empty unless `partial`.

    Raises:
        WeightError: the file fits no network.
    """
    file = read_file(path)
    problems: list[str] = []
    if file.nested:
        wanted = [name for name in model.nets if name in file.nets or f"{name}_ema" in file.nets]
        if not wanted:
            raise WeightError(f"{path} holds {sorted(file.nets)}, the model needs {sorted(model.nets)}")
        for name in wanted:
            key = f"{name}_ema" if f"{name}_ema" in file.nets else name
            problems += apply_state(model.nets[name], file.nets[key], layout=file.layout, partial=partial)
        for name in sorted(set(model.nets) - set(wanted)):
            logger.warning("%s has no weights for '%s'; it keeps its initial ones", path, name)
        return problems
    return apply_state(model.nets["generator"], file.state(), layout=file.layout, partial=partial)
