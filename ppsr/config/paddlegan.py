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

__all__ = ["WITHOUT_EFFECT", "Pipeline", "Translation", "is_paddlegan_form", "to_ppsr_form"]

logger = logging.getLogger(__name__)

_PLAIN_MODELS = ("BaseSRModel", "RCANModel")
_OWN_CRITERIONS = ("L1Loss", "MSELoss", "CharbonnierLoss")
WITHOUT_EFFECT = ("to_static", "image_shape", "use_init_weight", "params", "max_eval_steps")
_FLIPS = {
    "PairedRandomHorizontalFlip": "mirror",
    "PairedRandomVerticalFlip": "upside down",
    "PairedRandomTransposeHW": "transpose",
}

Place = tuple[str, ...]


def is_paddlegan_form(config: Mapping[str, Any]) -> bool:
    """Whether a configuration has PaddleGAN's lists of preprocessing, or one of its plain SR models."""
    model, sections = config.get("model"), config.get("dataset")
    if isinstance(model, Mapping) and model.get("name") in _PLAIN_MODELS:
        return True
    return isinstance(sections, Mapping) and any(
        isinstance(section, Mapping) and "preprocess" in section for section in sections.values()
    )


def to_ppsr_form(config: Config) -> tuple[dict[str, Any], dict[Place, str]]:
    """The same experiment in ppsr's form.

    Returns:
        The values, and where each key was written; what a list says counts as written there.

    Raises:
        ConfigError: a model, data set, loss or transform without counterpart.
    """
    return Translation(config).run()


class Translation:
    """One configuration being translated; gives errors their places."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.lines = dict(config.lines)

    def run(self) -> tuple[dict[str, Any], dict[Place, str]]:
        values = dict(self.config)
        model = _mapping(self.config, ("model",))
        if model.get("name") == "DRN":
            values["model"], unit = self._drn(model)
        elif model.get("name") in _PLAIN_MODELS:
            values["model"], unit = self._plain_sr(model)
        else:
            raise self._error(
                ("model", "name"),
                f"PaddleGAN's model {model.get('name')!r} has no counterpart; "
                f"{', '.join(('DRN', *_PLAIN_MODELS))} have",
            )
        sections = _mapping(self.config, ("dataset",))
        values["dataset"] = {
            split: self._dataset(
                ("dataset", split), section, unit, pyramid=split == "train" and model["name"] == "DRN"
            )
            for split, section in sections.items()
        }
        logger.info("%s: read as a configuration of PaddleGAN", self.config.path)
        return values, self.lines

    def _error(self, place: Place, text: str) -> ConfigError:
        return ConfigError(f"{self.config.where(*place)}: {'.'.join(place)}: {text}")

    def _without_ignored(self, model: Mapping[str, Any]) -> dict[str, Any]:
        for key in WITHOUT_EFFECT:
            if model.get(key):
                logger.warning("%s: 'model.%s' has no effect here", self.config.where("model", key), key)
        return {key: value for key, value in model.items() if key not in WITHOUT_EFFECT}

    def _drn(self, model: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """DRN, and the largest value of its images."""
        result = self._without_ignored(model)
        criterion = {"reduction": "mean", "loss_weight": 1.0, **(result.pop("pixel_criterion", None) or {})}
        if criterion != {"name": "L1Loss", "reduction": "mean", "loss_weight": 1.0}:
            raise self._error(
                ("model", "pixel_criterion"), "DRN's losses are plain L1 means: {name: L1Loss} alone fits"
            )
        generator = _mapping(self.config, ("model", "generator"))
        # PaddleGAN freezes the shifts by the mean colour, and weighs the losses in its own way
        result["generator"] = {"train_mean_shift": False, **generator}
        return {"style": "paddledepth", **result}, float(generator.get("rgb_range", 255))

    def _plain_sr(self, model: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """One network with a pixel loss, and the largest value of its images."""
        result = {**self._without_ignored(model), "name": "SRModel"}
        generator = _mapping(self.config, ("model", "generator"))
        if generator.get("name") != "RCAN":
            result["generator"] = {**generator, "name": _foreign(generator.get("name"))}
            result |= {key: self._criterion(key) for key in result if key.endswith("_criterion")}
            return result, 1.0
        unit = float(generator.get("rgb_range", 255))
        criterion = dict(_mapping(self.config, ("model", "pixel_criterion")))
        if criterion.get("name") != "L1Loss":
            raise self._error(("model", "pixel_criterion"), "with RCAN, L1Loss alone has a counterpart")
        # ours compares images in [0, 1]
        criterion["loss_weight"] = unit * criterion.get("loss_weight", 1.0)
        return {**result, "pixel_criterion": criterion}, unit

    def _criterion(self, key: str) -> dict[str, Any]:
        """A loss, ours where it is the same."""
        criterion = _mapping(self.config, ("model", key))
        if criterion.get("name") not in _OWN_CRITERIONS:
            return {**criterion, "name": _foreign(criterion.get("name"))}
        if criterion["name"] == "CharbonnierLoss":
            return {"reduction": "sum", **criterion}  # the default there
        return dict(criterion)

    def _dataset(self, place: Place, section: Any, unit: float, *, pyramid: bool) -> Any:
        if not isinstance(section, Mapping) or "preprocess" not in section:
            return section  # in ppsr's form, or wrong, which the check of the configuration says
        if section.get("name") != "SRDataset":
            raise self._error(
                (*place, "name"), f"PaddleGAN's {section.get('name')!r} has no counterpart; SRDataset has"
            )
        own = {key: value for key, value in section.items() if key != "preprocess"}
        steps = section["preprocess"] if isinstance(section["preprocess"], list) else [section["preprocess"]]
        pipeline = Pipeline(self, place, int(own.get("scale", 4)), unit)
        for number, step in enumerate(steps):
            pipeline.add((*place, "preprocess", str(number)), step)
        options = pipeline.options()
        if pyramid:
            pipeline.check_levels()
            options["level_source"] = "opencv"
            own["name"] = "PyramidDataset"
        return {**options, **own}


class Pipeline:
    """A list `preprocess`, step by step, as options of a data set.

    Args:
        translation: gives places to errors.
        place: of the data set.
        scale: HR size / LR size.
        unit: largest value of an image that the networks expect, 1 or 255.
    """

    def __init__(self, translation: Translation, place: Place, scale: int, unit: float) -> None:
        self.translation = translation
        self.place = place
        self.scale = scale
        self.unit = unit
        self.names = ["lq", "gt"]
        self.crop: int | None = None
        self.flips: set[str] = set()

    def _error(self, place: Place, text: str) -> ConfigError:
        return self.translation._error(place, text)

    def _name(self, place: Place, step: Any) -> str:
        if not isinstance(step, Mapping) or not isinstance(step.get("name"), str):
            raise self._error(place, f"a step is a mapping with a 'name', got {step!r}")
        if not isinstance(step.get("keys", []), list):
            raise self._error((*place, "keys"), f"a list is needed, got {step['keys']!r}")
        return step["name"]

    def add(self, place: Place, step: Mapping[str, Any]) -> None:
        """Take one step of the list."""
        name = self._name(place, step)
        if name == "LoadImageFromFile":
            if (
                step.get("key") not in self.names
                or step.get("flag", -1) != -1
                or not step.get("to_rgb", True)
            ):
                raise self._error(place, "images are read as RGB, with the keys lq and gt")
        elif name == "Transforms":
            if step.get("input_keys") != ["lq", "gt"]:
                raise self._error((*place, "input_keys"), "must be [lq, gt]")
            for number, transform in enumerate(step.get("pipeline", [])):
                self.transform((*place, "pipeline", str(number)), transform)
            if step.get("output_keys", self.names) != self.names:
                raise self._error((*place, "output_keys"), f"must be {self.names} for this pipeline")
        else:
            raise self._error(place, f"PaddleGAN's step {name!r} has no counterpart")

    def transform(self, place: Place, transform: Mapping[str, Any]) -> None:
        """Take one transform of the step Transforms."""
        name = self._name(place, transform)
        if name == "SRPairedRandomCrop":
            self._crop(place, transform)
            return
        if len(transform.get("keys") or ()) < len(self.names):
            raise self._error(
                (*place, "keys"),
                f"{name} would leave some of the {len(self.names)} images unchanged; name all of them",
            )
        if name in _FLIPS:
            if transform.get("prob", 0.5) != 0.5:
                raise self._error((*place, "prob"), f"{name} has the probability 0.5 here")
            self.flips.add(_FLIPS[name])
        elif name == "Normalize":
            self._normalize(place, transform)
        elif name != "Transpose":
            raise self._error(place, f"PaddleGAN's transform {name!r} has no counterpart")

    def _crop(self, place: Place, transform: Mapping[str, Any]) -> None:
        if transform.get("scale") != self.scale:
            raise self._error((*place, "scale"), f"the data set has scale {self.scale}")
        self.crop = transform.get("gt_patch_size")
        written = self.translation.config.where(*place, "gt_patch_size")
        derived = (*self.place, "gt_size")
        self.translation.lines[derived] = written
        if transform.get("scale_list") and self.scale == 4:  # the only scale at which PaddleGAN adds it
            self.names = ["lq", "lqx2", "gt"]

    def _normalize(self, place: Place, transform: Mapping[str, Any]) -> None:
        """Data sets of ppsr give [0, 1], and networks are fed their own range; the same must come out."""
        mean, std = (
            value if isinstance(value, list) else [value]
            for value in (transform.get("mean"), transform.get("std"))
        )
        if any(value != 0 for value in mean) or any(value != 255 / self.unit for value in std):
            raise self._error(
                place,
                f"the network expects images in 0..{self.unit:g}, so Normalize needs mean 0 and "
                f"std {255 / self.unit:g}",
            )

    def check_levels(self) -> None:
        """DRN needs the image between LR and HR.

        Raises:
            ConfigError: there is none.
        """
        if self.scale > 2 and self.names != ["lq", "lqx2", "gt"]:
            raise self._error(
                (*self.place, "preprocess"),
                "DRN needs SRPairedRandomCrop with scale_list: true, which PaddleGAN has at scale 4 only; "
                "configs/drn_x8.yaml is another way",
            )

    def options(self) -> dict[str, Any]:
        """Options of SRDataset.

        Raises:
            ConfigError: turns that no option stands for.
        """
        turns = self.flips - {"mirror"}
        if len(turns) == 1:
            raise self._error(
                (*self.place, "preprocess"),
                "PairedRandomVerticalFlip and PairedRandomTransposeHW come together here (use_rot)",
            )
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
