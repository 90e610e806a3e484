"""`tools/main.py`: training and evaluation from a config file, with PaddleGAN's flags."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppsr.cli.flags import add_overrides, ended, exit_on_signals
from ppsr.errors import ConfigError
from ppsr.files import atomic_write

if TYPE_CHECKING:
    from ppsr.config.loader import Config
    from ppsr.config.schema import Experiment
    from ppsr.engine.distributed import Group
    from ppsr.models.base import BaseModel

__all__ = ["main"]

logger = logging.getLogger("ppsr.main")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """PaddleGAN's flags, and --device, --dry-run, --load-partial."""
    parser = argparse.ArgumentParser(description="Train or evaluate from a config file.")
    parser.add_argument("-c", "--config-file", required=True, metavar="FILE", help="YAML configuration")
    add_overrides(parser)
    parser.add_argument(
        "--resume", metavar="RUN", help="a run's or checkpoint's folder, or 'auto' for the newest"
    )
    parser.add_argument("--load", metavar="FILE", help="weights to start from or to evaluate")
    parser.add_argument(
        "--load-partial",
        nargs="*",
        metavar="REGEX",
        help="accept weights that fit in part: at least half of them, or all but keys that match",
    )
    parser.add_argument("--evaluate-only", action="store_true", help="score dataset.test and stop")
    parser.add_argument(
        "--sync-checkpoints",
        action="store_true",
        help="wait for each checkpoint instead of writing it in a thread",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="build all, do one step, print sizes and times"
    )
    parser.add_argument("--seed", type=int, help="overrides the config's seed; 0 is a seed like any other")
    parser.add_argument("--amp", action="store_true", help="mixed precision (no effect on CPU)")
    parser.add_argument("--amp_level", choices=["O1", "O2"], default="O1")
    parser.add_argument("--device", help="cpu, gpu, gpu:1, xpu, ...; default: gpu where Paddle has one")
    parser.add_argument("--no-cuda", action="store_true", help="the same as --device cpu")
    parser.add_argument(
        "-p", "--profiler_options", metavar="KEY=VALUE;...", help="e.g. 'batch_range=[10,20]'"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = parse_arguments(argv)
    with exit_on_signals():
        return ended(partial(_run, arguments))


def _overrides(arguments: argparse.Namespace) -> list[str]:
    """Flags that stand for config keys come last, so that they win."""
    overrides = list(arguments.opt)
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    if arguments.amp:
        overrides += ["precision.amp=true", f"precision.level={arguments.amp_level}"]
    if arguments.sync_checkpoints:
        overrides.append("snapshot_config.sync=true")
    return overrides


def _run(arguments: argparse.Namespace) -> int:
    from ppsr import accelerate
    from ppsr.config import check_config, load_config

    config = load_config(arguments.config_file, _overrides(arguments), imports=arguments.imports)
    accelerate.enable()
    import paddle

    from ppsr.engine.distributed import start_distributed
    from ppsr.inference.backends.exported import default_device
    from ppsr.registry import build_model

    experiment = check_config(config)
    group = start_distributed("cpu" if arguments.no_cuda else arguments.device or default_device())
    paddle.seed(experiment.seed)
    model = build_model(config["model"])
    _load_stages(model, experiment)
    if arguments.load:
        # [] is the flag alone
        partial = False if arguments.load_partial is None else arguments.load_partial or True
        _load(model, arguments.load, partial=partial)
    elif arguments.load_partial is not None:
        raise ConfigError("--load-partial is about the file of --load; give both, or load.<net>.partial")
    if arguments.evaluate_only:
        if not (arguments.load or experiment.load):
            logger.warning("no --load and no load section: these are the scores of random weights")
        return _evaluate(config, experiment, model, group)
    if arguments.dry_run:
        from ppsr.engine.dry_run import dry_run

        return dry_run(config, experiment, model, group)
    return _train(arguments, config, experiment, model, group)


def _load_stages(model: BaseModel, experiment: Experiment) -> None:
    """Weights that the config's `load` section names for single networks."""
    from ppsr.engine.stages import load_stages

    load_stages(model, experiment.load)


def _load(model: BaseModel, path: str, *, partial: bool | Sequence[str]) -> None:
    from ppsr.engine.stages import load_model

    for line in load_model(model, path, partial=partial):
        logger.warning("not loaded: %s", line)


def _common_folder(group: Group, config: Config, experiment: Experiment) -> Path:
    """A new folder, made by rank 0 and known to all."""
    from ppsr.engine.run import new_run_folder

    made = str(new_run_folder(config, experiment)) if group.is_main else ""
    return Path(group.gather(made)[0])


def _evaluate(config: Config, experiment: Experiment, model: BaseModel, group: Group) -> int:
    from ppsr.engine.loggers import setup_logging
    from ppsr.engine.validation import Validator
    from ppsr.evaluation.report import set_to_json

    if experiment.dataset.test is None:
        raise ConfigError(f"{config.path}: --evaluate-only needs the section 'dataset.test'")
    validator = Validator(experiment)
    folder = _common_folder(group, config, experiment)
    setup_logging(folder, group.rank)
    scores = validator.score(model.inference_net(), group, save_folder=folder / "visual_test")
    if group.is_main:
        for name, value in validator.means(scores).items():
            logger.info("Metric %s: %.4f", name, value)
        report = {name: set_to_json(score) for name, score in scores.items()}
        text = json.dumps(report.get("", {"sets": report}), indent=1, allow_nan=False)
        atomic_write(folder / "metrics.json", text)
        logger.info("results in %s", folder)
    codes = {score.exit_code for score in scores.values()}
    return codes.pop() if len(codes) == 1 else 1


def _train(
    arguments: argparse.Namespace, config: Config, experiment: Experiment, model: BaseModel, group: Group
) -> int:
    from ppsr.engine.loggers import setup_logging
    from ppsr.engine.run import find_run, hold_run, named_checkpoint
    from ppsr.engine.trainer import Trainer

    found = find_run(config, experiment, arguments.resume) if arguments.resume else None
    folder = found or _common_folder(group, config, experiment)
    with hold_run(folder, new=found is None) if group.is_main else nullcontext():
        setup_logging(folder, group.rank)
        options = arguments.profiler_options
        trainer = Trainer(config, experiment, model, group, folder, profiler_options=options)
        if found is not None and not trainer.resume(named_checkpoint(arguments.resume)):
            logger.warning("%s holds no valid checkpoint; starting from the beginning", found)
        return trainer.train()
