"""DRN's command line -> ours: `python main.py --scale 4 --model DRN-S ...` in a text file or shell script.

https://github.com/guoyongcs/DRN (BSD-3-Clause). Its options have no file of their own; a script that calls it
is the source. Options that are not given have the published defaults, which are written out.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppsr.compat.options.draft import Conversion, Draft
from ppsr.config.yaml_tree import Lines
from ppsr.errors import ConfigError, did_you_mean

__all__ = ["convert_drn", "is_drn_command", "read_drn_command"]

KIND = "command line of DRN"
_YAML = re.compile(r"^(model|model_type|dataset)\s*:", re.MULTILINE)
_CALL = re.compile(r"(?<!\S)main\.py(?=\s)|(?<=/)main\.py(?=\s)")


@dataclass(frozen=True)
class _Option:
    """Type and default of an option; a switch takes no value. None where there is no default."""

    type: type
    default: Any = None


_OPTIONS: dict[str, _Option] = {
    "n_threads": _Option(int, 6),
    "cpu": _Option(bool, False),
    "n_GPUs": _Option(int, 1),
    "seed": _Option(int, 1),
    "data_dir": _Option(str, "data_path"),
    "data_train": _Option(str, "DF2K"),
    "data_test": _Option(str, "Set5"),
    "data_range": _Option(str),
    "scale": _Option(int, 4),
    "patch_size": _Option(int, 384),
    "rgb_range": _Option(int, 255),
    "n_colors": _Option(int, 3),
    "no_augment": _Option(bool, False),
    "model": _Option(str),
    "pre_train": _Option(str, "."),
    "pre_train_dual": _Option(str, "."),
    "n_blocks": _Option(int, 30),
    "n_feats": _Option(int, 16),
    "negval": _Option(float, 0.2),
    "test_every": _Option(int, 1000),
    "epochs": _Option(int, 1000),
    "batch_size": _Option(int, 32),
    "self_ensemble": _Option(bool, False),
    "test_only": _Option(bool, False),
    "lr": _Option(float, 1e-4),
    "eta_min": _Option(float, 1e-7),
    "beta1": _Option(float, 0.9),
    "beta2": _Option(float, 0.999),
    "epsilon": _Option(float, 1e-8),
    "weight_decay": _Option(float, 0.0),
    "loss": _Option(str, "1*L1"),
    "skip_threshold": _Option(float),
    "dual_weight": _Option(float, 0.1),
    "save": _Option(str, "./experiment/test/"),
    "print_every": _Option(int, 100),
    "save_results": _Option(bool, False),
}

# Blocks and width that the model's name sets, whatever the options say.
_PRESETS = {("DRN-S", 4): (30, 16), ("DRN-S", 8): (30, 8), ("DRN-L", 4): (40, 20), ("DRN-L", 8): (36, 10)}
_BENCHMARKS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
_FOLDERS = {"DF2K": ("DF2K_HR", "DF2K_LR_bicubic")}  # of all other sets: HR and LR_bicubic

_REASONS = {
    "cpu": "--device cpu",
    "self_ensemble": "the published code parses it and never uses it; ppsr upscale --self-ensemble",
    "data_range": "the published data sets never read it",
    "skip_threshold": "a step is skipped where its loss or gradient is not finite",
    "pre_train_dual": "a list of networks; a file of this project holds generator and duals together",
    "n_threads": "testing reads picture by picture",
}


def is_drn_command(content: str) -> bool:
    """Whether a text calls DRN's main.py, or is nothing but options."""
    body = _without_comments(content)
    return (bool(_CALL.search(body)) or body.startswith("--")) and not _YAML.search(body)


def _without_comments(content: str) -> str:
    lines = [line for line in content.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").strip()


def read_drn_command(content: str, path: Path) -> tuple[dict[str, Any], Lines]:
    """Options of the only call in a text, and their places.

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
        if _OPTIONS[key].type is bool:
            values[key] = True
            continue
        if not separator:
            if not words:
                raise ConfigError(f"{path}: the option '{name}' needs a value")
            value = words.pop(0)
        values[key] = _parse(value, key, path)
    lines = content.splitlines()
    return values, {(key,): f"{path}:{_line(lines, f'--{key}')}" for key in values}


def _line(lines: list[str], option: str) -> int:
    return next((i for i, line in enumerate(lines, 1) if re.search(rf"{option}(?![\w-])", line)), 1)


def _parse(value: str, key: str, path: Path) -> Any:
    if "$" in value:
        raise ConfigError(f"{path}: --{key} is '{value}', a variable of the shell; write its value")
    if value.startswith("~"):
        value = str(Path(value).expanduser())  # as the shell does
    try:
        return _OPTIONS[key].type(value)
    except ValueError:
        kind = "a whole number" if _OPTIONS[key].type is int else "a number"
        raise ConfigError(f"{path}: --{key} is '{value}': {kind} is needed") from None


class _Reader:
    """Reads options with the published defaults."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def __call__(self, key: str) -> Any:
        return self.draft.read(key, default=_OPTIONS[key].default)


def convert_drn(draft: Draft, test_set: str | None) -> Conversion:
    """Convert a command line.

    Args:
        draft: its options.
        test_set: another name than `--data_test`.

    Raises:
        ConfigError: no model, or a scale, size or loss that DRN cannot have.
    """
    read = _Reader(draft)
    model, scale = draft.read("model"), read("scale")
    if scale not in (2, 4, 8):
        raise ConfigError(f"{draft.where('scale')}: --scale is {scale}; DRN enlarges 2, 4 or 8 times")
    draft.trains = not read("test_only")
    levels = [factor for factor in (2, 4, 8) if factor <= scale]
    _model(draft, read, model, scale, levels)
    draft.put("output_dir", read("save"), "save")
    draft.put("seed", read("seed"), "seed")
    if draft.trains:
        _training(draft, read, scale, len(levels))
    else:
        draft.put("total_iters", 1)
        draft.added.append("total_iters, which every config has; testing does not use it")
    _testing(draft, read, scale, test_set)
    if read("pre_train") != ".":
        draft.put("load.generator", {"path": read("pre_train")}, "pre_train")
    if draft.trains:
        draft.added.append("options that the command leaves out, with DRN's defaults")
    return draft.finish(_REASONS)


def _model(draft: Draft, read: _Reader, model: str, scale: int, levels: list[int]) -> None:
    blocks, feats = read("n_blocks"), read("n_feats")
    preset = next((v for (name, s), v in _PRESETS.items() if name in model and s == scale), None)
    if preset is not None:
        blocks, feats = preset
        for key in ("n_blocks", "n_feats"):
            draft.explain(key, f"--model {model} --scale {scale} sets it")
    draft.put("model.name", "DRN", "model")
    generator = {
        "name": "DRNGenerator",
        "scale": levels,
        "n_blocks": blocks,
        "n_feats": feats,
        "n_colors": read("n_colors"),
        "rgb_range": read("rgb_range"),
        "negval": read("negval"),
        "train_mean_shift": True,
    }
    draft.put("model.generator", generator, "model")
    draft.put("model.style", "original", "model")
    draft.put("model.dual_loss_weight", read("dual_weight"), "dual_weight")
    if read("loss") != "1*L1":
        raise ConfigError(
            f"{draft.where('loss')}: --loss is '{draft.peek('loss')}'; only 1*L1 has a counterpart"
        )


def _training(draft: Draft, read: _Reader, scale: int, duals: int) -> None:
    batch, processes = read("batch_size"), read("n_GPUs")
    if batch % max(1, processes):
        raise ConfigError(
            f"{draft.where('batch_size')}: --batch_size {batch} cannot be shared by --n_GPUs {processes}"
        )
    if processes > 1:
        draft.added.append(f"batch_size is of one of {processes} GPUs: python -m paddle.distributed.launch")
    epoch = read("test_every")
    total = read("epochs") * epoch
    augment = not read("no_augment")
    hr, lq = _folders(read("data_dir"), read("data_train"), scale)
    train = {
        "name": "PyramidDataset",
        "gt_folder": hr,
        "lq_folder": lq,
        "filename_tmpl": f"{{}}x{scale}",
        "scale": scale,
        "gt_size": read("patch_size"),
        "level_source": "matlab",
        "use_hflip": augment,
        "use_rot": augment,
        "batch_size": batch // max(1, processes),
        "num_workers": read("n_threads"),
    }
    draft.put("total_iters", total, "epochs")
    draft.put("dataset.train", train, "data_train")
    if scale > 2:
        draft.added.append("sizes between LR and HR are shrunk from HR, as the files in X2 were")
    schedule = {"periods": [total], "restart_weights": [1], "eta_min": read("eta_min")}
    draft.put(
        "lr_scheduler", {"name": "CosineAnnealingRestartLR", "learning_rate": read("lr"), **schedule}, "lr"
    )
    draft.added.append(f"the rate falls at every step; in DRN every {epoch}")
    options: dict[str, Any] = {"beta1": read("beta1"), "beta2": read("beta2")}
    for key, neutral in (("epsilon", 1e-8), ("weight_decay", 0)):
        if read(key) != neutral:
            options[key] = read(key)
    nets = {"optimG": "generator", **{f"optimD{i}": f"dual_model_{i}" for i in range(duals)}}
    for name, net in nets.items():
        draft.put(f"optimizer.{name}", {"name": "Adam", "net_names": [net], **options}, "lr")
    draft.put("validate.interval", epoch, "test_every")
    draft.put("log_config.interval", read("print_every"), "print_every")
    draft.put("snapshot_config.interval", epoch, "test_every")


def _folders(root: str, name: str, scale: int) -> tuple[str, str]:
    hr, lq = _FOLDERS.get(name, ("HR", "LR_bicubic"))
    inner = f"benchmark/{name}" if name in _BENCHMARKS else name
    return f"{root}/{inner}/{hr}", f"{root}/{inner}/{lq}/X{scale}"


def _testing(draft: Draft, read: _Reader, scale: int, test_set: str | None) -> None:
    """Benchmarks are scored on Y and without `scale` pixels of border, others on RGB without 6 more."""
    name = test_set or read("data_test")
    read("data_test")
    hr, lq = _folders(read("data_dir"), name, scale)
    test = {
        "name": "SRDataset",
        "gt_folder": hr,
        "lq_folder": lq,
        "filename_tmpl": f"{{}}x{scale}",
        "scale": scale,
    }
    draft.put("dataset.test", test, "data_test")
    benchmark = name in _BENCHMARKS
    psnr = {"name": "PSNR", "crop_border": scale if benchmark else scale + 6, "test_y_channel": benchmark}
    draft.put("validate.save_img", read("save_results"), "save_results")
    draft.put("validate.metrics.psnr", psnr, "data_test")
