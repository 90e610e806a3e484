"""What a configuration comes down to, whatever is left to defaults."""

import inspect
from collections.abc import Mapping
from typing import Any

from ppsr.config.check import component_kind
from ppsr.degradations.dasr import levels_with
from ppsr.degradations.second_order import SECOND_ORDER, build_steps
from ppsr.registry import LRSCHEDULERS, METRICS, OPTIMIZERS, Registry


def component(section: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """Arguments of a component with its defaults filled in; no weight decay and none given are one."""
    parameters = inspect.signature(registry.get(section["name"])).parameters
    values = {k: p.default for k, p in parameters.items() if p.default is not p.empty} | dict(section)
    return {
        key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v or key != "weight_decay"
    }


def model(config: Mapping[str, Any]) -> dict[str, Any]:
    """Networks and losses, without where the weights of a loss lie."""
    result: dict[str, Any] = {"name": config["model"]["name"]}
    for key, value in config["model"].items():
        kind = component_kind(key)
        if isinstance(value, Mapping) and kind is not None:
            result[key] = component(value, kind[0])
            result[key].pop("weights", None)
        elif value is not None and (key, value) not in USUAL:
            result[key] = value
    return result


USUAL = (("dual_loss_weight", 0.1), ("net_d_iters", 1), ("net_d_init_iters", 0))


def optimizers(config: Mapping[str, Any]) -> list[tuple[list[str], dict[str, Any]]]:
    """By the networks they train, whatever their names."""
    section = config["optimizer"]
    entries = [section] if "name" in section else [entry for entry in section.values() if entry]
    plain = [{k: v for k, v in entry.items() if k != "net_names"} for entry in entries]
    nets = [list(entry["net_names"]) for entry in entries]
    return sorted(zip(nets, (component(entry, OPTIMIZERS) for entry in plain), strict=True), key=str)


def schedule(config: Mapping[str, Any]) -> dict[str, Any]:
    return component(config["lr_scheduler"], LRSCHEDULERS)


def metrics(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [component(metric, METRICS) for metric in config.get("validate", {}).get("metrics", {}).values()]


def windows(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes and flips of training windows, batch, and degradation."""
    train = config["dataset"]["train"]
    keys = (
        *("name", "scale", "gt_size", "batch_size", "use_hflip", "use_rot", "views"),
        *("level_prob", "level_source"),
    )
    result = {key: train.get(key) for key in keys}
    result["queue_size"] = train.get("queue_size", 0)
    if train["name"] == "RealESRGANDataset":
        steps = train.get("degradation", {}).get("operations", SECOND_ORDER)
        result["degradation"] = str(build_steps(steps)).replace("(", "[").replace(")", "]")
        result |= {key: train.get(key, usual) for key, usual in (("gt_usm", True), ("keep_gt", False))}
    elif train["name"] == "DASRDataset":
        result["degradation"] = levels_with(train.get("degradation"))
    return result
