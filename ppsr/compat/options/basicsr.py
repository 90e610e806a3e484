"""BasicSR's option files -> ours: DASR, CDDNet, Reflash Dropout, Simple-Align, DRCT, HAT, SwinIR, MambaIR,
Real-ESRGAN.

https://github.com/XPixelGroup/BasicSR (Apache-2.0) and the projects built on it. The behaviour of their code
decides, not the names of keys: keys that it never reads are noted as such.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from ppsr.compat.options.checks import flag, items, number, text, whole
from ppsr.compat.options.degradations import convert_levels, convert_second_order
from ppsr.compat.options.networks import network_row
from ppsr.compat.options.source import Component, Conversion, Rule, Source, rules
from ppsr.errors import ConfigError, did_you_mean
from ppsr.registry import CRITERIONS, DISCRIMINATORS, GENERATORS

__all__ = ["convert_basicsr"]

# model_type -> our model, and whether it trains with a discriminator
_PLAIN = ("DRCTModel", "HATModel", "MambaIRModel", "SRModel", "SwinIRModel")
_REAL = ("RealDRCTMSEModel", "RealESRNetModel", "RealHATMSEModel")
_REAL_GAN = ("RealDRCTGANModel", "RealESRGANModel", "RealHATGANModel")
_MODELS = {
    **dict.fromkeys((*_PLAIN, *_REAL), ("SRModel", False)),
    **dict.fromkeys(_REAL_GAN, ("SRModel", True)),
    **dict.fromkeys(("DASRModel", "SRGANDynamicModel"), ("CDDNet", False)),
}


class _Data(NamedTuple):
    name: str
    degrade: Callable[[Source], None] | None = None  # converts the options of its degradation
    scaled: bool = True


_DATASETS = {
    "DASRDataset": _Data("DASRDataset", convert_levels),
    "ImageNetPairedDataset": _Data("ImageNetPairedDataset"),
    "PairedImageDataset": _Data("SRDataset"),
    "RealESRGANDataset": _Data("RealESRGANDataset", convert_second_order),
    "SingleImageDataset": _Data("SingleImageDataset", scaled=False),
}
_DASR_PARTS = {"use_rc": False, "column_dropout": 0.0, "row_dropout": 0.0}  # CDDNet with these is DASR's
_LOSSES = {f"{name}_opt": f"{name}_criterion" for name in ("pixel", "perceptual", "gan")} | {
    "regress_opt": "regression_criterion",
    "artifacts_opt": "artifact_criterion",
}
_NAMES = ("CharbonnierLoss", "GANLoss", "L1Loss", "MSELoss", "PerceptualLoss")
_CRITERIONS = {name: Component(name) for name in _NAMES}
_USUAL = ("reduction", "eps", "use_input_norm", "range_norm", "real_label_val", "fake_label_val")
_METRICS = {"calculate_niqe": "NIQE", "calculate_psnr": "PSNR", "calculate_ssim": "SSIM"}


def _folder(value: Any) -> str:
    """A folder, also as a list of one."""
    return text(value[0] if isinstance(value, list) and len(value) == 1 else value)


def _pair(value: Any) -> list[Any]:
    if len(items(value)) != 2:
        raise ValueError("two numbers are needed")
    return items(value)


_FOLDERS = rules(_folder, "dataroot_gt -> gt_folder", "dataroot_lq -> lq_folder")
_TEMPLATE = rules(text, "filename_tmpl", neutral="{}")
_LOADER = (
    *rules(flag, "use_hflip", "use_rot"),
    *rules(flag, "use_shuffle -> shuffle", neutral=True),
    *rules(whole, "batch_size_per_gpu -> batch_size", "num_worker_per_gpu -> num_workers"),
    Rule("dataset_enlarge_ratio", None, whole, neutral=1),
)
_ETA_MIN = Rule("eta_min", "eta_min", number, neutral=0)
_STEPS = "MultiStepDecay", (*rules(items, "milestones"), *rules(number, "gamma"))
_COSINE = "CosineAnnealingRestartLR", (Rule("T_max", "periods", lambda value: [whole(value)]), _ETA_MIN)
_RESTARTS = "CosineAnnealingRestartLR", (*rules(items, "periods", "restart_weights"), _ETA_MIN)
_SCHEDULES = {
    "CosineAnnealingLR": _COSINE,
    "CosineAnnealingRestartLR": _RESTARTS,
    "MultiStepLR": _STEPS,
    "MultiStepRestartLR": _STEPS,
    "TrueCosineAnnealingLR": _COSINE,
}
_METRIC = (*rules(whole, "crop_border"), *rules(flag, "test_y_channel"))
_TOP = (
    *rules(whole, "manual_seed -> seed", "train.total_iter -> total_iters"),
    *rules(whole, "val.val_freq -> validate.interval", "logger.print_freq -> log_config.interval"),
    *rules(whole, "logger.save_checkpoint_freq -> snapshot_config.interval"),
    *rules(whole, "train.net_d_iters -> model.net_d_iters", neutral=1),
    *rules(whole, "train.net_d_init_iters -> model.net_d_init_iters", neutral=0),
    *rules(lambda v: max(0, whole(v)), "train.warmup_iter -> lr_scheduler.warmup_iters", neutral=0),
    *rules(flag, "val.save_img -> validate.save_img"),
    *rules(flag, "logger.use_tb_logger -> enable_visualdl", neutral=False),
)
_DEAD = ("compress_ratio", "squeeze_factor", "conv_scale", "overlap_ratio")  # in DRCT
_REASONS = {
    "train.artifacts_opt.reduction": "LDL's loss is a mean",
    "name": "the run's folder is named after the config file",
    "num_gpu": "set by the launcher: python -m paddle.distributed.launch --gpus 0,1",
    "dist_params.*": "set by the launcher",
    "num_networks": "the number of experts is the generator's num_models",
    "datasets.*.name": "a label",
    "datasets.*.io_backend.type": "an LMDB store is known by its name, which ends in .lmdb",
    "datasets.*.meta_info_file": "the published data set reads meta_info, else takes the whole folder",
    "datasets.*.prefetch_mode": "num_workers alone decides",
    "datasets.*.num_prefetch_queue": "num_workers alone decides",
    "datasets.*.pin_memory": "Paddle's loader decides",
    "datasets.*.persistent_workers": "workers are always persistent",
    "path.param_key_*": "of a file with params_ema and params the first is taken; ppsr convert --key picks",
    "path.resume_state": "--resume RUN or --resume auto",
    "path.auto_resume": "--resume auto",
    "train.cycle_opt.*": "the published code never reads it",
    "train.optim_d.*": "there is no discriminator to train",
    "val.pbar": "a progress bar is shown in terminals only",
    "val.suffix": "images keep their names",
    "val.metrics.*.better": "each metric has its own direction",
    "tile.tile_size": "ppsr upscale --tile; validation takes whole images",
    "tile.tile_pad": "ppsr upscale --overlap",
}


def convert_basicsr(options: Source, test_set: str | None) -> Conversion:
    """Convert a training or test option file; `test_set` is a key or name, None takes the first.

    Raises:
        ConfigError: a part without which nothing runs is missing or has no counterpart.
    """
    model, gan = options.row("model_type", _MODELS, "model_type")
    options.trains = options.has("train") and options.has("datasets.train")
    scale = options.read("scale", whole)
    aligns = _aligns(options)
    options.put("model.name", "AlignModel" if aligns else model, "model_type")
    _networks(options, model, scale)
    for section, target in _LOSSES.items():
        if options.has(f"train.{section}"):
            key = f"train.{section}.type"
            if section == "artifacts_opt":
                row = options.read(key, lambda _: Component("ArtifactLoss"))
            else:
                row = options.row(key, _CRITERIONS, "loss")
            options.convert(f"train.{section}", f"model.{target}", row, CRITERIONS, drop=_USUAL)
    if aligns:
        weight = options.read("weight", number)
        options.put("model.feature_layer", "feat_last")
        weights = {"linear_weight": weight, "nonlinear_weight": weight}
        options.put("model.align_criterion", {"name": "AlignmentLoss", **weights}, "weight")
    for key in ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm"):
        if gan:
            options.put(f"model.{key}", options.read(key, flag), key)
        else:
            options.note(key, "the published model never reads it; every loss uses the sharpened target")
    if options.trains:
        _training_data(options, scale, gan, aligns)
        _schedule(options)
        _optimizers(options)
    _test_data(options, scale, test_set)
    options.apply(_TOP)
    if not options.trains:
        options.put("total_iters", 1)
        options.put("model.pixel_criterion", {"name": "L1Loss"})
        options.added.append("total_iters and pixel_criterion, which every config has; testing uses neither")
    for key in options.keys("val.metrics"):
        section, target = f"val.metrics.{key}", f"validate.metrics.{key}"
        options.put(f"{target}.name", options.row(f"{section}.type", _METRICS, "metric"), f"{section}.type")
        options.apply(_METRIC, section, target)
    _loads(options)
    return options.finish(_REASONS)


def _aligns(options: Source) -> bool:
    """Simple-Align switches its loss on by the name of the experiment."""
    named = "reg" in options.peek("name", text, "")
    if not named:
        options.note("weight", "alignment acts only in experiments that have 'reg' in their name")
    return named and options.has("weight") and options.trains


def _has_discriminator(options: Source) -> bool:
    return options.has("network_d") and options.has("train.gan_opt")


def _networks(options: Source, model: str, scale: int) -> None:
    own = options.peek("network_g.upscale", default=options.peek("network_g.scale", default=scale))
    if own != scale:
        raise ConfigError(
            f"{options.where('network_g')}: network_g enlarges {own} times, and scale is {scale} "
            f"({options.where('scale')})"
        )
    networks = {"network_g": "generator", "network_p": "predictor"}
    for section in networks if model == "CDDNet" else ("network_g",):
        row = network_row(options.read(f"{section}.type", text), options.where(f"{section}.type"))
        for key in _DEAD if row.name == "DRCT" else ():
            options.note(f"{section}.{key}", "DRCT takes it and never uses it")
        options.convert(section, f"model.{networks[section]}", row, GENERATORS)
    if model == "CDDNet" and not options.trains:
        parts = " ".join(f"model.generator.{key}={str(value).lower()}" for key, value in _DASR_PARTS.items())
        options.added.append(f"CDDNet and DASR have equal test files; taken as CDDNet. For DASR: -o {parts}")
    elif model == "CDDNet" and not options.has("train.artifacts_opt"):
        options.added.append("the options of DASR's generator; CDDNet's files have train.artifacts_opt")
        for key, value in _DASR_PARTS.items():
            options.put(f"model.generator.{key}", value, "network_g")
    if _has_discriminator(options):
        name = "UNetDiscriminatorSN"
        row = options.row("network_d.type", {name: Component(name)}, "discriminator")
        options.convert("network_d", "model.discriminator", row, DISCRIMINATORS)
    elif options.has("train.gan_opt"):
        raise ConfigError(f"{options.where('train.gan_opt')}: gan_opt needs the section network_d")


def _data(options: Source, section: str, target: str, scale: int) -> _Data:
    """Class, folders or stores and their lists, and scale; a store has a list of its own."""
    data: _Data = options.row(f"{section}.type", _DATASETS, "data set")
    options.put(f"{target}.name", data.name, f"{section}.type")
    options.apply((*_FOLDERS, Rule("io_backend.type", None, text, neutral="disk")), section, target)
    if options.peek(f"{section}.io_backend.type") == "lmdb":
        for key in ("meta_info", "meta_info_file"):
            options.note(f"{section}.{key}", "an LMDB store has a list of its own")
    else:
        key = "meta_info" if data.degrade else "meta_info_file"
        options.apply(rules(text, f"{key} -> meta_info"), section, target)
    if data.scaled:
        options.put(f"{target}.scale", scale, "scale")
        options.apply(_TEMPLATE, section, target)
    return data


def _training_data(options: Source, scale: int, gan: bool, aligns: bool) -> None:
    section, target = "datasets.train", "dataset.train"
    data = _data(options, section, target, scale)
    size = "gt_size" if data.degrade and options.has("gt_size") else f"{section}.gt_size"
    options.put(f"{target}.gt_size", options.read(size, whole), size)
    if size == "gt_size":
        options.note(f"{section}.gt_size", "the gt_size at the top decides")
    if data.degrade is convert_second_order:
        options.put(f"{target}.gt_usm", gan or options.read("gt_usm", flag), "gt_usm")
        if gan:
            options.put(f"{target}.keep_gt", True, "l1_gt_usm")
    if data.degrade is not None:
        data.degrade(options)
    options.apply(_LOADER, section, target)
    if aligns:
        options.put(f"{target}.views", 2)
        options.note("queue_size", "the published code has no pool any more; it would separate the views")
    else:
        options.apply(rules(whole, "queue_size"), "", target)


def _test_data(options: Source, scale: int, test_set: str | None) -> None:
    names = {
        key: options.peek(f"datasets.{key}.name", text, key)
        for key in options.keys("datasets")
        if key.startswith(("val", "test"))
    }
    if not names and test_set is not None:
        raise ConfigError(f"{options.path} has no validation or test set, so no '{test_set}'")
    chosen = next((key for key, name in names.items() if not test_set or test_set in (key, name)), None)
    if chosen is None:
        if names:
            valid = did_you_mean(str(test_set), names.values())
            raise ConfigError(f"{options.where('datasets')}: there is no test set '{test_set}'; {valid}")
        return
    _data(options, f"datasets.{chosen}", "dataset.test", scale)
    for key in (key for key in names if key != chosen):
        folders = {rule.target: options.peek(f"datasets.{key}.{rule.source}") for rule in _FOLDERS}
        words = shlex.join(f"dataset.test.{k}={v}" for k, v in folders.items() if v is not None)
        options.note(f"datasets.{key}", f"{names[key]}: -o {words}")


def _schedule(options: Source) -> None:
    section = "train.scheduler"
    name, table = options.row(f"{section}.type", _SCHEDULES, "schedule")
    if name == "MultiStepDecay" and options.peek(f"{section}.gamma", number) == 1:
        options.read(f"{section}.gamma")
        options.note(f"{section}.milestones", "with gamma 1 nothing happens there")
        name, table = "ConstantLR", ()
    options.put("lr_scheduler.name", name, f"{section}.type")
    rate = options.read("train.optim_g.lr", number)
    options.put("lr_scheduler.learning_rate", rate, "train.optim_g.lr")
    options.apply(table, section, "lr_scheduler")


def _optimizers(options: Source) -> None:
    nets = ["generator", "predictor"] if options.has("network_p") else ["generator"]
    if not _has_discriminator(options):
        _optimizer(options, "train.optim_g", "optimizer", nets)
    else:
        _optimizer(options, "train.optim_g", "optimizer.optimG", nets)
        _optimizer(options, "train.optim_d", "optimizer.optimD", ["discriminator"])
        rate = options.read("train.optim_d.lr", number, None)
        if rate != options.peek("train.optim_g.lr"):
            reason = "one schedule drives all optimizers, here the generator's"
            options.note("train.optim_d.lr", reason, lost=True)
    decay = options.read("train.ema_decay", number, 0)
    if decay > 0:
        options.put("ema", {"decay": decay, "net_names": ["generator"]}, "train.ema_decay")


def _optimizer(options: Source, section: str, target: str, nets: list[str]) -> None:
    name = options.row(f"{section}.type", {"Adam": "Adam", "AdamW": "AdamW"}, "optimizer")
    options.put(f"{target}.name", name, f"{section}.type")
    options.put(f"{target}.net_names", nets)
    betas = options.read(f"{section}.betas", _pair, [0.9, 0.999])
    for index, beta in enumerate(betas, 1):
        options.put(f"{target}.beta{index}", beta, f"{section}.betas")
    options.apply(rules(number, "eps -> epsilon", neutral=1e-8), section, target)
    options.apply(rules(number, "weight_decay", neutral=0.01 if name == "AdamW" else 0), section, target)


def _loads(options: Source) -> None:
    """Files of earlier stages; training from a static network copies it to every expert, as DASR does."""
    expands = options.peek("model_type") == "DASRModel" and options.trains
    for letter, net in {"g": "generator", "p": "predictor", "d": "discriminator"}.items():
        path = options.read(f"path.pretrain_network_{letter}", text, None)
        load: dict[str, Any] = {"path": path}
        if not options.read(f"path.strict_load_{letter}", flag, True):
            load["partial"] = True
        if expands and letter == "g" and "pretrained_models" in (path or ""):
            load["expand_experts"] = True
            options.added.append("expand_experts, as DASR does for files in a folder pretrained_models")
        if path is not None:
            options.put(f"load.{net}", load, f"path.pretrain_network_{letter}")
