"""Option files of BasicSR and of the projects built on it (DASR, CDDNet, HAT, MambaIR and others) -> ours.

https://github.com/XPixelGroup/BasicSR (Apache-2.0). What their code does counts, not what a key is called:
keys that it never reads are noted as such. The names are in basicsr.yaml.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from ppsr.compat.options.degradations import convert_levels, convert_second_order
from ppsr.compat.options.source import Conversion, Source
from ppsr.errors import ConfigError, did_you_mean
from ppsr.generators.cddnet import DASR_PARTS
from ppsr.registry import CRITERIONS, DISCRIMINATORS, GENERATORS

_TABLES = yaml.safe_load(Path(__file__).with_name("basicsr.yaml").read_text(encoding="utf-8"))
_DEGRADATIONS = {"DASRDataset": convert_levels, "RealESRGANDataset": convert_second_order}

# Reflash Dropout has a class for each kind, rate and position of dropout, and says them in its name.
_PLACE = r"first|b\d+|upconv12|up2|hr|last"
_DROPOUT = re.compile(
    r"(?P<base>MSRResNet|RRDBNet)(_detailss?)?(?P<plain>_woGR)?"
    rf"(_drop(out)?(?P<places>({_PLACE})+)_(?P<kind>channel|element)(?P<tenths>\d\d))?"
)
_SEVERAL = {"upconv12": ["upconv1", "upconv2", "up2"]}


def convert_basicsr(options: Source, test_set: str | None) -> Conversion:
    """Convert a training or test option file; `test_set` is a key or name, None takes the first."""
    result = options.result
    model = options.choose("model_type", _TABLES["models"], "model_type")
    gan = "GAN" in options.peek("model_type") and model == "SRModel"
    result.trains = options.has("train") and options.has("datasets.train")
    scale = options.read("scale", kind="number")
    # Simple-Align switches its loss on by the name of the experiment
    aligns = "reg" in str(options.peek("name")) and options.has("weight") and result.trains
    options.put("model.name", "AlignModel" if aligns else model, "model_type")
    _networks(options, model, scale)
    for section, target in _TABLES["losses"].items():
        if options.has(f"train.{section}"):
            ldl = section in ("artifacts_opt", "ldl_opt")  # which has no type, or that of a part of it
            name = "ArtifactLoss" if ldl else str(options.read(f"train.{section}.type"))
            options.component(f"train.{section}", f"model.{target}", name, CRITERIONS)
    if aligns:
        weight = options.read("weight")
        options.put("model.feature_layer", "feat_last")
        weights = {"linear_weight": weight, "nonlinear_weight": weight}
        options.put("model.align_criterion", {"name": "AlignmentLoss", **weights}, "weight")
    for key in ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm") if gan else ():
        options.put(f"model.{key}", options.read(key), key)
    if result.trains:
        _training_data(options, scale, gan, aligns)
        _schedule(options)
        _optimizers(options)
    else:
        options.put("total_iters", 1)
        options.put("model.pixel_criterion", {"name": "L1Loss"})
        result.added.append("total_iters and pixel_criterion, which every config has; testing uses neither")
    _test_data(options, scale, test_set)
    options.move(_TABLES["top"])
    for key in options.keys("val.metrics"):
        section, target = f"val.metrics.{key}", f"validate.metrics.{key}"
        options.choose(f"{section}.type", _TABLES["metrics"], "metric", f"{target}.name")
        options.move(_TABLES["metric"], section, target)
    _loads(options)
    return options.finish(_TABLES["reasons"])


def _has_discriminator(options: Source) -> bool:
    return options.has("network_d") and options.has("train.gan_opt")


def _networks(options: Source, model: str, scale: int) -> None:
    own = options.peek("network_g.upscale", options.peek("network_g.scale", scale))
    if own != scale:
        raise ConfigError(
            f"{options.where('network_g')}: network_g upscales by {own}, but scale is {scale} "
            f"({options.where('scale')})"
        )
    _network(options, "network_g", "model.generator")
    if model == "CDDNet":
        _network(options, "network_p", "model.predictor")
    if model == "CDDNet" and not options.result.trains:
        parts = " ".join(f"model.generator.{key}={str(value).lower()}" for key, value in DASR_PARTS.items())
        options.result.added.append(
            f"CDDNet and DASR have equal test files; this is CDDNet, for DASR add -o {parts}"
        )
    elif model == "CDDNet" and not options.has("train.artifacts_opt"):
        options.result.added.append(
            "the options of DASR's generator; CDDNet's files have train.artifacts_opt"
        )
        for key, value in DASR_PARTS.items():
            options.put(f"model.generator.{key}", value, "network_g")
    if _has_discriminator(options):
        name = str(options.read("network_d.type"))
        options.component("network_d", "model.discriminator", name, DISCRIMINATORS)
    elif options.has("train.gan_opt"):
        raise ConfigError(f"{options.where('train.gan_opt')}: gan_opt needs the section network_d")


def _network(options: Source, section: str, target: str) -> None:
    name = str(options.read(f"{section}.type"))
    found = published_network(name)
    if found is None:
        raise ConfigError(
            f"{options.where(f'{section}.type')}: the network '{name}' has no counterpart; these have: "
            f"{', '.join(_TABLES['networks'])}, and names with dropout such as "
            "MSRResNet_details_dropoutlast_channel07"
        )
    options.component(section, target, found[0], GENERATORS)
    for key, value in found[1].items():
        options.put(f"{target}.{key}", value, f"{section}.type")


def published_network(name: str) -> tuple[str, dict[str, Any]] | None:
    """Registered name and fixed arguments of a released class; None where there is no such network."""
    if name in _TABLES["networks"]:
        return _TABLES["networks"][name], {}
    match = _DROPOUT.fullmatch(name)
    if match is None:
        return None
    fixed: dict[str, Any] = {"global_residual": False} if match["plain"] else {}
    if match["places"]:
        places = [p for place in re.findall(_PLACE, match["places"]) for p in _SEVERAL.get(place, [place])]
        fixed["dropout"] = {"type": match["kind"], "p": int(match["tenths"]) / 10, "positions": places}
    return match["base"], fixed


def _dataset(options: Source, section: str, target: str, scale: int) -> str:
    """Class, folders or stores and their lists, and scale; returns the class."""
    name = options.choose(f"{section}.type", _TABLES["datasets"], "data set", f"{target}.name")
    for key, ours in _TABLES["dataset"].items():
        place = f"{section}.{key}"
        folder = options.read(place, None)
        folder = folder[0] if isinstance(folder, list) and len(folder) == 1 else folder
        if isinstance(folder, list):
            raise ConfigError(f"{options.where(place)}: '{place}' is {folder!r}: one folder is needed")
        if folder is not None:
            options.put(f"{target}.{ours}", folder, place)
    if options.peek(f"{section}.io_backend.type") != "lmdb":  # a store has its own list
        listed = name in _DEGRADATIONS or options.peek(f"{section}.type") == "RealESRGANPairedDataset"
        key = "meta_info" if listed else "meta_info_file"
        options.move({key: "meta_info"}, section, target)
    if name != "SingleImageDataset":
        options.put(f"{target}.scale", scale, "scale")
        options.move({"filename_tmpl": "filename_tmpl"}, section, target)
    return name


def _training_data(options: Source, scale: int, gan: bool, aligns: bool) -> None:
    section, target = "datasets.train", "dataset.train"
    name = _dataset(options, section, target, scale)
    degrades = name in _DEGRADATIONS
    size = "gt_size" if degrades and options.has("gt_size") else f"{section}.gt_size"
    options.put(f"{target}.gt_size", options.read(size), size)
    if name == "RealESRGANDataset":
        options.put(f"{target}.gt_usm", gan or options.read("gt_usm"), "gt_usm")
        if gan:
            options.put(f"{target}.keep_gt", True, "l1_gt_usm")
    elif gan and options.peek("l1_gt_usm"):
        options.result.added.append(
            "pairs: every loss compares with the target as it is, which the published model sharpens"
        )
    if degrades:
        _DEGRADATIONS[name](options)
    options.move(_TABLES["loader"], section, target)
    if aligns:
        options.put(f"{target}.views", 2)
    else:
        options.move({"queue_size": f"{target}.queue_size"})


def _test_data(options: Source, scale: int, test_set: str | None) -> None:
    names = {
        key: str(options.peek(f"datasets.{key}.name", key))
        for key in options.keys("datasets")
        if key.startswith(("val", "test"))
    }
    chosen = next((key for key, name in names.items() if test_set in (None, key, name)), None)
    if chosen is None and test_set is not None:
        hint = did_you_mean(test_set, names.values())
        raise ConfigError(f"{options.where('datasets')}: there is no test set '{test_set}'; {hint}")
    if chosen is not None:
        _dataset(options, f"datasets.{chosen}", "dataset.test", scale)
    for key in (key for key in names if key != chosen):
        folders = {ours: options.peek(f"datasets.{key}.{own}") for own, ours in _TABLES["dataset"].items()}
        words = shlex.join(f"dataset.test.{k}={v}" for k, v in folders.items() if v is not None)
        options.note(f"datasets.{key}", f"{names[key]}: -o {words}")


def _schedule(options: Source) -> None:
    section = "train.scheduler"
    name = options.choose(f"{section}.type", _TABLES["schedules"], "schedule")
    constant = name == "MultiStepDecay" and options.peek(f"{section}.gamma") == 1
    options.put("lr_scheduler.name", "ConstantLR" if constant else name, f"{section}.type")
    options.put("lr_scheduler.learning_rate", options.read("train.optim_g.lr"), "train.optim_g.lr")
    if constant:
        options.read(f"{section}.gamma")
    else:
        options.move(_TABLES["schedule"], section, "lr_scheduler")
    if options.has(f"{section}.T_max"):
        options.put("lr_scheduler.periods", [options.read(f"{section}.T_max")], f"{section}.T_max")
    warmup = options.read("train.warmup_iter", 0, kind="number")
    if warmup > 0:
        options.put("lr_scheduler.warmup_iters", warmup, "train.warmup_iter")


def _optimizers(options: Source) -> None:
    nets = ["generator", "predictor"] if options.has("network_p") else ["generator"]
    if not _has_discriminator(options):
        _optimizer(options, "train.optim_g", "optimizer", nets)
    else:
        _optimizer(options, "train.optim_g", "optimizer.optimG", nets)
        _optimizer(options, "train.optim_d", "optimizer.optimD", ["discriminator"])
        rate = options.read("train.optim_d.lr", None)
        if rate is not None and rate != options.peek("train.optim_g.lr"):
            options.put("optimizer.optimD.learning_rate", rate, "train.optim_d.lr")
    decay = options.read("train.ema_decay", 0, kind="number")
    if decay > 0:
        options.put("ema", {"decay": decay, "net_names": ["generator"]}, "train.ema_decay")


def _optimizer(options: Source, section: str, target: str, nets: list[str]) -> None:
    options.choose(f"{section}.type", _TABLES["optimizers"], "optimizer", f"{target}.name")
    options.put(f"{target}.net_names", nets)
    for index, beta in enumerate(options.read(f"{section}.betas", [0.9, 0.999], kind="list"), 1):
        options.put(f"{target}.beta{index}", beta, f"{section}.betas")
    options.move(_TABLES["optimizer"], section, target)


def _loads(options: Source) -> None:
    """Files of earlier stages; training from a static network copies it to every expert, as DASR does."""
    expands = options.peek("model_type") == "DASRModel" and options.result.trains
    for letter, net in {"g": "generator", "p": "predictor", "d": "discriminator"}.items():
        path = options.read(f"path.pretrain_network_{letter}", None)
        if path is None:
            continue
        strict = options.read(f"path.strict_load_{letter}", True)
        load: dict[str, Any] = {"path": path} if strict else {"path": path, "partial": True}
        if expands and letter == "g" and "pretrained_models" in str(path):
            load["expand_experts"] = True
            options.result.added.append(
                "expand_experts, as DASR does for files in a folder pretrained_models"
            )
        options.put(f"load.{net}", load, f"path.pretrain_network_{letter}")
