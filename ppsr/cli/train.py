"""`ppsr train` and `tools/main.py`: training and evaluation from a config file, with PaddleGAN's flags."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppsr.cli.flags import ConfigFile, Imports, Overrides, exit_on_signals, run_alone
from ppsr.errors import ConfigError
from ppsr.files import atomic_write

if TYPE_CHECKING:
    from ppsr.config.loader import Config
    from ppsr.config.schema import Experiment
    from ppsr.engine.distributed import Group
    from ppsr.models.base import BaseModel

logger = logging.getLogger("ppsr.main")


class AmpLevel(str, Enum):
    """Levels of mixed precision."""

    O1 = "O1"
    O2 = "O2"


def train(
    config_file: ConfigFile,
    opt: Overrides = [],
    imports: Imports = [],
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Run or checkpoint folder to resume from; auto: the newest run."),
    ] = None,
    load: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights to start from or to evaluate.")
    ] = None,
    load_partial: Annotated[
        list[str],
        typer.Option(
            metavar="[REGEX ...]",
            help="Accept weights if at least half of them fit, or if all keys fit that do not match REGEX.",
        ),
    ] = [],
    evaluate_only: Annotated[
        bool, typer.Option("--evaluate-only", help="Score dataset.test and exit.")
    ] = False,
    sync_checkpoints: Annotated[
        bool,
        typer.Option("--sync-checkpoints", help="Write checkpoints synchronously instead of in a thread."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything, run one step and print sizes and times.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Random seed; overrides the config.")] = None,
    amp: Annotated[bool, typer.Option("--amp", help="Use mixed precision; no effect on CPU.")] = False,
    amp_level: Annotated[AmpLevel, typer.Option("--amp_level", help="Mixed-precision level.")] = AmpLevel.O1,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, gpu, gpu:N, xpu, ...; default: gpu if Paddle supports it and finds one."),
    ] = None,
    no_cuda: Annotated[bool, typer.Option("--no-cuda", help="Same as --device cpu.")] = False,
    profiler_options: Annotated[
        str | None,
        typer.Option(
            "-p",
            "--profiler_options",
            metavar="KEY=VALUE;...",
            help="Profiler options, such as batch_range=[10,20].",
        ),
    ] = None,
) -> None:
    """Train or evaluate a model from a config file, with PaddleGAN's flags."""
    if evaluate_only and (resume is not None or dry_run or profiler_options is not None):
        raise ConfigError(
            "--evaluate-only scores weights, those of a run by --load RUN; --resume, --dry-run and -p are of "
            "training"
        )
    overrides = list(opt)  # flags that stand for config keys come last, so that they win
    overrides += [f"seed={seed}"] if seed is not None else []
    overrides += ["precision.amp=true", f"precision.level={amp_level.value}"] if amp else []
    overrides += ["snapshot_config.sync=true"] if sync_checkpoints else []
    if threading.current_thread() is threading.main_thread():
        # until the trainer handles it there is nothing to save; the imports below take seconds
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    from ppsr import accelerate
    from ppsr.config import check_config, load_config

    config = load_config(config_file, overrides, imports=imports)
    accelerate.enable()
    with exit_on_signals():  # the imports take seconds
        import paddle

        from ppsr.engine.distributed import start_distributed
        from ppsr.logs import setup_logging
        from ppsr.memory import default_device

        experiment = check_config(config)
        group = start_distributed("cpu" if no_cuda else device or default_device())
        paddle.seed(experiment.seed)
        setup_logging(None, group.rank)  # a run adds its folder
        model = _build_model(config, experiment, load, load_partial, evaluate_only)
        if evaluate_only:
            code = _evaluate(config, experiment, model, group)
        elif dry_run:
            from ppsr.engine.dry_run import dry_run as run_dry

            code = run_dry(config, experiment, model, group)
        else:
            code = _train(config, experiment, model, group, resume, load, profiler_options)
    if group.world > 1:
        _leave(code)
    raise typer.Exit(code)


def _leave(code: int) -> None:
    """End a rank without the interpreter's own end, in which Paddle's threads sometimes abort the process."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """`tools/main.py`; returns the exit code."""
    return run_alone(train, argv)


def _build_model(
    config: Config, experiment: Experiment, load: str | None, load_partial: list[str], evaluate_only: bool
) -> BaseModel:
    """The model of a config with the weights to start from or to evaluate."""
    from ppsr.config.schema import Load
    from ppsr.engine.stages import load_stages
    from ppsr.registry import build_model

    model = build_model(config["model"])
    stages = experiment.load
    if load is not None:
        patterns = [pattern for pattern in load_partial if pattern]  # the flag alone is ""
        stages = {**stages, "": Load(path=load, partial=patterns or bool(load_partial))}
    elif load_partial:
        raise ConfigError(
            "--load-partial needs --load; for the load section of a config set load.<net>.partial"
        )
    load_stages(model, stages, train=not evaluate_only)
    if evaluate_only and not stages:
        logger.warning("no --load and no load section: scoring random weights")
    return model


def _common_folder(group: Group, config: Config, experiment: Experiment) -> Path:
    """A new folder, made by rank 0 and known to all."""
    from ppsr.engine.run import new_run_folder

    made = str(new_run_folder(config, experiment)) if group.is_main else ""
    return Path(group.gather(made)[0])


def _evaluate(config: Config, experiment: Experiment, model: BaseModel, group: Group) -> int:
    from ppsr.engine.validation import Validator
    from ppsr.evaluation.report import set_to_json
    from ppsr.logs import setup_logging

    if experiment.dataset.test is None:
        raise ConfigError(f"{config.path}: --evaluate-only needs the section 'dataset.test'")
    if not experiment.validate_.metrics and not experiment.validate_.save_img:
        raise ConfigError(
            f"{config.path}: validate.metrics names no metric to score with; add one, such as "
            "-o 'validate.metrics={psnr: {name: PSNR, crop_border: 4, test_y_channel: true}}'"
        )
    validator = Validator(experiment)
    folder = _common_folder(group, config, experiment)
    setup_logging(folder, group.rank)
    scores = validator.score(model.inference_net(), group, save_folder=folder / "visual_test")
    if group.is_main:
        for name, value in validator.means(scores).items():
            logger.info("Metric %s: %.4f", name, value)
        sets = {name: set_to_json(score) for name, score in scores.items()}
        report = {"tile": experiment.validate_.tile, **sets.get("", {"sets": sets})}
        atomic_write(folder / "metrics.json", json.dumps(report, indent=1, allow_nan=False))
        logger.info("results in %s", folder)
    if experiment.validate_.metrics and not validator.means(scores):
        logger.warning("no score: the images have no ground truth or all have failed")
        return 3
    codes = {score.exit_code for score in scores.values()}
    return codes.pop() if len(codes) == 1 else 1


def _train(
    config: Config,
    experiment: Experiment,
    model: BaseModel,
    group: Group,
    resume: str | None,
    load: str | None,
    profiler_options: str | None,
) -> int:
    from ppsr.engine.run import find_run, lock_run, log_changes, named_checkpoint
    from ppsr.engine.trainer import Trainer
    from ppsr.logs import setup_logging

    found = find_run(config, experiment, resume) if resume is not None else None
    folder = found or _common_folder(group, config, experiment)
    with lock_run(folder, new=found is None) if group.is_main else nullcontext():
        setup_logging(folder, group.rank)
        trainer = Trainer(config, experiment, model, group, folder, profiler_options=profiler_options)
        wanted = named_checkpoint(resume) if resume else None
        resumed = found is not None and trainer.resume(wanted)
        if resumed:
            log_changes(folder, config)
        elif found is not None:
            logger.warning("%s holds no valid checkpoint; starting from scratch", found)
        elif found is None and resume:
            logger.info("starting a new run: no checkpoint of %s in %s", config.stem, experiment.output_dir)
        if resume and load:
            what = f"--load is not used, {found} is resumed" if resumed else f"starting from {load}"
            logger.info("--resume with --load: %s", what)
        return trainer.train()
