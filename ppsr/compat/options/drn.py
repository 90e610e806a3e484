"""DRN's command line -> ours: `python main.py --scale 4 --model DRN-S ...` in a text file or shell script.

https://github.com/guoyongcs/DRN (BSD-3-Clause). It has no option files; a script that calls it is converted.
Options that are not given have the published defaults, which are written out.
"""

from __future__ import annotations

import re
import shlex
from operator import not_
from pathlib import Path
from typing import Any

import yaml

from ppsr.compat.options.checks import as_given
from ppsr.compat.options.source import Conversion, Source, rules
from ppsr.errors import ConfigError, did_you_mean

__all__ = ["KIND", "convert_drn", "is_drn_command", "read_drn_command"]

KIND = "command line of DRN"
_YAML = re.compile(r"^(model|model_type|dataset)\s*:", re.MULTILINE)
_CALL = re.compile(r"(?<![^\s/])main\.py(?=\s)")

# Options with the published defaults, which have their types; null: text without a default; false: a switch.
_OPTIONS: dict[str, Any] = yaml.safe_load("""{
  n_threads: 6, cpu: false, n_GPUs: 1, seed: 1, data_dir: data_path, data_train: DF2K, data_test: Set5,
  data_range: null, scale: 4, patch_size: 384, rgb_range: 255, n_colors: 3, no_augment: false, model: null,
  pre_train: ., pre_train_dual: ., n_blocks: 30, n_feats: 16, negval: 0.2, test_every: 1000, epochs: 1000,
  batch_size: 32, self_ensemble: false, test_only: false, lr: 1.0e-4, eta_min: 1.0e-7, beta1: 0.9,
  beta2: 0.999, epsilon: 1.0e-8, weight_decay: 0.0, loss: 1*L1, skip_threshold: null, dual_weight: 0.1,
  save: ./experiment/test/, print_every: 100, save_results: false}""")
_DEFAULTS = {key: value for key, value in _OPTIONS.items() if value is not None}

# Blocks and width of a model's name and scale, whatever the options are.
_PRESETS = {("DRN-S", 4): (30, 16), ("DRN-S", 8): (30, 8), ("DRN-L", 4): (40, 20), ("DRN-L", 8): (36, 10)}
_BENCHMARKS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
_FOLDERS = {"DF2K": ("DF2K_HR", "DF2K_LR_bicubic")}  # of all other sets: HR and LR_bicubic

_SIZES = rules(as_given, "n_blocks", "n_feats", "n_colors", "rgb_range", "negval")
_TOP = (
    *rules(as_given, "seed", "save -> output_dir", "save_results -> validate.save_img"),
    *rules(as_given, "dual_weight -> model.dual_loss_weight"),
)
_TRAINING = (
    *rules(as_given, "patch_size -> dataset.train.gt_size", "n_threads -> dataset.train.num_workers"),
    *rules(not_, "no_augment -> dataset.train.use_hflip", "no_augment -> dataset.train.use_rot"),
    *rules(as_given, "lr -> lr_scheduler.learning_rate", "eta_min -> lr_scheduler.eta_min"),
    *rules(as_given, "test_every -> validate.interval", "print_every -> log_config.interval"),
    *rules(as_given, "test_every -> snapshot_config.interval"),
)
_ADAM = (
    *rules(as_given, "beta1", "beta2"),
    *rules(as_given, "epsilon", neutral=1e-8),
    *rules(as_given, "weight_decay", neutral=0),
)
_REASONS = {
    "cpu": "--device cpu",
    "self_ensemble": "the published code parses it and never uses it; ppsr upscale --self-ensemble",
    "data_range": "the published data sets never read it",
    "skip_threshold": "a step is skipped where its loss or gradient is not finite",
    "pre_train_dual": "a list of networks; a file of this project holds generator and duals together",
    "n_threads": "testing reads one image at a time",
}


def is_drn_command(content: str) -> bool:
    """Whether a text calls DRN's main.py, or is nothing but options."""
    body = _without_comments(content)
    return (bool(_CALL.search(body)) or body.startswith("--")) and not _YAML.search(body)


def _without_comments(content: str) -> str:
    lines = [line for line in content.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").strip()


def read_drn_command(content: str, path: Path) -> Source:
    """Options of the only call in a text.

    Raises:
        ConfigError: several calls, an unknown option, or a value of another type.
    """
    body = _without_comments(content)
    calls = list(_CALL.finditer(body))
    if len(calls) > 1:
        raise ConfigError(f"{path} calls main.py {len(calls)} times; give a file for each")
    if calls:
        body = re.split(r"\n|;|&&|\|", body[calls[0].end() :])[0]
    try:
        words = shlex.split(body, comments=True)
    except ValueError as error:
        raise ConfigError(f"{path}: the command cannot be read: {str(error).lower()}") from None
    values: dict[str, Any] = {}
    while words:
        name, separator, value = words.pop(0).partition("=")
        key = name.removeprefix("--")
        if not name.startswith("--") or key not in _OPTIONS:
            options = (f"--{option}" for option in _OPTIONS)
            raise ConfigError(f"{path}: DRN has no option '{name}'; {did_you_mean(name, options)}")
        if _OPTIONS[key] is False:
            values[key] = True
            continue
        if not separator:
            if not words:
                raise ConfigError(f"{path}: the option '{name}' needs a value")
            value = words.pop(0)
        values[key] = _parse(value, key, path)
    return Source(values, {}, path, KIND, _DEFAULTS)


def _parse(value: str, key: str, path: Path) -> Any:
    if "$" in value:
        raise ConfigError(f"{path}: --{key} is '{value}', a variable of the shell; write its value")
    if value.startswith("~"):
        value = str(Path(value).expanduser())  # as the shell does
    kind = type(_DEFAULTS.get(key, ""))
    try:
        return kind(value)
    except ValueError:
        needed = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{path}: --{key} is '{value}': {needed} is needed") from None


def convert_drn(options: Source, test_set: str | None) -> Conversion:
    """Convert a command line; `test_set` is another name than `--data_test`.

    Raises:
        ConfigError: no model, or a scale, size or loss that DRN cannot have.
    """
    model, scale = options.read("model"), options.read("scale")
    if scale not in (2, 4, 8):
        raise ConfigError(f"{options.where('scale')}: --scale is {scale}; DRN enlarges 2, 4 or 8 times")
    if options.read("loss") != "1*L1":
        raise ConfigError(
            f"{options.where('loss')}: --loss is '{options.peek('loss')}'; only 1*L1 has a counterpart"
        )
    options.trains = not options.read("test_only")
    options.put("model.name", "DRN", "model")
    options.put("model.style", "original", "model")
    options.apply(_TOP)
    levels = [factor for factor in (2, 4, 8) if factor <= scale]
    generator = {"name": "DRNGenerator", "scale": levels, "train_mean_shift": True}
    options.put("model.generator", generator, "model")
    options.apply(_SIZES, "", "model.generator")
    for (name, factor), sizes in _PRESETS.items():
        if name in model and factor == scale:
            for key, size in zip(("n_blocks", "n_feats"), sizes, strict=True):
                options.put(f"model.generator.{key}", size, "model")
                options.note(key, f"--model {model} --scale {scale} sets it")
    if options.trains:
        _training(options, scale, len(levels))
    else:
        options.put("total_iters", 1)
        options.added.append("total_iters, which every config has; testing does not use it")
    # benchmarks are scored on Y and without `scale` pixels of border, others on RGB without 6 more
    name = test_set or options.peek("data_test")
    _dataset(options, "test", "SRDataset", name, scale)
    benchmark = name in _BENCHMARKS
    psnr = {"name": "PSNR", "crop_border": scale if benchmark else scale + 6, "test_y_channel": benchmark}
    options.put("validate.metrics.psnr", psnr, "data_test")
    weights = options.read("pre_train")
    if weights != ".":
        options.put("load.generator", {"path": weights}, "pre_train")
    return options.finish(_REASONS)


def _dataset(options: Source, split: str, kind: str, name: str, scale: int) -> None:
    options.read(f"data_{split}")
    hr, lq = _FOLDERS.get(name, ("HR", "LR_bicubic"))
    root = f"{options.read('data_dir')}/{'benchmark/' if name in _BENCHMARKS else ''}{name}"
    folders = {"gt_folder": f"{root}/{hr}", "lq_folder": f"{root}/{lq}/X{scale}"}
    data = {"name": kind, **folders, "filename_tmpl": f"{{}}x{scale}", "scale": scale}
    options.put(f"dataset.{split}", data, f"data_{split}")


def _training(options: Source, scale: int, duals: int) -> None:
    batch, processes = options.read("batch_size"), max(1, options.read("n_GPUs"))
    if batch % processes:
        raise ConfigError(
            f"{options.where('batch_size')}: --batch_size {batch} cannot be shared by --n_GPUs {processes}"
        )
    if processes > 1:
        options.added.append(f"batch_size is of one of {processes} GPUs: python -m paddle.distributed.launch")
    _dataset(options, "train", "PyramidDataset", options.peek("data_train"), scale)
    options.put("dataset.train.level_source", "matlab", "data_train")
    options.put("dataset.train.batch_size", batch // processes, "batch_size")
    if scale > 2:
        options.added.append("sizes between LR and HR are shrunk from HR, as the files in X2 were")
    epoch = options.read("test_every")
    total = options.read("epochs") * epoch
    options.put("total_iters", total, "epochs")
    schedule = {"name": "CosineAnnealingRestartLR", "periods": [total], "restart_weights": [1]}
    options.put("lr_scheduler", schedule, "epochs")
    options.apply(_TRAINING)
    options.added.append(f"the rate falls at every step; in DRN every {epoch}")
    nets = {"optimG": "generator", **{f"optimD{i}": f"dual_model_{i}" for i in range(duals)}}
    for name, net in nets.items():
        options.put(f"optimizer.{name}", {"name": "Adam", "net_names": [net]}, "lr")
        options.apply(_ADAM, "", f"optimizer.{name}")
    options.added.append("options that the command leaves out, with DRN's defaults")
