"""Configurations of PaddleGAN and PaddleDepth -> ours.

https://github.com/PaddlePaddle/PaddleGAN and https://github.com/PaddlePaddle/PaddleDepth (Apache-2.0). The
keys are mostly ours; their lists of preprocessing steps are options of our data sets. `tools/main.py` reads
such files as they are, with PaddleGAN's own networks; this makes a file that needs none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ppsr.compat.options.components import Component, convert_component, find_row
from ppsr.compat.options.draft import Conversion, Draft, Rule, flag, items, number, text, whole
from ppsr.config.loader import Config
from ppsr.config.paddlegan import WITHOUT_EFFECT, Pipeline, Place, Translation
from ppsr.errors import ConfigError
from ppsr.registry import CRITERIONS, GENERATORS, LRSCHEDULERS, METRICS, OPTIMIZERS, Registry

__all__ = ["convert_paddlegan"]


@dataclass(frozen=True)
class _Algorithm:
    """Our model, and its key for the loss; None where the loss is part of the algorithm."""

    name: str
    criterion: Mapping[str, str] = field(default_factory=lambda: {"pixel_criterion": "pixel_criterion"})


_MODELS = {
    "BaseSRModel": _Algorithm("SRModel"),
    "DRN": _Algorithm("DRN", criterion={}),
    "RCANModel": _Algorithm("SRModel"),
    "SwinIRModel": _Algorithm("SRModel", criterion={"char_criterion": "pixel_criterion"}),
}
_RRDB = {
    "in_nc": "num_in_ch",
    "out_nc": "num_out_ch",
    "nf": "num_feat",
    "nb": "num_block",
    "gc": "num_grow_ch",
}
_GENERATORS = {
    "DRNGenerator": Component("DRNGenerator", fixed={"train_mean_shift": False}),  # frozen there
    "RCAN": Component("RCAN"),
    "RRDBNet": Component("RRDBNet", renames=_RRDB),
    "SwinIR": Component("SwinIR"),
}
_LOSSES = {
    "CharbonnierLoss": Component("CharbonnierLoss"),
    "L1Loss": Component("L1Loss"),
    "MSELoss": Component("MSELoss"),
}
_MEAN = (Rule("loss_weight", None, number, neutral=1), Rule("reduction", None, text, neutral="mean"))
_DEPTH_METRICS = ("RMSE", "MAD", "PE")

_SIZES = (Rule("scale", "scale", whole),)
_FOLDERS = (
    Rule("gt_folder", "gt_folder", text),
    Rule("lq_folder", "lq_folder", text),
    Rule("filename_tmpl", "filename_tmpl", text, neutral="{}"),
)
_LOADER = (
    Rule("batch_size", "batch_size", whole),
    Rule("num_workers", "num_workers", whole),
    Rule("shuffle", "shuffle", flag, neutral=True),
    Rule("drop_last", "drop_last", flag, neutral=True),
    Rule("use_shared_memory", "use_shared_memory", flag, neutral=True),
)
_TOP = (
    Rule("total_iters", "total_iters", whole),
    Rule("epochs", "epochs", whole),
    Rule("output_dir", "output_dir", text),
    Rule("enable_visualdl", "enable_visualdl", flag, neutral=False),
    Rule("export_model", "export_model", items),
    Rule("model.lq_loss_weight", "model.lq_loss_weight", number),
    Rule("model.dual_loss_weight", "model.dual_loss_weight", number),
    Rule("validate.interval", "validate.interval", whole),
    Rule("validate.save_img", "validate.save_img", flag),
    Rule("log_config.interval", "log_config.interval", whole),
    Rule("log_config.visiual_interval", "log_config.visual_interval", whole),
    Rule("log_config.visual_interval", "log_config.visual_interval", whole),
    Rule("snapshot_config.interval", "snapshot_config.interval", whole),
)

_REASONS = {
    **{f"model.{key}": "it has no effect here" for key in WITHOUT_EFFECT},
    "min_max": "pictures are in [0, 1] everywhere; a network knows its own range",
    "find_unused_parameters": "never needed here",
    "image_num": "all pictures of a batch are shown",
    "dataset.*.preprocess.*.pipeline.*.keys*": "every picture of a pair is treated alike",
}
_WHERE = re.compile(r"^.*: dataset\.[\w.]+: ")
# Options of steps that a data set of ours takes or that the reader of the steps has checked.
_TAKEN = frozenset(
    [
        "flag",
        "gt_patch_size",
        "input_keys",
        "key",
        "mean",
        "name",
        "output_keys",
        "prob",
        "scale",
        "scale_list",
        "std",
        "to_rgb",
    ]
)

_BRIDGE = ". Where ppgan is installed, tools/main.py runs many of its files as they are"


def convert_paddlegan(draft: Draft, test_set: str | None) -> Conversion:
    """Convert a configuration.

    Args:
        draft: the file.
        test_set: must be None; these files have one test set.

    Raises:
        ConfigError: a part without which nothing runs is missing or has no counterpart.
    """
    if test_set is not None:
        raise ConfigError(f"{draft.path} has one test set; leave the choice of '{test_set}' out")
    algorithm: _Algorithm = find_row(draft, "model.name", _MODELS, "model", _BRIDGE)
    draft.trains = "train" in draft.keys("dataset")
    _model(draft, algorithm)
    draft.apply(_TOP)
    depth = _validation(draft)
    for split in draft.keys("dataset"):
        _dataset(draft, split, algorithm, depth)
    if draft.has("lr_scheduler"):
        _copy(draft, "lr_scheduler", "lr_scheduler", LRSCHEDULERS)
    _optimizers(draft)
    return draft.finish(_REASONS)


def _model(draft: Draft, algorithm: _Algorithm) -> None:
    draft.put("model.name", algorithm.name, "model.name")
    row = find_row(draft, "model.generator.name", _GENERATORS, "generator", _BRIDGE)
    convert_component(draft, "model.generator", "model.generator", row, GENERATORS)
    for source, target in algorithm.criterion.items():
        key = f"model.{source}"
        row = find_row(draft, f"{key}.name", _LOSSES, "loss")
        convert_component(draft, key, f"model.{target}", row, CRITERIONS, drop_defaults=("reduction", "eps"))
        if row.name == "CharbonnierLoss" and not draft.has(f"{key}.reduction"):
            draft.put(f"model.{target}.reduction", "sum", key)
            draft.added.append("reduction: sum, the default of PaddleGAN's CharbonnierLoss")
        _weigh(draft, key, f"model.{target}", row.name)
    if algorithm.name == "DRN":
        draft.put("model.style", "paddledepth", "model.name")
        if draft.peek("model.pixel_criterion.name", default="L1Loss") == "L1Loss":
            draft.explain("model.pixel_criterion.name", "the loss of DRN is L1")
            draft.apply(_MEAN, "model.pixel_criterion")


def _weigh(draft: Draft, source: str, target: str, loss: str) -> None:
    """A loss of pictures in 0..255 counts as many times more as ours of pictures in [0, 1]."""
    unit = _range(draft)
    if unit == 1:
        return
    if loss != "L1Loss":
        raise ConfigError(
            f"{draft.where(source)}: of pictures in 0..{unit:g}, L1Loss alone has a counterpart"
        )
    weight = draft.peek(f"{source}.loss_weight", number, 1)
    draft.put(f"{target}.loss_weight", weight * unit, source)
    draft.added.append(
        f"loss_weight {weight * unit:g}: the loss is of pictures in 0..{unit:g} there, in 0..1 here"
    )


def _validation(draft: Draft) -> bool:
    """Metrics; true where one of them is of depth maps."""
    names = []
    for key in draft.keys("validate.metrics"):
        names.append(str(draft.peek(f"validate.metrics.{key}.name")))
        _copy(draft, f"validate.metrics.{key}", f"validate.metrics.{key}", METRICS)
    return any(name in _DEPTH_METRICS for name in names)


def _copy(draft: Draft, source: str, target: str, registry: Registry) -> None:
    """A component that has our name and our options."""
    name = str(draft.read(f"{source}.name"))
    if name not in registry:
        find_row(draft, f"{source}.name", dict.fromkeys(registry.names()), registry.kind)
    convert_component(draft, source, target, Component(name), registry)


def _dataset(draft: Draft, split: str, algorithm: _Algorithm, depth: bool) -> None:
    source, target = f"dataset.{split}", f"dataset.{split}"
    if draft.peek(f"{source}.name") == "RepeatDataset":
        draft.read(f"{source}.name")
        draft.lose(f"{source}.times", "an epoch is one pass over the pictures; total_iters counts steps")
        inner = f"{source}.dataset"
    else:
        inner = source
    find_row(draft, f"{inner}.name", {"SRDataset": None}, "data set")
    pyramid = algorithm.name == "DRN" and split == "train"
    name = "PyramidDataset" if pyramid else "DepthDataset" if depth else "SRDataset"
    draft.put(f"{target}.name", name, f"{inner}.name")
    draft.apply(_FOLDERS, inner, target)
    draft.apply(_SIZES, inner, target)
    _preprocessing(draft, inner, target, pyramid=pyramid)
    if pyramid:
        draft.put(f"{target}.level_source", "opencv", inner)
    if name == "DepthDataset":
        channels = draft.peek("model.generator.n_colors", whole, 3)
        draft.put(f"{target}.channels", channels, inner)
        draft.added.append(f"{target} is a DepthDataset, since the metrics are those of depth maps")
    draft.apply(_LOADER, source, target)


def _steps(place: Place, steps: list[Any]) -> Iterator[tuple[Place, Any, bool]]:
    """Steps, their places, and whether they stand inside Transforms; those come before it."""
    for index, step in enumerate(steps):
        inner = (*place, str(index))
        if isinstance(step, Mapping) and isinstance(step.get("pipeline"), list):
            yield from ((p, s, True) for p, s, _ in _steps((*inner, "pipeline"), step["pipeline"]))
            yield inner, {**step, "pipeline": []}, False
        else:
            yield inner, step, False


def _preprocessing(draft: Draft, source: str, target: str, *, pyramid: bool) -> None:
    """Windows and flips; steps that our data sets lack are lost."""
    place = tuple(source.split("."))
    config = Config(draft.values, draft.path, draft.places)
    scale = draft.peek(f"{source}.scale", whole, 4)
    pipeline = Pipeline(Translation(config), place, scale, _range(draft))
    for inner, step, nested in _steps((*place, "preprocess"), draft.peek(f"{source}.preprocess", items, [])):
        key = ".".join(inner)
        try:
            (pipeline.transform if nested else pipeline.add)(inner, step)
        except ConfigError as error:
            if not isinstance(step, Mapping) or step.get("name") in ("Normalize", "Transforms"):
                raise
            draft.lose(key, _WHERE.sub("", str(error)))
            continue
        for option in _TAKEN & step.keys():
            draft.read(f"{key}.{option}")
    if pyramid:
        pipeline.check_levels()
    try:
        options = pipeline.options()
    except ConfigError as error:
        draft.lose(f"{source}.preprocess", _WHERE.sub("", str(error)))
        options = {"use_hflip": "mirror" in pipeline.flips}
        if pipeline.crop is not None:
            options["gt_size"] = pipeline.crop
    for option, value in options.items():
        if value is not False or pipeline.crop is not None:
            draft.put(f"{target}.{option}", value, f"{source}.preprocess")


def _range(draft: Draft) -> float:
    """The largest number of a picture that the generator takes."""
    own = 255 if draft.peek("model.generator.name") in ("DRNGenerator", "RCAN") else 1
    return float(draft.peek("model.generator.rgb_range", number, own))


def _optimizers(draft: Draft) -> None:
    if not draft.has("optimizer"):
        return
    sections = (
        ["optimizer"] if draft.has("optimizer.name") else [f"optimizer.{k}" for k in draft.keys("optimizer")]
    )
    for section in sections:
        draft.put(f"{section}.name", None)
        draft.put(f"{section}.net_names", draft.read(f"{section}.net_names", items), section)
        _decay(draft, section)
        _clipping(draft, section)
        _copy(draft, section, section, OPTIMIZERS)


def _decay(draft: Draft, section: str) -> None:
    """L2 regularisation is a number, or a mapping of a name and a number."""
    key = f"{section}.weight_decay"
    value = draft.peek(key)
    if isinstance(value, Mapping):
        if value.get("name") != "L2":
            raise ConfigError(
                f"{draft.where(key)}: the regularisation {value.get('name')!r} has no counterpart; L2"
            )
        draft.put(key, draft.read(f"{key}.value", number), key)
        draft.read(key)
    elif value == 0:
        draft.read(key)


def _clipping(draft: Draft, section: str) -> None:
    key = f"{section}.grad_clip"
    if draft.peek(f"{key}.name") == "ClipGradByGlobalNorm":
        draft.put("step.clip_norm", draft.read(f"{key}.value", number), key)
        draft.read(f"{key}.name")
