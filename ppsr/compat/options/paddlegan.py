"""Configurations of PaddleGAN and PaddleDepth -> ours.

https://github.com/PaddlePaddle/PaddleGAN and https://github.com/PaddlePaddle/PaddleDepth (Apache-2.0).
`ppsr train` reads most of such files as they are; here the same translation is written down, with networks of
ours where PaddleGAN has the same ones, so that ppgan is not needed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ppsr.compat.options.source import Conversion, Note, Source
from ppsr.config.loader import Config
from ppsr.config.paddlegan import WITHOUT_EFFECT, to_ppsr_form
from ppsr.errors import ConfigError

__all__ = ["convert_paddlegan"]

# PaddleGAN's networks that ours equal, and the names of options that differ
_SIZES = {"in_nc": "num_in_ch", "out_nc": "num_out_ch", "nf": "num_feat", "nb": "num_block"}
_NETWORKS = {"ppgan.RRDBNet": {**_SIZES, "gc": "num_grow_ch"}, "ppgan.SwinIR": {}}


def convert_paddlegan(options: Source, test_set: str | None) -> Conversion:
    """Convert a configuration; it has one test set, so `test_set` must be None.

    Raises:
        ConfigError: a part has no counterpart.
    """
    result = options.result
    if test_set is not None:
        raise ConfigError(f"{result.source} has one test set; leave out --test-set")
    values = copy.deepcopy(dict(options.values))
    for key in WITHOUT_EFFECT:
        if key in values:
            result.explained.append(Note(key, values.pop(key), "it has no effect here"))
    model = values["model"] if isinstance(values["model"], Mapping) else {}
    if model.get("name") == "SwinIRModel":
        values["model"] = {**model, "name": "BaseSRModel", "pixel_criterion": model.get("char_criterion")}
        values["model"].pop("char_criterion", None)
    sections = values["dataset"] if isinstance(values["dataset"], Mapping) else {}
    for split, section in sections.items():
        if isinstance(section, Mapping) and section.get("name") == "RepeatDataset":
            values["dataset"][split] = {**section["dataset"], **_without(section, "name", "times", "dataset")}
            result.added.append(f"dataset.{split} without RepeatDataset: training counts steps, not epochs")
    config, result.lines = to_ppsr_form(Config(values, result.source, options.places))
    generator = config["model"]["generator"]
    if (renames := _NETWORKS.get(generator["name"])) is not None:
        own = {renames.get(key, key): value for key, value in generator.items()}
        config["model"]["generator"] = {**own, "name": generator["name"].removeprefix("ppgan.")}
    elif generator["name"].startswith("ppgan."):
        result.added.append(f"the network is PaddleGAN's {generator['name']}, which needs its package")
    section = config.get("optimizer") or {}
    for optimizer in [section] if "name" in section else section.values():
        _convert_optimizer(options, optimizer, config)
    result.config, result.trains = config, "train" in config["dataset"]
    return result


def _convert_optimizer(options: Source, optimizer: dict[str, Any], config: dict[str, Any]) -> None:
    """L2 regularisation and clipping by the global norm are components there and numbers here."""
    decay = optimizer.get("weight_decay")
    if isinstance(decay, Mapping):
        if decay.get("name") != "L2":
            raise ConfigError(
                f"{options.where('optimizer')}: the regularisation {decay.get('name')!r} has no counterpart; "
                "L2 has"
            )
        optimizer["weight_decay"] = decay.get("value", 0)
    clip = optimizer.get("grad_clip")
    if isinstance(clip, Mapping) and clip.get("name") == "ClipGradByGlobalNorm":
        config["step"] = {"clip_norm": clip.get("value")}
        del optimizer["grad_clip"]


def _without(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}
