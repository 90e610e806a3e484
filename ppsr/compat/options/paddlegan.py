"""Configurations of PaddleGAN and PaddleDepth -> ours.

https://github.com/PaddlePaddle/PaddleGAN and https://github.com/PaddlePaddle/PaddleDepth (Apache-2.0). The
keys are mostly ours; their lists of preprocessing steps are options of our data sets. `tools/main.py` reads
such files as they are, with PaddleGAN's own networks; a converted file needs none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ppsr.compat.options.checks import flag, items, number, text, whole
from ppsr.compat.options.source import Component, Conversion, Rule, Source, rules
from ppsr.config.loader import Config
from ppsr.config.paddlegan import WITHOUT_EFFECT, Pipeline, Place, Translation
from ppsr.errors import ConfigError
from ppsr.registry import CRITERIONS, GENERATORS, LRSCHEDULERS, METRICS, OPTIMIZERS, Registry

__all__ = ["convert_paddlegan"]

# model -> ours, and the key of its loss; DRN's loss is part of the algorithm
_MODELS = {
    "BaseSRModel": ("SRModel", "pixel_criterion"),
    "DRN": ("DRN", None),
    "RCANModel": ("SRModel", "pixel_criterion"),
    "SwinIRModel": ("SRModel", "char_criterion"),
}
_SIZES = {"nf": "num_feat", "nb": "num_block", "gc": "num_grow_ch"}
_GENERATORS = {
    "DRNGenerator": Component("DRNGenerator", fixed={"train_mean_shift": False}),  # frozen there
    "RCAN": Component("RCAN"),
    "RRDBNet": Component("RRDBNet", renames={"in_nc": "num_in_ch", "out_nc": "num_out_ch", **_SIZES}),
    "SwinIR": Component("SwinIR"),
}
_LOSSES = {name: Component(name) for name in ("CharbonnierLoss", "L1Loss", "MSELoss")}
_MEAN = (Rule("loss_weight", None, number, neutral=1), Rule("reduction", None, text, neutral="mean"))
_DATA = (
    *rules(text, "gt_folder", "lq_folder"),
    *rules(text, "filename_tmpl", neutral="{}"),
    *rules(whole, "scale"),
)
_LOADER = (
    *rules(whole, "batch_size", "num_workers"),
    *rules(flag, "shuffle", "drop_last", "use_shared_memory", neutral=True),
)
_TOP = (
    *rules(whole, "total_iters", "epochs"),
    *rules(whole, "validate.interval", "log_config.interval", "snapshot_config.interval"),
    *rules(whole, "log_config.visual_interval", "log_config.visiual_interval -> log_config.visual_interval"),
    *rules(number, "model.lq_loss_weight", "model.dual_loss_weight"),
    *rules(text, "output_dir"),
    *rules(items, "export_model"),
    *rules(flag, "validate.save_img"),
    *rules(flag, "enable_visualdl", neutral=False),
)
_REASONS = {
    **{f"model.{key}": "it has no effect here" for key in WITHOUT_EFFECT},
    "min_max": "images are in [0, 1] everywhere; a network knows its own range",
    "find_unused_parameters": "never needed here",
    "image_num": "all images of a batch are shown",
    "dataset.*.preprocess.*.pipeline.*.keys*": "both images of a pair are treated alike",
}
_WHERE = re.compile(r"^.*: dataset\.[\w.]+: ")
# Options of steps that a data set of ours takes or that the reader of the steps has checked.
_CHECKED = re.compile("flag|gt_patch_size|key|(in|out)put_keys|mean|name|prob|scale(_list)?|std|to_rgb")
_BRIDGE = ". Where ppgan is installed, tools/main.py runs many of its files as they are"


def convert_paddlegan(options: Source, test_set: str | None) -> Conversion:
    """Convert a configuration; it has one test set, so `test_set` must be None.

    Raises:
        ConfigError: a part without which nothing runs is missing or has no counterpart.
    """
    if test_set is not None:
        raise ConfigError(f"{options.path} has one test set; leave the choice of '{test_set}' out")
    model, criterion = options.row("model.name", _MODELS, "model", _BRIDGE)
    options.trains = "train" in options.keys("dataset")
    options.put("model.name", model, "model.name")
    row = options.row("model.generator.name", _GENERATORS, "generator", _BRIDGE)
    options.convert("model.generator", "model.generator", row, GENERATORS)
    if criterion is not None:
        _loss(options, f"model.{criterion}", "model.pixel_criterion")
    else:
        options.put("model.style", "paddledepth", "model.name")
        if options.peek("model.pixel_criterion.name", default="L1Loss") == "L1Loss":
            options.note("model.pixel_criterion.name", "the loss of DRN is L1")
            options.apply(_MEAN, "model.pixel_criterion")
    options.apply(_TOP)
    metrics = {options.peek(f"validate.metrics.{key}.name") for key in options.keys("validate.metrics")}
    for key in options.keys("validate.metrics"):
        _copy(options, f"validate.metrics.{key}", METRICS)
    for split in options.keys("dataset"):
        pyramid = model == "DRN" and split == "train"
        _dataset(options, split, pyramid, bool(metrics & {"RMSE", "MAD", "PE"}))
    if options.has("lr_scheduler"):
        _copy(options, "lr_scheduler", LRSCHEDULERS)
    several = [] if options.has("optimizer.name") else options.keys("optimizer")
    for section in [f"optimizer.{key}" for key in several] or ["optimizer"] * options.has("optimizer"):
        _optimizer(options, section)
    return options.finish(_REASONS)


def _loss(options: Source, section: str, target: str) -> None:
    """A loss of images in 0..255 needs as many times the weight of ours, which is of images in [0, 1]."""
    name = options.row(f"{section}.name", _LOSSES, "loss").name
    options.convert(section, target, _LOSSES[name], CRITERIONS, drop=("reduction", "eps"))
    if name == "CharbonnierLoss" and not options.has(f"{section}.reduction"):
        options.put(f"{target}.reduction", "sum", section)
        options.added.append("reduction: sum, the default of PaddleGAN's CharbonnierLoss")
    unit = _range(options)
    if unit == 1:
        return
    if name != "L1Loss":
        raise ConfigError(
            f"{options.where(section)}: of images in 0..{unit:g}, L1Loss alone has a counterpart"
        )
    weight = unit * options.peek(f"{section}.loss_weight", number, 1)
    options.put(f"{target}.loss_weight", weight, section)
    options.added.append(f"loss_weight {weight:g}: the loss is of images in 0..{unit:g} there, in 0..1 here")


def _range(options: Source) -> float:
    """The largest pixel value that the generator takes."""
    own = 255 if options.peek("model.generator.name") in ("DRNGenerator", "RCAN") else 1
    return float(options.peek("model.generator.rgb_range", number, own))


def _copy(options: Source, section: str, registry: Registry) -> None:
    """A component that has our name and our options."""
    row = options.row(f"{section}.name", {name: Component(name) for name in registry.names()}, registry.kind)
    options.convert(section, section, row, registry)


def _dataset(options: Source, split: str, pyramid: bool, depth: bool) -> None:
    target = inner = f"dataset.{split}"
    if options.peek(f"{target}.name") == "RepeatDataset":
        options.read(f"{target}.name")
        reason = "an epoch is one pass over the images; total_iters counts steps"
        options.note(f"{target}.times", reason, lost=True)
        inner = f"{target}.dataset"
    options.row(f"{inner}.name", {"SRDataset": None}, "data set")
    name = "PyramidDataset" if pyramid else "DepthDataset" if depth else "SRDataset"
    options.put(f"{target}.name", name, f"{inner}.name")
    options.apply(_DATA, inner, target)
    _preprocessing(options, inner, target, pyramid)
    if pyramid:
        options.put(f"{target}.level_source", "opencv", inner)
    elif depth:
        options.put(f"{target}.channels", options.peek("model.generator.n_colors", whole, 3), inner)
        options.added.append(f"{target} is a DepthDataset, since the metrics are those of depth maps")
    options.apply(_LOADER, target, target)


def _steps(place: Place, steps: list[Any]) -> Iterator[tuple[Place, Any, bool]]:
    """Steps, their places, and whether they are part of Transforms; those come before it."""
    for index, step in enumerate(steps):
        inner = (*place, str(index))
        if isinstance(step, Mapping) and isinstance(step.get("pipeline"), list):
            yield from ((p, s, True) for p, s, _ in _steps((*inner, "pipeline"), step["pipeline"]))
            yield inner, {**step, "pipeline": []}, False
        else:
            yield inner, step, False


def _preprocessing(options: Source, section: str, target: str, pyramid: bool) -> None:
    """Crops and flips; steps that our data sets lack are lost."""
    place = tuple(section.split("."))
    translation = Translation(Config(options.values, options.path, options.places))
    scale = options.peek(f"{section}.scale", whole, 4)
    pipeline = Pipeline(translation, place, scale, _range(options))
    steps = options.peek(f"{section}.preprocess", items, [])
    for inner, step, nested in _steps((*place, "preprocess"), steps):
        key = ".".join(inner)
        try:
            (pipeline.transform if nested else pipeline.add)(inner, step)
        except ConfigError as error:
            if not isinstance(step, Mapping) or step.get("name") in ("Normalize", "Transforms"):
                raise
            options.note(key, _WHERE.sub("", str(error)), lost=True)
            continue
        for option in filter(_CHECKED.fullmatch, step):
            options.read(f"{key}.{option}")
    if pyramid:
        pipeline.check_levels()
    try:
        ours = pipeline.options()
    except ConfigError as error:
        options.note(f"{section}.preprocess", _WHERE.sub("", str(error)), lost=True)
        pipeline.flips &= {"mirror"}
        ours = pipeline.options()
        del ours["use_rot"]
    for option, value in ours.items():
        if value is not False or pipeline.crop is not None:
            options.put(f"{target}.{option}", value, f"{section}.preprocess")


def _optimizer(options: Source, section: str) -> None:
    """L2 regularisation is a number, or a mapping of a name and a number."""
    options.put(f"{section}.name", None)
    options.put(f"{section}.net_names", options.read(f"{section}.net_names", items), section)
    key = f"{section}.weight_decay"
    decay = options.peek(key)
    if isinstance(decay, Mapping):
        if decay.get("name") != "L2":
            raise ConfigError(
                f"{options.where(key)}: the regularisation {decay.get('name')!r} has no counterpart; L2"
            )
        options.put(key, options.read(f"{key}.value", number), key)
    if isinstance(decay, Mapping) or decay == 0:
        options.read(key)
    clip = f"{section}.grad_clip"
    if options.peek(f"{clip}.name") == "ClipGradByGlobalNorm":
        options.put("step.clip_norm", options.read(f"{clip}.value", number), clip)
        options.read(f"{clip}.name")
    _copy(options, section, OPTIMIZERS)
