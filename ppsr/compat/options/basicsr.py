"""BasicSR's option files -> ours: DASR, CDDNet, Reflash Dropout, Simple-Align, DRCT, HAT, SwinIR,
Real-ESRGAN.

https://github.com/XPixelGroup/BasicSR (Apache-2.0) and the projects built on it. What their code does with a
key decides, not what its name promises: keys that it never reads are named as such.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ppsr.compat.options.components import Component, convert_component, find_row
from ppsr.compat.options.degradations import convert_levels, convert_second_order
from ppsr.compat.options.draft import Conversion, Draft, Rule, flag, items, number, text, whole
from ppsr.compat.options.networks import CDDNET_PARTS, DISCRIMINATORS, network_row
from ppsr.errors import ConfigError, did_you_mean
from ppsr.registry import CRITERIONS, GENERATORS
from ppsr.registry import DISCRIMINATORS as DISCRIMINATOR_REGISTRY

__all__ = ["convert_basicsr"]


@dataclass(frozen=True)
class _Algorithm:
    """What a `model_type` trains: our model, and whose data it makes."""

    name: str
    gan: bool = False


_PLAIN, _GAN = _Algorithm("SRModel"), _Algorithm("SRModel", gan=True)
_MODELS: dict[str, _Algorithm] = {
    "DASRModel": _Algorithm("CDDNet"),
    "DRCTModel": _PLAIN,
    "HATModel": _PLAIN,
    "MambaIRModel": _PLAIN,
    "RealDRCTGANModel": _GAN,
    "RealDRCTMSEModel": _PLAIN,
    "RealESRGANModel": _GAN,
    "RealESRNetModel": _PLAIN,
    "RealHATGANModel": _GAN,
    "RealHATMSEModel": _PLAIN,
    "SRGANDynamicModel": _Algorithm("CDDNet"),
    "SRModel": _PLAIN,
    "SwinIRModel": _PLAIN,
}


@dataclass(frozen=True)
class _Data:
    """A data set's counterpart: its name, and whether it has a scale and makes its LR pictures."""

    name: str
    scaled: bool = True
    degrades: str = ""


_DATASETS: dict[str, _Data] = {
    "DASRDataset": _Data("DASRDataset", degrades="levels"),
    "ImageNetPairedDataset": _Data("ImageNetPairedDataset"),
    "PairedImageDataset": _Data("SRDataset"),
    "RealESRGANDataset": _Data("RealESRGANDataset", degrades="second order"),
    "SingleImageDataset": _Data("SingleImageDataset", scaled=False),
}


def _folder(value: Any) -> str:
    """A folder, also as a list of one."""
    return text(value[0] if isinstance(value, list) and len(value) == 1 else value)


_FOLDERS = (Rule("dataroot_gt", "gt_folder", _folder), Rule("dataroot_lq", "lq_folder", _folder))
_LIST = (Rule("meta_info_file", "meta_info", text),)
_DEGRADED_LIST = (Rule("meta_info", "meta_info", text),)
_NAMES = (Rule("filename_tmpl", "filename_tmpl", text, neutral="{}"),)
_FLIPS = (Rule("use_hflip", "use_hflip", flag), Rule("use_rot", "use_rot", flag))
_LOADER = (
    Rule("use_shuffle", "shuffle", flag, neutral=True),
    Rule("batch_size_per_gpu", "batch_size", whole),
    Rule("num_worker_per_gpu", "num_workers", whole),
    Rule("dataset_enlarge_ratio", None, whole, neutral=1),
)

_LOSSES = {
    "pixel_opt": "pixel_criterion",
    "regress_opt": "regression_criterion",
    "perceptual_opt": "perceptual_criterion",
    "artifacts_opt": "artifact_criterion",
    "gan_opt": "gan_criterion",
}
_CRITERIONS = {
    name: Component(name) for name in ("CharbonnierLoss", "GANLoss", "L1Loss", "MSELoss", "PerceptualLoss")
}
_ARTIFACT = Component("ArtifactLoss", unused={"reduction": "LDL's loss is a mean"})
_USUAL = ("reduction", "eps", "use_input_norm", "range_norm", "real_label_val", "fake_label_val")

_RESTART = (
    Rule("periods", "periods", items),
    Rule("restart_weights", "restart_weights", items),
    Rule("eta_min", "eta_min", number, neutral=0),
)
_STEPS = (Rule("milestones", "milestones", items), Rule("gamma", "gamma", number))
_ONE_PERIOD = (
    Rule("T_max", "periods", lambda value: [whole(value)]),
    Rule("eta_min", "eta_min", number, neutral=0),
)
_SCHEDULES: dict[str, tuple[str, tuple[Rule, ...]]] = {
    "CosineAnnealingLR": ("CosineAnnealingRestartLR", _ONE_PERIOD),
    "CosineAnnealingRestartLR": ("CosineAnnealingRestartLR", _RESTART),
    "MultiStepLR": ("MultiStepDecay", _STEPS),
    "MultiStepRestartLR": ("MultiStepDecay", _STEPS),
    "TrueCosineAnnealingLR": ("CosineAnnealingRestartLR", _ONE_PERIOD),
}
_OPTIMIZERS = {"Adam": "Adam", "AdamW": "AdamW"}
_ADAM = (Rule("eps", "epsilon", number, neutral=1e-8),)
_METRICS = {"calculate_niqe": "NIQE", "calculate_psnr": "PSNR", "calculate_ssim": "SSIM"}
_METRIC = (Rule("crop_border", "crop_border", whole), Rule("test_y_channel", "test_y_channel", flag))
_INTERVALS = (
    Rule("manual_seed", "seed", whole),
    Rule("train.total_iter", "total_iters", whole),
    Rule("train.warmup_iter", "lr_scheduler.warmup_iters", lambda v: max(0, whole(v)), neutral=0),
    Rule("train.net_d_iters", "model.net_d_iters", whole, neutral=1),
    Rule("train.net_d_init_iters", "model.net_d_init_iters", whole, neutral=0),
    Rule("val.val_freq", "validate.interval", whole),
    Rule("val.save_img", "validate.save_img", flag),
    Rule("logger.print_freq", "log_config.interval", whole),
    Rule("logger.save_checkpoint_freq", "snapshot_config.interval", whole),
    Rule("logger.use_tb_logger", "enable_visualdl", flag, neutral=False),
)

_REASONS = {
    "name": "the run's folder is named after the config file",
    "num_gpu": "the launcher decides: python -m paddle.distributed.launch --gpus 0,1",
    "dist_params.*": "the launcher's business",
    "num_networks": "the number of experts is the generator's num_models",
    "datasets.*.name": "a label",
    "datasets.*.io_backend.type": "an LMDB store is known by its name, which ends in .lmdb",
    "datasets.*.meta_info_file": "the published data set reads meta_info, else takes the whole folder",
    "datasets.*.prefetch_mode": "num_workers alone decides",
    "datasets.*.num_prefetch_queue": "num_workers alone decides",
    "datasets.*.pin_memory": "Paddle's loader decides",
    "datasets.*.persistent_workers": "workers always live on",
    "path.param_key_*": "of a file with params_ema and params the first is taken; ppsr convert --key picks",
    "path.resume_state": "--resume RUN or --resume auto",
    "path.auto_resume": "--resume auto",
    "train.cycle_opt.*": "the published code never reads it",
    "train.optim_d.*": "there is no discriminator to train",
    "val.pbar": "a terminal gets a progress bar, a file none",
    "val.suffix": "pictures keep their names",
    "val.metrics.*.better": "metrics know it themselves",
    "tile.tile_size": "ppsr upscale --tile; validation takes whole pictures",
    "tile.tile_pad": "ppsr upscale --overlap",
}


def convert_basicsr(draft: Draft, test_set: str | None) -> Conversion:
    """Convert a training or test option file.

    Args:
        draft: the file.
        test_set: key or name of the validation or test set to take; None takes the first.

    Raises:
        ConfigError: a part without which nothing runs is missing or has no counterpart.
    """
    algorithm: _Algorithm = find_row(draft, "model_type", _MODELS, "model_type")
    draft.trains = draft.has("train") and draft.has("datasets.train")
    scale = draft.read("scale", whole)
    _model(draft, algorithm, scale)
    if draft.trains:
        _training_data(draft, algorithm, scale)
        _schedule(draft)
        _optimizers(draft)
    _test_data(draft, scale, test_set)
    draft.apply(_INTERVALS)
    _validation(draft)
    _loads(draft)
    if not draft.trains:
        draft.put("total_iters", 1)
        draft.put("model.pixel_criterion", {"name": "L1Loss"})
        draft.added.append("total_iters and pixel_criterion, which every config has; testing uses neither")
    return draft.finish(_REASONS)


def _network(draft: Draft, source: str, target: str) -> None:
    name = draft.read(f"{source}.type", text)
    row = network_row(name, draft.where(f"{source}.type"))
    convert_component(draft, source, target, row, GENERATORS)


def _model(draft: Draft, algorithm: _Algorithm, scale: int) -> None:
    aligns = _aligns(draft)
    draft.put("model.name", "AlignModel" if aligns else algorithm.name, "model_type")
    own = draft.peek("network_g.upscale", default=draft.peek("network_g.scale", default=scale))
    if own != scale:
        raise ConfigError(
            f"{draft.where('network_g')}: network_g enlarges {own} times, and scale is {scale} "
            f"({draft.where('scale')})"
        )
    _network(draft, "network_g", "model.generator")
    if algorithm.name == "CDDNet":
        _network(draft, "network_p", "model.predictor")
        _tell_dasr_from_cddnet(draft)
    if draft.has("network_d") and draft.has("train.gan_opt"):
        row = find_row(draft, "network_d.type", DISCRIMINATORS, "discriminator")
        convert_component(draft, "network_d", "model.discriminator", row, DISCRIMINATOR_REGISTRY)
    elif draft.has("train.gan_opt"):
        raise ConfigError(f"{draft.where('train.gan_opt')}: gan_opt needs the section network_d")
    if aligns:
        _alignment(draft)
    for source, target in _LOSSES.items():
        if draft.has(f"train.{source}"):
            _loss(draft, f"train.{source}", f"model.{target}")
    if algorithm.gan:
        for key in ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm"):
            draft.put(f"model.{key}", draft.read(key, flag), key)
    else:
        for key in ("l1_gt_usm", "percep_gt_usm", "gan_gt_usm"):
            draft.explain(key, "the published model never reads it; every loss uses the sharpened target")


def _aligns(draft: Draft) -> bool:
    """Simple-Align switches its loss on by the name of the experiment."""
    named = "reg" in draft.peek("name", text, "")
    if draft.has("weight") and not named:
        draft.explain("weight", "alignment acts only in experiments that have 'reg' in their name")
    return named and draft.has("weight") and draft.trains


def _alignment(draft: Draft) -> None:
    weight = draft.read("weight", number)
    draft.put("model.feature_layer", "feat_last")
    draft.put(
        "model.align_criterion",
        {"name": "AlignmentLoss", "linear_weight": weight, "nonlinear_weight": weight},
        "weight",
    )


def _tell_dasr_from_cddnet(draft: Draft) -> None:
    """Both call their generator MSRResNetDynamic; only CDDNet trains with artifacts_opt."""
    if not draft.trains:
        draft.added.append(
            "the file does not tell CDDNet from DASR; taken as CDDNet. For DASR: -o "
            + " ".join(f"model.generator.{key}={str(value).lower()}" for key, value in CDDNET_PARTS.items())
        )
    elif not draft.has("train.artifacts_opt"):
        draft.added.append("the options of DASR's generator; train.artifacts_opt would tell CDDNet")
        for key, value in CDDNET_PARTS.items():
            draft.put(f"model.generator.{key}", value, "network_g")


def _loss(draft: Draft, source: str, target: str) -> None:
    row = _ARTIFACT
    if source.endswith("artifacts_opt"):
        draft.read(f"{source}.type")
    else:
        row = find_row(draft, f"{source}.type", _CRITERIONS, "loss")
    convert_component(draft, source, target, row, CRITERIONS, drop_defaults=_USUAL)


def _training_data(draft: Draft, algorithm: _Algorithm, scale: int) -> None:
    source, target = "datasets.train", "dataset.train"
    data: _Data = find_row(draft, f"{source}.type", _DATASETS, "data set")
    draft.put(f"{target}.name", data.name, f"{source}.type")
    _pictures(draft, source, target, _DEGRADED_LIST if data.degrades else _LIST)
    draft.put(f"{target}.scale", scale, "scale")
    size = "gt_size" if data.degrades and draft.has("gt_size") else f"{source}.gt_size"
    draft.put(f"{target}.gt_size", draft.read(size, whole), size)
    if size == "gt_size" and draft.has(f"{source}.gt_size"):
        draft.explain(f"{source}.gt_size", "the gt_size at the top decides")
    draft.apply(_NAMES, source, target)
    draft.apply(_FLIPS, source, target)
    if data.degrades == "second order":
        sharpen = True if algorithm.gan else draft.read("gt_usm", flag)
        draft.put(f"{target}.gt_usm", sharpen, "gt_usm")
        if algorithm.gan:
            draft.put(f"{target}.keep_gt", True, "l1_gt_usm")
        convert_second_order(draft)
    elif data.degrades:
        convert_levels(draft)
    draft.apply(_LOADER, source, target)
    if _aligns(draft):
        draft.put(f"{target}.views", 2)
        draft.explain("queue_size", "the code has no pool any more; it would tear the views apart")
    elif draft.has("queue_size"):
        draft.put(f"{target}.queue_size", draft.read("queue_size", whole), "queue_size")


def _pictures(draft: Draft, source: str, target: str, lists: tuple[Rule, ...]) -> None:
    """Folders or stores, and their lists; a store has a list of its own."""
    draft.apply(_FOLDERS, source, target)
    draft.apply((Rule("io_backend.type", None, text, neutral="disk"),), source)
    if draft.peek(f"{source}.io_backend.type") == "lmdb":
        for key in ("meta_info", "meta_info_file"):
            draft.explain(f"{source}.{key}", "an LMDB store has a list of its own")
    else:
        draft.apply(lists, source, target)


def _test_data(draft: Draft, scale: int, test_set: str | None) -> None:
    keys = [key for key in draft.keys("datasets") if key.startswith(("val", "test"))]
    names = {key: draft.peek(f"datasets.{key}.name", text, key) for key in keys}
    if not keys:
        if test_set is not None:
            raise ConfigError(f"{draft.path} has no validation or test set, so no '{test_set}'")
        return
    chosen = next((key for key in keys if test_set in (key, names[key])), None) if test_set else keys[0]
    if chosen is None:
        valid = did_you_mean(str(test_set), names.values())
        raise ConfigError(f"{draft.where('datasets')}: there is no test set '{test_set}'; {valid}")
    source, target = f"datasets.{chosen}", "dataset.test"
    data: _Data = find_row(draft, f"{source}.type", _DATASETS, "data set")
    draft.put(f"{target}.name", data.name, f"{source}.type")
    _pictures(draft, source, target, _LIST)
    if data.scaled:
        draft.put(f"{target}.scale", scale, "scale")
        draft.apply(_NAMES, source, target)
    for key in keys:
        if key != chosen:
            draft.explain(f"datasets.{key}", _instead(draft, key, names[key]))


def _instead(draft: Draft, key: str, name: str) -> str:
    """How to test on another set of the file."""
    folders = {
        rule.target: draft.peek(f"datasets.{key}.{rule.source}")
        for rule in _FOLDERS
        if draft.has(f"datasets.{key}.{rule.source}")
    }
    return f"{name}: -o " + shlex.join(f"dataset.test.{k}={v}" for k, v in folders.items())


def _schedule(draft: Draft) -> None:
    rate = draft.read("train.optim_g.lr", number)
    source = "train.scheduler"
    name, rules = find_row(draft, f"{source}.type", _SCHEDULES, "schedule")
    constant = name == "MultiStepDecay" and draft.peek(f"{source}.gamma", number) == 1
    draft.put("lr_scheduler.name", "ConstantLR" if constant else name, f"{source}.type")
    draft.put("lr_scheduler.learning_rate", rate, "train.optim_g.lr")
    if constant:
        draft.read(f"{source}.gamma")
        draft.explain(f"{source}.milestones", "with gamma 1 nothing happens there")
    else:
        draft.apply(rules, source, "lr_scheduler")


def _optimizers(draft: Draft) -> None:
    nets = ["generator", "predictor"] if draft.has("network_p") else ["generator"]
    if not (draft.has("network_d") and draft.has("train.gan_opt")):
        _optimizer(draft, "train.optim_g", "optimizer", nets)
    else:
        _optimizer(draft, "train.optim_g", "optimizer.optimG", nets)
        _optimizer(draft, "train.optim_d", "optimizer.optimD", ["discriminator"])
        key = "train.optim_d.lr"
        if draft.peek(key, number) == draft.peek("train.optim_g.lr"):
            draft.read(key)
        else:
            draft.lose(key, "one schedule drives all optimizers, here the generator's")
    decay = draft.read("train.ema_decay", number, 0)
    if decay > 0:
        draft.put("ema", {"decay": decay, "net_names": ["generator"]}, "train.ema_decay")


def _pair(value: Any) -> list[Any]:
    if len(items(value)) != 2:
        raise ValueError("two numbers are needed")
    return items(value)


def _optimizer(draft: Draft, source: str, target: str, nets: list[str]) -> None:
    name = find_row(draft, f"{source}.type", _OPTIMIZERS, "optimizer")
    draft.put(f"{target}.name", name, f"{source}.type")
    draft.put(f"{target}.net_names", nets)
    betas = draft.read(f"{source}.betas", _pair, [0.9, 0.999])
    for key, beta in zip(("beta1", "beta2"), betas, strict=True):
        draft.put(f"{target}.{key}", beta, f"{source}.betas")
    usual = 0.01 if name == "AdamW" else 0
    draft.apply((*_ADAM, Rule("weight_decay", "weight_decay", number, neutral=usual)), source, target)


def _validation(draft: Draft) -> None:
    for key in draft.keys("val.metrics"):
        source, target = f"val.metrics.{key}", f"validate.metrics.{key}"
        name = find_row(draft, f"{source}.type", _METRICS, "metric")
        draft.put(f"{target}.name", name, f"{source}.type")
        draft.apply(_METRIC, source, target)


def _loads(draft: Draft) -> None:
    """Files of earlier stages; training from a static network copies it to every expert, as DASR does."""
    nets: Mapping[str, tuple[str, str]] = {
        "generator": ("pretrain_network_g", "strict_load_g"),
        "predictor": ("pretrain_network_p", "strict_load_p"),
        "discriminator": ("pretrain_network_d", "strict_load_d"),
    }
    model = draft.peek("model_type", text)
    for net, (file, strict) in nets.items():
        path = draft.read(f"path.{file}", text, None)
        strictly = draft.read(f"path.{strict}", flag, True)
        if path is None:
            continue
        load: dict[str, Any] = {"path": path} if strictly else {"path": path, "partial": True}
        if model == "DASRModel" and net == "generator" and draft.trains and "pretrained_models" in path:
            load["expand_experts"] = True
            draft.added.append("expand_experts, as DASR does for files in a folder pretrained_models")
        draft.put(f"load.{net}", load, f"path.{file}")
