"""The training loop: it names no algorithm, keeps one counter, and can be killed at any moment."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ppsr.config.loader import Config
from ppsr.config.schema import Experiment
from ppsr.degradations.pool import TrainingPairPool
from ppsr.engine.checkpoint import CheckpointError, CheckpointStore
from ppsr.engine.distributed import Group
from ppsr.engine.evaluator import validate
from ppsr.engine.loader import build_dataset, build_stream
from ppsr.engine.loggers import ScalarLog, StepClock, reported
from ppsr.engine.profiling import StepProfiler
from ppsr.engine.run import CHECKPOINTS
from ppsr.engine.signals import StopRequest
from ppsr.engine.state import State
from ppsr.engine.step import TrainStep
from ppsr.engine.visuals import save_visuals
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.io import write_image
from ppsr.models.base import BaseModel, Batch
from ppsr.registry import LRSCHEDULERS, METRICS
from ppsr.solver.ema import EMA
from ppsr.solver.optimizers import build_optimizers
from ppsr.weights import write_state

__all__ = ["Trainer", "build_metrics"]

logger = logging.getLogger(__name__)


def build_metrics(experiment: Experiment) -> dict[str, Any]:
    """The metrics of the `validate` section by their names."""
    return {name: METRICS.build(cfg) for name, cfg in experiment.validate_.metrics.items()}


def _write_if_possible(path: Path, picture: np.ndarray) -> None:
    with reported(f"picture {path.name}"):
        write_image(path, picture)


class Trainer:
    """Everything that one run holds.

    Args:
        config: the configuration, already checked.
        experiment: its typed sections.
        model: the algorithm, with weights of earlier stages loaded.
        group: the processes that train together.
        folder: the run's folder.
        profiler_options: see `StepProfiler`; None for no profiler.
    """

    def __init__(
        self,
        config: Config,
        experiment: Experiment,
        model: BaseModel,
        group: Group,
        folder: Path,
        *,
        profiler_options: str | None = None,
    ) -> None:
        if experiment.optimizer is None or experiment.lr_scheduler is None:
            raise ConfigError(f"{config.path}: training needs the sections 'optimizer' and 'lr_scheduler'")
        if experiment.dataset.train is None:
            raise ConfigError(f"{config.path}: training needs the section 'dataset.train'")
        self.experiment = experiment
        self.group = group
        self.folder = folder
        self.dataset, self.loading = build_dataset(experiment.dataset.train, seed=experiment.seed)
        self._check_scale(model)
        self.total = self._total_steps()
        group.broadcast(model.nets.values())
        ema = self._build_ema(model)
        step = TrainStep(
            model=model,
            optimizers=build_optimizers(experiment.optimizer, model.nets),
            schedule=LRSCHEDULERS.build(experiment.lr_scheduler),
            options=experiment.step,
            precision=experiment.precision,
            group=group,
            ema=ema,
        )
        self.state = State(
            model=model, trainer=step, seed=experiment.seed, rank=group.rank, world=group.world
        )
        if self.loading.queue_size:
            self.state.pool = TrainingPairPool(
                self.loading.queue_size,
                seed=experiment.seed + group.rank,
                queue_params=self.loading.queue_params,
            )
        self.store = CheckpointStore(folder / CHECKPOINTS, keep=experiment.snapshot_config.keep)
        self.metrics = build_metrics(experiment)
        self.profiler = StepProfiler(profiler_options, folder)
        self.saves_failed = 0
        self.saves_done = 0
        self.best_step: int | None = None  # where this process found the best score

    def _check_scale(self, model: BaseModel) -> None:
        enlarged = getattr(model.inference_net(), "scale", None)
        scale = getattr(self.dataset, "scale", None)
        if None not in (scale, enlarged) and scale != enlarged:
            raise ConfigError(
                f"dataset.train.scale is {scale}, but the generator enlarges {enlarged} times; "
                "give both the same scale"
            )

    def _build_ema(self, model: BaseModel) -> EMA | None:
        options = self.experiment.ema
        if options is None:
            return None
        ema = EMA(model.nets, decay=options.decay, net_names=options.net_names)
        model.ema = ema.nets
        return ema

    def _total_steps(self) -> int:
        """Length of the run in optimizer steps."""
        if self.experiment.epochs is None:
            return int(self.experiment.total_iters or 0)
        # epochs follow each other within a batch, so only the last one may end early
        return max(1, self.experiment.epochs * len(self.dataset) // self._samples_per_step)

    def resume(self, checkpoint: Path | None = None) -> bool:
        """Go on from a checkpoint of the run's folder, by default the newest valid one; False when there is
        none.

        Raises:
            DataError: the named checkpoint is damaged.
        """
        found = checkpoint or self.store.latest()
        if found is None:
            return False
        try:
            files, _ = self.store.load(found)
        except CheckpointError as error:
            raise DataError(f"{error}; name the run instead to go on from its newest valid one") from None
        self.state.restore(files)
        logger.info("resumed from %s at step %d", found, self.state.step)
        return True

    def train(self) -> int:
        """Run to the end.

        Returns:
            Exit code: 0 finished, 1 finished but no checkpoint could be written, 128 + signal when stopped.
        """
        logger.info("%d steps, %d samples, %d process(es)", self.total, len(self.dataset), self.group.world)
        stream = build_stream(
            self.dataset,
            self.loading,
            self.group,
            seed=self.experiment.seed,
            samples_done=self.state.samples,
        )
        visualdl = self.experiment.enable_visualdl
        log = ScalarLog(self.folder, visualdl=visualdl) if self.group.is_main else None
        with nullcontext() if log is None else closing(log):
            code = self._loop(stream, log)
            if code:
                return code
            self._finish(log)
        return 1 if self.saves_failed and not self.saves_done else 0

    def _loop(self, stream: Iterator[Batch], log: ScalarLog | None) -> int:
        """All steps; returns 0, or the exit code of a signal that stopped them."""
        state, accumulate = self.state, self.experiment.step.accumulate
        clock = StepClock(self.total)
        bar = tqdm(
            total=self.total, initial=state.step, disable=None if self.group.is_main else True, unit="step"
        )
        with closing(bar), closing(self.profiler), StopRequest() as stop:
            while state.step < self.total:
                started = time.perf_counter()
                batches = [self._next(stream) for _ in range(accumulate)]
                clock.tick(time.perf_counter() - started)
                losses = state.trainer.run(batches, state.step, state.seed)
                state.step += 1
                state.samples += self._samples_per_step
                bar.update()
                self._after_step(losses, batches, clock, log)
                if self.profiler.step():
                    break
                if self._stop_requested(stop):
                    self.save()
                    logger.warning(
                        "stopped by signal %d after step %d; resume with --resume auto",
                        stop.signal,
                        state.step,
                    )
                    return stop.exit_code
        return 0

    @property
    def _samples_per_step(self) -> int:
        """Samples that all ranks together take in a step."""
        return self.loading.batch_size * self.experiment.step.accumulate * self.group.world

    def _next(self, stream: Iterator[Batch]) -> Batch:
        batch = next(stream)
        return batch if self.state.pool is None else self.state.pool(batch)

    def _stop_requested(self, stop: StopRequest) -> bool:
        """Common decision of all ranks; a request on one stops all after the same step."""
        code = self.group.maximum(float(stop.signal or 0))
        if self.group.any(stop.save):
            stop.save = False
            self.save()
        if code:
            stop.signal = int(code)
        return bool(code)

    def _after_step(
        self, losses: dict[str, float], batches: list[Batch], clock: StepClock, log: ScalarLog | None
    ) -> None:
        step, options = self.state.step, self.experiment
        if step % options.log_config.interval == 0 or step == self.total:
            self._log(losses, clock, log)
        visual = options.log_config.visual_interval
        if visual and step % visual == 0 and self.group.is_main:
            with reported(f"picture of step {step}"):
                save_visuals(self.folder / "visual_train", step, batches[0], options.image_num)
        if options.validate_.interval > 0 and step % options.validate_.interval == 0:
            self.validate(log)
        if step % options.snapshot_config.interval == 0 or step == self.total:
            self.save()

    def _log(self, losses: dict[str, float], clock: StepClock, log: ScalarLog | None) -> None:
        step = self.state.step
        rate = self.state.trainer.schedule(step - 1)
        shown = " ".join(
            f"{name}: {value:.3f}" if value >= 0.1 else f"{name}: {value:.3e}"
            for name, value in losses.items()
        )
        logger.info(
            "Iter: %d/%d lr: %.3e %s %s",
            step,
            self.total,
            rate,
            shown,
            clock.report(step, self._samples_per_step),
        )
        if log is not None:
            log.write(step, {"lr": rate, "skipped": self.state.trainer.skipped, **losses})

    def validate(self, log: ScalarLog | None = None) -> dict[str, float]:
        """Score the test set with the averaged networks, and keep the best checkpoint."""
        options = self.experiment
        if options.dataset.test is None:
            return {}
        dataset, _ = build_dataset(options.dataset.test)
        folder = self.folder / "visual_test" if options.validate_.save_img else None
        net = self.state.model.inference_net()
        with self.state.trainer.inference():
            scores = validate(
                net, dataset, self.metrics, self.group, save_folder=folder, write=_write_if_possible
            ).means
        for name, value in scores.items():
            logger.info("Metric %s: %.4f", name, value)
        if log is not None and scores:
            log.write(self.state.step, scores, "validate")
        self._keep_best(scores)
        return scores

    def _keep_best(self, scores: dict[str, float]) -> None:
        if not scores:
            return
        first = next(iter(scores))
        value = scores[first] if getattr(self.metrics[first], "higher_is_better", True) else -scores[first]
        if math.isfinite(value) and (self.state.best is None or value > self.state.best):
            self.state.best, self.best_step = value, self.state.step
            if self.group.is_main:
                with reported(f"best weights of step {self.state.step}"):
                    write_state(
                        self.folder / "best_weight.pdparams",
                        self.state.weights(),
                        networks=self.state.networks(),
                    )

    def save(self) -> None:
        """Write a checkpoint and the weights; a full disk is reported and does not end the run."""
        pools = self.group.gather(self.state.pool_bytes()) if self.state.pool is not None else []
        if not self.group.is_main:
            return
        files = self.state.files()
        files.update({self.state.pool_name(rank): content for rank, content in enumerate(pools)})
        try:
            best = self.best_step == self.state.step
            self.store.save(self.state.step, files, {"total": self.total}, best=best)
            name = f"iter_{self.state.step}_weight.pdparams"
            write_state(self.folder / name, self.state.weights(), networks=self.state.networks())
            self._drop_old_weights()
            self.saves_done += 1
        except (CheckpointError, OSError) as error:
            self.saves_failed += 1
            logger.error("checkpoint of step %d not written, training goes on: %s", self.state.step, error)

    def _drop_old_weights(self) -> None:
        """Keep as many weight files as checkpoints, those that were written last."""
        files = sorted(self.folder.glob("iter_*_weight.pdparams"), key=lambda p: p.stat().st_mtime_ns)
        for old in files[: -self.experiment.snapshot_config.keep]:
            old.unlink()

    def _finish(self, log: ScalarLog | None) -> None:
        interval = self.experiment.validate_.interval
        if interval > 0 and self.total % interval:
            self.validate(log)
        logger.info(
            "finished %d steps, %d skipped; results in %s",
            self.state.step,
            self.state.trainer.skipped,
            self.folder,
        )
