"""Configurations written for PaddleGAN, read as ppsr's own; PaddleGAN itself is not needed.

Both have the same keys, except that PaddleGAN describes how images are read, cut, turned and scaled as a
list, `preprocess`. The lists of its super-resolution configurations say what the options of ppsr's data sets
say; whatever has no counterpart is an error with its place, and no key is dropped in silence. PaddleDepth's
configurations for depth maps have the same form.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from ppsr.config.loader import Config

logger = logging.getLogger(__name__)

_PLAIN_MODELS = ("BaseSRModel", "RCANModel", "SwinIRModel")
_OWN_NETWORKS = ("SwinIR",)  # with equal options, and not in PaddleGAN's releases
_OWN_CRITERIONS = ("L1Loss", "MSELoss", "CharbonnierLoss")
WITHOUT_EFFECT = ("min_max", "export_model", "find_unused_parameters", "image_num")
_MODEL_WITHOUT_EFFECT = ("to_static", "image_shape", "use_init_weight", "params", "max_eval_steps")
_FLIPS = {
    "PairedRandomHorizontalFlip": "mirror",
    "PairedRandomVerticalFlip": "upside down",
    "PairedRandomTransposeHW": "transpose",
}

Place = tuple[str, ...]


def is_paddlegan_form(config: Mapping[str, Any]) -> bool:
    """Whether a configuration has PaddleGAN's lists of preprocessing, RepeatDataset or plain SR models."""
    sections = _mapping(config, ("dataset",)).values()
    return _mapping(config, ("model",)).get("name") in _PLAIN_MODELS or any(
        isinstance(section, Mapping) and ("preprocess" in section or section.get("name") == "RepeatDataset")
        for section in sections
    )


def to_ppsr_form(config: Config) -> tuple[dict[str, Any], dict[Place, str]]:
    """The same experiment in ppsr's form.

    Returns:
        The values, and where each key was written; what a list says counts as written there.

    Raises:
        ConfigError: a model, data set, loss or transform without counterpart.
    """
    values = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT}
    lines = dict(config.lines)
    model = dict(_mapping(config, ("model",)))
    if model.get("name") not in ("DRN", *_PLAIN_MODELS):
        known = ", ".join(("DRN", *_PLAIN_MODELS))
        text = f"PaddleGAN's model {model.get('name')!r} has no counterpart; {known} have"
        raise _error(config, ("model", "name"), text)
    unused = [("model", key) for key in _MODEL_WITHOUT_EFFECT if model.pop(key, None)]
    for place in [*unused, *((key,) for key in WITHOUT_EFFECT if key in config)]:
        logger.warning("%s: '%s' has no effect here", config.where(*place), ".".join(place))
    if config.get("epochs") is not None:
        text = "an epoch reads each image once, without RepeatDataset; snapshot_config.interval is in steps"
        logger.warning("%s: 'epochs': %s", config.where("epochs"), text)
    pyramid = model["name"] == "DRN"
    values["model"], unit = (_drn if pyramid else _plain_sr)(config, model)
    if isinstance(values.get("dataset"), Mapping):
        values["dataset"] = {
            split: _dataset(config, lines, ("dataset", split), section, unit, pyramid and split == "train")
            for split, section in values["dataset"].items()
        }
    optimizers = values.get("optimizer")
    if isinstance(optimizers, Mapping) and "name" in optimizers:
        values["optimizer"] = _optimizer(config, values, lines, ("optimizer",), optimizers)
    elif isinstance(optimizers, Mapping):
        values["optimizer"] = {
            key: _optimizer(config, values, lines, ("optimizer", key), section)
            for key, section in optimizers.items()
        }
    logger.info("%s: read as a configuration of PaddleGAN", config.path)
    return values, lines


def _error(config: Config, place: Place, text: str) -> ConfigError:
    return ConfigError(f"{config.where(*place)}: {'.'.join(place)}: {text}")


def _number(config: Config, place: Place, value: Any) -> float:
    """The number at a place of the file."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _error(config, place, f"a number is needed, got {value!r}") from None


def _drn(config: Config, model: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """DRN, and the largest value of its images."""
    model.pop("pixel_criterion", None)
    given = _mapping(config, ("model", "pixel_criterion"))
    criterion = {"reduction": "mean", "loss_weight": 1.0, **given}
    if criterion != {"name": "L1Loss", "reduction": "mean", "loss_weight": 1.0}:
        text = "DRN's losses are plain L1 means: {name: L1Loss} alone fits"
        raise _error(config, ("model", "pixel_criterion"), text)
    generator = _mapping(config, ("model", "generator"))
    # PaddleGAN freezes the shifts by the mean colour, and weighs the losses in its own way
    model["generator"] = {"train_mean_shift": False, **generator}
    unit = _number(config, ("model", "generator", "rgb_range"), generator.get("rgb_range", 255))
    return {"style": "paddledepth", **model}, unit


def _plain_sr(config: Config, model: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """One network with a pixel loss, and the largest value of its images."""
    result = {**model, "name": "SRModel"}
    if model["name"] == "SwinIRModel" and "char_criterion" in result:
        result["pixel_criterion"] = result.pop("char_criterion")
    generator = _mapping(config, ("model", "generator"))
    if generator.get("name") != "RCAN":
        name = generator.get("name")
        own = not isinstance(name, str) or name in _OWN_NETWORKS
        result["generator"] = generator if own else {**generator, "name": _foreign(name)}
        for key in (key for key in result if key.endswith("_criterion")):
            result[key] = _criterion(result[key])
        return result, 1.0
    unit = _number(config, ("model", "generator", "rgb_range"), generator.get("rgb_range", 255))
    criterion = _mapping(config, ("model", "pixel_criterion"))
    if criterion.get("name") != "L1Loss":
        raise _error(config, ("model", "pixel_criterion"), "with RCAN, L1Loss alone has a counterpart")
    place = ("model", "pixel_criterion", "loss_weight")
    weight = _number(config, place, criterion.get("loss_weight", 1.0))
    # ours compares images in [0, 1]
    return {**result, "pixel_criterion": {**criterion, "loss_weight": unit * weight}}, unit


def _criterion(criterion: Any) -> Any:
    """A loss, ours where it is the same."""
    if not isinstance(criterion, Mapping):
        return criterion  # which the check of the configuration refuses
    name = criterion.get("name")
    if name not in _OWN_CRITERIONS:
        return {**criterion, "name": _foreign(name)}
    defaults = {"reduction": "sum"} if name == "CharbonnierLoss" else {}  # PaddleGAN's
    return {**defaults, **criterion}


def _dataset(
    config: Config, lines: dict[Place, str], place: Place, section: Any, unit: float, pyramid: bool
) -> Any:
    if isinstance(section, Mapping) and section.get("name") == "RepeatDataset":
        text = "RepeatDataset has no effect here, where no pause comes between epochs"
        logger.warning("%s: %s: %s", config.where(*place), ".".join(place), text)
        repeated = section.get("dataset")
        if not isinstance(repeated, Mapping):
            raise _error(config, (*place, "dataset"), f"a mapping with a 'name' is needed, got {repeated!r}")
        outer = {key: value for key, value in section.items() if key not in ("name", "times", "dataset")}
        section = {**repeated, **outer}
    if not isinstance(section, Mapping) or "preprocess" not in section:
        return section  # in ppsr's form, or wrong, which the check of the configuration says
    if section.get("name") != "SRDataset":
        text = f"PaddleGAN's {section.get('name')!r} has no counterpart; SRDataset has"
        raise _error(config, (*place, "name"), text)
    own = {key: value for key, value in section.items() if key != "preprocess"}
    steps = section["preprocess"] if isinstance(section["preprocess"], list) else [section["preprocess"]]
    scale = int(_number(config, (*place, "scale"), own.get("scale", 4)))
    pipeline = _Pipeline(config, place, scale, unit)
    for number, step in enumerate(steps):
        pipeline.add((*place, "preprocess", str(number)), step)
    options = pipeline.options()
    lines.update(pipeline.lines)
    if pyramid:
        pipeline.check_levels()
        options["level_source"] = "opencv"
        own["name"] = "PyramidDataset"
    return {**options, **own}


def _optimizer(
    config: Config, values: dict[str, Any], lines: dict[Place, str], place: Place, section: Any
) -> Any:
    """An optimizer; L2 regularisation and clipping by the global norm are components in PaddleGAN."""
    if not isinstance(section, Mapping):
        return section
    own = dict(section)
    decay, clip = own.get("weight_decay"), own.get("grad_clip")
    if isinstance(decay, Mapping):
        if decay.get("name") != "L2":
            text = f"the regularisation {decay.get('name')!r} has no counterpart; L2 has"
            raise _error(config, (*place, "weight_decay"), text)
        own["weight_decay"] = decay.get("value", 0)
    if isinstance(clip, Mapping) and clip.get("name") == "ClipGradByGlobalNorm":
        values["step"] = {**_mapping(values, ("step",)), "clip_norm": clip.get("value")}
        lines["step", "clip_norm"] = config.where(*place, "grad_clip")
        del own["grad_clip"]
    return own


class _Pipeline:
    """A list `preprocess`, step by step, as options of a data set.

    Args:
        unit: largest value of an image that the networks expect, 1 or 255.
    """

    def __init__(self, config: Config, place: Place, scale: int, unit: float) -> None:
        self.config = config
        self.place = place
        self.scale = scale
        self.unit = unit
        self.names = ["lq", "gt"]
        self.crop: int | None = None
        self.flips: set[str] = set()
        self.lines: dict[Place, str] = {}  # where the derived options are written

    def _require(self, holds: bool, place: Place, text: str) -> None:
        if not holds:
            raise _error(self.config, place, text)

    def _name(self, place: Place, step: Any) -> str:
        named = isinstance(step, Mapping) and isinstance(step.get("name"), str)
        self._require(named, place, f"a step must be a mapping with a 'name', got {step!r}")
        keys = step.get("keys", [])
        self._require(isinstance(keys, list), (*place, "keys"), f"a list is needed, got {keys!r}")
        return step["name"]

    def add(self, place: Place, step: Mapping[str, Any]) -> None:
        """Take one step of the list."""
        name = self._name(place, step)
        if name == "LoadImageFromFile":
            plain = step.get("flag", -1) == -1 and step.get("to_rgb", True) and step.get("key") in self.names
            self._require(plain, place, "images are read as RGB, with the keys lq and gt")
            return
        self._require(name == "Transforms", place, f"PaddleGAN's step {name!r} has no counterpart")
        self._require(step.get("input_keys") == ["lq", "gt"], (*place, "input_keys"), "must be [lq, gt]")
        transforms = step.get("pipeline", [])
        text = f"a list is needed, got {transforms!r}"
        self._require(isinstance(transforms, list), (*place, "pipeline"), text)
        for number, transform in enumerate(transforms):
            self.transform((*place, "pipeline", str(number)), transform)
        outputs = step.get("output_keys", self.names)
        text = f"must be {self.names} for this pipeline"
        self._require(outputs == self.names, (*place, "output_keys"), text)

    def transform(self, place: Place, transform: Mapping[str, Any]) -> None:
        """Take one transform of the step Transforms."""
        name = self._name(place, transform)
        if name == "SRPairedRandomCrop":
            self._crop(place, transform)
            return
        text = f"{name} would leave some of the {len(self.names)} images unchanged; name all of them"
        self._require(len(transform.get("keys") or ()) >= len(self.names), (*place, "keys"), text)
        if name in _FLIPS:
            even = transform.get("prob", 0.5) == 0.5
            self._require(even, (*place, "prob"), f"{name} has the probability 0.5 here")
            self.flips.add(_FLIPS[name])
        elif name == "Normalize":
            self._normalize(place, transform)
        else:
            text = f"PaddleGAN's transform {name!r} has no counterpart"
            self._require(name == "Transpose", place, text)

    def _crop(self, place: Place, transform: Mapping[str, Any]) -> None:
        equal = transform.get("scale") == self.scale
        self._require(equal, (*place, "scale"), f"the data set has scale {self.scale}")
        self.crop = transform.get("gt_patch_size")
        derived = (*self.place, "gt_size")
        self.lines[derived] = self.config.where(*place, "gt_patch_size")
        if transform.get("scale_list") and self.scale == 4:  # the only scale at which PaddleGAN adds it
            self.names = ["lq", "lqx2", "gt"]

    def _normalize(self, place: Place, transform: Mapping[str, Any]) -> None:
        """Data sets of ppsr give [0, 1], and networks are fed their own range; the same must come out."""
        std = 255 / self.unit
        text = f"the network expects images in 0..{self.unit:g}, so Normalize needs mean 0 and std {std:g}"
        for key, wanted in (("mean", 0), ("std", std)):
            value = transform.get(key)
            values = value if isinstance(value, list) else [value]
            self._require(all(value == wanted for value in values), place, text)

    def check_levels(self) -> None:
        """DRN needs the image between LR and HR."""
        text = "DRN needs SRPairedRandomCrop with scale_list: true, which PaddleGAN has at scale 4 only; "
        levels = self.scale <= 2 or "lqx2" in self.names
        self._require(levels, (*self.place, "preprocess"), f"{text}configs/drn_x8.yaml is another way")

    def options(self) -> dict[str, Any]:
        """Options of SRDataset."""
        turns = self.flips - {"mirror"}
        text = "PairedRandomVerticalFlip and PairedRandomTransposeHW come together here (use_rot)"
        self._require(len(turns) != 1, (*self.place, "preprocess"), text)
        options: dict[str, Any] = {"use_hflip": "mirror" in self.flips, "use_rot": bool(turns)}
        return options if self.crop is None else {"gt_size": self.crop, **options}


def _foreign(name: Any) -> str:
    """PaddleGAN's component of this name, which the bridge builds."""
    return name if str(name).startswith("ppgan.") else f"ppgan.{name}"


def _mapping(config: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """A section, or an empty one where the check of the configuration will find it missing or wrong."""
    node: Any = config
    for key in place:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}
