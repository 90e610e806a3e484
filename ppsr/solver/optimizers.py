"""Paddle's optimizers under PaddleGAN's option names, and their state under structured parameter names.

Paddle keys optimizer state by automatic names (`conv2d_20.w_0_moment1_0`), which depend on what else was
built in the process. Here it is saved as `<net>.<parameter>/moment1_0`, and the key set is checked when it is
loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import paddle
from paddle import nn
from pydantic import Field, NonNegativeFloat

from ppsr.compat.paddle import create_accumulators, keeps_master_weight
from ppsr.errors import ConfigError, WeightError, did_you_mean
from ppsr.registry import LRSCHEDULERS, OPTIMIZERS
from ppsr.solver import multi_tensor
from ppsr.solver.schedules import Schedule

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Momentum",
    "RMSProp",
    "build_optimizers",
    "build_schedules",
    "load_optimizer_state",
    "optimizer_state",
]

logger = logging.getLogger(__name__)

Parameters = Sequence[Any]
FloatBelow1 = Annotated[float, Field(ge=0, lt=1)]
RATE = 0.001  # until the first step, which takes it from the schedule
_MASTER = "fp32_master_0"  # what Paddle appends to a parameter's name for its master weight


def Adam(  # noqa: N802 - registered under the optimizer's name
    *,
    parameters: Parameters,
    beta1: FloatBelow1 = 0.9,
    beta2: FloatBelow1 = 0.999,
    epsilon: NonNegativeFloat = 1e-8,
    weight_decay: NonNegativeFloat | None = None,
) -> paddle.optimizer.Optimizer:
    """Adam with L2 regularisation as `weight_decay`."""
    return multi_tensor.Adam(
        RATE, beta1, beta2, epsilon, parameters=parameters, weight_decay=weight_decay or None
    )


def AdamW(  # noqa: N802
    *,
    parameters: Parameters,
    beta1: FloatBelow1 = 0.9,
    beta2: FloatBelow1 = 0.999,
    epsilon: NonNegativeFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.01,
) -> paddle.optimizer.Optimizer:
    """Adam with decoupled weight decay."""
    return paddle.optimizer.AdamW(
        RATE, beta1, beta2, epsilon, parameters=parameters, weight_decay=weight_decay
    )


def SGD(  # noqa: N802
    *, parameters: Parameters, weight_decay: NonNegativeFloat | None = None
) -> paddle.optimizer.Optimizer:
    """Plain gradient descent."""
    return paddle.optimizer.SGD(RATE, parameters=parameters, weight_decay=weight_decay or None)


def Momentum(  # noqa: N802
    *, parameters: Parameters, momentum: FloatBelow1 = 0.9, weight_decay: NonNegativeFloat | None = None
) -> paddle.optimizer.Optimizer:
    """Gradient descent with momentum."""
    return multi_tensor.Momentum(RATE, momentum, parameters=parameters, weight_decay=weight_decay or None)


def RMSProp(  # noqa: N802
    *,
    parameters: Parameters,
    rho: FloatBelow1 = 0.95,
    epsilon: NonNegativeFloat = 1e-6,
    momentum: FloatBelow1 = 0.0,
    weight_decay: NonNegativeFloat | None = None,
) -> paddle.optimizer.Optimizer:
    """RMSProp."""
    return paddle.optimizer.RMSProp(
        RATE, rho, epsilon, momentum, parameters=parameters, weight_decay=weight_decay or None
    )


for _factory in (Adam, AdamW, SGD, Momentum, RMSProp):
    setattr(_factory, "injected_args", ("parameters",))  # noqa: B010 - functions take attributes at run time


def _sections(cfg: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """One optimizer, called "optim", or several by name; None disables one inherited from `base`."""
    return {"optim": cfg} if "name" in cfg else {k: v for k, v in cfg.items() if v is not None}


def build_schedules(cfg: Mapping[str, Any], lr_scheduler: Mapping[str, Any]) -> dict[str, Schedule]:
    """The schedule of every optimizer: its own `lr_scheduler` or the common one, with its own `learning_rate`
    where it has one.

    Example:
        >>> optimizer = {"optimG": {"name": "Adam"}, "optimD": {"name": "Adam", "learning_rate": 1e-5}}
        >>> schedules = build_schedules(optimizer, {"name": "ConstantLR", "learning_rate": 1e-4})
        >>> rate = schedules["optimD"]
        >>> rate(0)
        1e-05
    """
    schedules = {}
    for key, section in _sections(cfg).items():
        options = dict(section.get("lr_scheduler") or lr_scheduler)
        if section.get("learning_rate") is not None:
            options["learning_rate"] = section["learning_rate"]
        schedules[key] = LRSCHEDULERS.build(options)
    return schedules


def build_optimizers(
    cfg: Mapping[str, Any], nets: Mapping[str, nn.Layer]
) -> dict[str, tuple[paddle.optimizer.Optimizer, tuple[str, ...]]]:
    """Build one optimizer (`{name, net_names, ...}`, called "optim") or several by name.

    Returns:
        Name -> (optimizer, names of the networks it updates).

    Raises:
        ConfigError: a network is unknown or has two optimizers, or none has one.
    """
    taken: dict[str, str] = {}
    built = {}
    for key, section in _sections(cfg).items():
        options = {k: v for k, v in section.items() if k not in ("lr_scheduler", "learning_rate")}
        names = options.pop("net_names", None)
        if not names:
            raise ConfigError(f"optimizer '{key}' needs net_names: which of {sorted(nets)} it updates")
        names = [names] if isinstance(names, str) else list(names)
        for net in names:
            if net not in nets:
                raise ConfigError(f"optimizer '{key}': there is no net '{net}'; {did_you_mean(net, nets)}")
            if net in taken:
                raise ConfigError(f"the net '{net}' is given to the optimizers '{taken[net]}' and '{key}'")
            taken[net] = key
        parameters = [p for net in names for p in nets[net].parameters() if not p.stop_gradient]
        built[key] = (OPTIMIZERS.build(options, parameters=parameters), tuple(names))
    if not built:
        raise ConfigError(f"the section 'optimizer' is empty: nothing would learn of {sorted(nets)}")
    for net in sorted(set(nets) - set(taken)):
        logger.warning("the net '%s' has no optimizer: it stays as it is", net)
    return built


def _structured_names(nets: Mapping[str, nn.Layer]) -> dict[str, str]:
    """Automatic parameter name -> `<net>.<key>`."""
    return {p.name: f"{net}.{key}" for net, layer in nets.items() for key, p in layer.named_parameters()}


def optimizer_state(
    optimizer: paddle.optimizer.Optimizer, nets: Mapping[str, nn.Layer]
) -> dict[str, np.ndarray]:
    """Accumulators as arrays under `<net>.<parameter>/<accumulator>`, master weights as `.../master`."""
    create_accumulators(optimizer)
    names = _structured_names(nets)
    state: dict[str, np.ndarray] = {}
    for key, value in optimizer.state_dict().items():
        if key == "LR_Scheduler":
            continue  # the schedule is a function of the step
        if key == "master_weights":
            for auto, tensor in value.items():
                state[f"{names[auto]}/master"] = tensor.numpy()
            continue
        auto = max((n for n in names if key.startswith(f"{n}_")), key=len)
        state[f"{names[auto]}/{key[len(auto) + 1 :].removeprefix(f'{_MASTER}_')}"] = value.numpy()
    return state


def load_optimizer_state(
    optimizer: paddle.optimizer.Optimizer, nets: Mapping[str, nn.Layer], state: Mapping[str, np.ndarray]
) -> None:
    """Put back what `optimizer_state` gave."""
    automatic = {structured: auto for auto, structured in _structured_names(nets).items()}
    updated = {p.name: p for p in optimizer._parameter_list if not p.stop_gradient}
    restored: dict[str, Any] = {}
    seen = set()
    for key, value in state.items():
        structured, _, accumulator = key.rpartition("/")
        if structured not in automatic:
            raise WeightError(f"optimizer state of an unknown parameter '{structured}'")
        auto = automatic[structured]
        seen.add(auto)
        tensor = paddle.to_tensor(value)
        has_master = auto in updated and keeps_master_weight(optimizer, updated[auto])
        if accumulator == "master":
            if has_master:
                # Paddle derives the names of the accumulators from the name of the master weight
                tensor.name = f"{auto}_{_MASTER}"
                restored.setdefault("master_weights", {})[auto] = tensor
        else:
            owner = f"{auto}_{_MASTER}" if has_master else auto
            restored[f"{owner}_{accumulator.removeprefix(f'{_MASTER}_')}"] = tensor
    missing = sorted(key for key, auto in automatic.items() if auto in updated.keys() - seen) if state else []
    if missing:
        raise WeightError(
            f"the checkpoint lacks the optimizer state of {len(missing)} parameters: {missing[:3]}"
        )
    optimizer.set_state_dict(restored)
