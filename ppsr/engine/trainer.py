"""The training loop: it names no algorithm, keeps one counter, and can be killed at any moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ppsr.config.loader import Config
from ppsr.config.schema import Experiment
from ppsr.engine.checkpoint import CheckpointError
from ppsr.engine.distributed import Group, check_equal_ranks, rank_settings
from ppsr.engine.loader import build_dataset, build_stream, check_samples, fit_channels
from ppsr.engine.loggers import ScalarLog, StepClock, log_errors, log_step, save_visuals
from ppsr.engine.profiling import StepProfiler
from ppsr.engine.run import check_apart
from ppsr.engine.saver import Saver
from ppsr.engine.signals import Stopped, StopRequest
from ppsr.engine.state import build_state
from ppsr.engine.validation import Validator
from ppsr.errors import ConfigError, DataError, PpsrError, first_line
from ppsr.imaging.io import write_image
from ppsr.memory import is_out_of_memory
from ppsr.models.base import BaseModel, Batch
from ppsr.solver.schedules import Schedule

__all__ = ["OutOfMemoryError", "Trainer"]

logger = logging.getLogger(__name__)


class Trainer:
    """Everything that one run needs, built and checked before its first step.

    Args:
        model: the algorithm, with weights of earlier stages loaded.

    Raises:
        ConfigError: a section is missing, or does not fit another.
        DataError: images of the training set or a validation set are missing or do not fit.
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
        if experiment.validate_.save_img or experiment.log_config.visual_interval:
            check_apart(folder, experiment.dataset.train, "dataset.train")
        self.dataset, self.loading = build_dataset(
            experiment.dataset.train, "dataset.train", seed=experiment.seed
        )
        scale = getattr(model.inference_net(), "scale", None)
        _check_scale(getattr(self.dataset, "scale", None), scale)
        fit_channels(self.dataset, model.nets["generator"], "dataset.train")
        check_samples(self.dataset, "dataset.train")
        self.validator: Validator | None = None
        _warn_without_validation(experiment)
        if experiment.validate_.interval > 0 and experiment.dataset.test is not None:
            self.validator = Validator(experiment)
            for test in self.validator.sets:
                fit_channels(test.dataset, model.nets["generator"], test.key)
            self.validator.check(scale)
        self.samples_per_step = self.loading.batch_size * experiment.step.accumulate * group.world
        self.total = experiment.total_iters or 0
        if experiment.epochs is not None:  # epochs follow each other within a batch: only the last ends early
            self.total = max(1, experiment.epochs * len(self.dataset) // self.samples_per_step)
        check_equal_ranks(group, rank_settings(config, self.dataset, model.nets))
        self.state = build_state(experiment, model, group, self.loading)
        _warn_of_ended_schedules(self.state.train_step.schedules, self.total)
        snapshots = experiment.snapshot_config
        self.saver = Saver(folder, keep=snapshots.keep, total=self.total, background=not snapshots.sync)
        self.saved_step: int | None = None  # whose checkpoint this process has handed over
        self.validated_step: int | None = None
        self.profiler = StepProfiler(profiler_options, folder)
        self.scalars: ScalarLog | None = None  # of the main process, while it trains

    def resume(self, checkpoint: Path | None = None) -> bool:
        """Resume from a checkpoint of the run's folder, by default the newest valid one; False when there is
        none.

        Raises:
            DataError: the named checkpoint is damaged.
        """
        store, state = self.saver.store, self.state
        found = checkpoint or store.latest()
        if found is None:
            return False
        try:
            files, _ = store.load(found)
        except CheckpointError as error:
            raise DataError(f"{error}; name the run instead to resume from its newest valid one") from None
        state.restore(files)
        self.saved_step = state.step
        recorded = store.recorded()
        if recorded.get("validated") == state.step:
            self.validated_step = state.step
        basis = None if self.validator is None else self.validator.basis
        if basis is not None and (recorded.get("basis") or basis) != basis:
            logger.warning("the first metric or validation set has changed: the best step is chosen anew")
            state.best = state.best_step = None
        elif isinstance(recorded.get("step"), int) and recorded["step"] <= state.step:
            state.best_step, state.best = recorded["step"], recorded["value"]
        logger.info("resumed from %s at step %d", found, state.step)
        return True

    def train(self) -> int:
        """Run to the end.

        Returns:
            Exit code: 0 finished, 1 finished but the last checkpoint could not be written, 128 + signal when
            stopped.
        """
        state, options, group = self.state, self.experiment, self.group
        sizes = self.total, len(self.dataset), group.world, self.folder
        logger.info("%d steps, %d samples, %d process(es); results in %s", *sizes)
        if state.step >= self.total:
            logger.warning("nothing to train: %d of %d steps are done", state.step, self.total)
        stream, clock = self._batches(), StepClock(self.total)
        with ExitStack() as stack:
            stop = stack.enter_context(StopRequest())
            stack.enter_context(closing(self.saver))
            stack.enter_context(closing(self.profiler))
            if group.is_main:
                self.scalars = ScalarLog(self.folder, options)
                stack.enter_context(closing(self.scalars))
            bar = tqdm(total=self.total, initial=state.step, disable=not group.is_main or None, unit="step")
            stack.enter_context(closing(bar))
            try:
                if state.step and self._due(options.validate_.interval) and self.validated_step != state.step:
                    self.validate(stop)  # the run ended between its checkpoint and this
                while state.step < self.total and not self._stopped(stop):
                    started = time.perf_counter()
                    batches = [next(stream) for _ in range(options.step.accumulate)]
                    clock.tick(time.perf_counter() - started)
                    losses = state.train_step.run(batches, state.step, state.seed, requests=stop.flags())
                    state.step += 1
                    state.samples += self.samples_per_step
                    bar.update()
                    if self._due(options.log_config.interval):
                        timing = clock.report(state.step, self.samples_per_step)
                        log_step(state, losses, timing, self.total, self.scalars)
                    if group.is_main and _every(options.log_config.visual_interval, state.step):
                        sheet = self.folder / "visual_train" / f"iter{state.step}.png"
                        with log_errors(f"image of step {state.step}"):
                            save_visuals(sheet, batches[0])
                    if self._due(options.snapshot_config.interval):
                        self.save()
                    if self._due(options.validate_.interval):
                        self.validate(stop)
                    if self.profiler.step():
                        break
            except Exception as error:
                self._save_after_error()
                if is_out_of_memory(error):
                    raise OutOfMemoryError(state.step, error) from error
                raise
            if stop.signal:
                self._save_stopped(stop)
                return 128 + stop.signal  # as a shell would report it
        steps = state.step, state.train_step.skipped, self.folder
        logger.info("finished %d steps, %d skipped; results in %s", *steps)
        return 1 if self.saver.failed and self.saver.written is None else 0

    def _batches(self) -> Iterator[Batch]:
        """Training batches, which have been through the pool where there is one."""
        seed, done, pool = self.experiment.seed, self.state.samples, self.state.pool
        stream = build_stream(self.dataset, self.loading, self.group, seed=seed, samples_done=done)
        return stream if pool is None else map(pool, stream)

    def _due(self, interval: int) -> bool:
        """Whether a task that runs every `interval` steps and after the last step is due."""
        return _every(interval, self.state.step) or (interval > 0 and self.state.step == self.total)

    def _stopped(self, stop: StopRequest) -> bool:
        sums = self.state.train_step.requested
        # several ranks do not wait for each other again: the step's own reduction has carried their flags
        stopped, save = stop.agree(self.group) if self.group.world == 1 or sums is None else stop.take(sums)
        if save and self.saved_step != self.state.step:
            self.save()
        return stopped

    def _save_after_error(self) -> None:
        """Save the finished steps, unless the error left the networks in the middle of one."""
        state = self.state
        if state.train_step.updating or state.step == 0:
            return
        if self.saved_step != state.step:
            self.save(alone=True)
        self.saver.wait()
        if self.saver.written == state.step:
            logger.info("the %d finished steps are saved; resume with --resume auto", state.step)

    def _save_stopped(self, stop: StopRequest) -> None:
        step = self.state.step
        if self.saved_step != step and step:
            self.save()
            self.saver.wait()
        hint = "; resume with --resume auto" if self.saver.store.all() else ""
        logger.warning("stopped by signal %d after step %d%s", stop.signal, step, hint)

    def validate(self, stop: StopRequest | None = None) -> dict[str, float]:
        """Score the validation sets with the averaged networks, and mark the best checkpoint.

        A signal ends that at once, and a resumed run repeats it.

        Returns:
            The means; empty where it was interrupted.
        """
        state, validator, group = self.state, self.validator, self.group
        if validator is None:
            return {}
        try:
            with nullcontext() if stop is None else stop.interrupting(group), state.train_step.inference():
                scores = validator.score(
                    state.model.inference_net(),
                    group,
                    save_folder=self.folder / "visual_test",
                    write=_write_if_possible,
                    on_round=lambda: None if stop is None else stop.check(group),
                )
        except Stopped:
            logger.info("validation of step %d interrupted", state.step)
            return {}
        finally:
            state.train_step.requested = None  # validation takes long: ask again
        means = validator.means(scores)
        for name, value in means.items():
            logger.info("Metric %s: %.4f", name, value)
        if self.scalars is not None and means:
            self.scalars.write(state.step, means, "validate")
        quality = validator.quality(means)
        if quality is not None and (state.best is None or quality > state.best):
            state.best, state.best_step = quality, state.step
            if self.saved_step != state.step:
                self.save()
        if state.best is not None:
            best, averaged = validator.sign * state.best, ", ".join(state.model.ema) or "none"
            text = "best %s: %.4f at step %s (averaged networks: %s)"
            logger.info(text, validator.best_metric(), best, state.best_step, averaged)
        self.validated_step = state.step
        if group.is_main:
            self.saver.record(state.step, state.best, state.best_step, validator.basis)
        return means

    def save(self, *, alone: bool = False) -> None:
        """Write a checkpoint and the weights, by default in a thread; a full disk is logged and does not end
        the run.

        Args:
            alone: other processes do not take part, so their training-pair pools are left out.
        """
        state = self.state
        pools: list[bytes] = []
        if state.pool is not None:
            own = state.pool_bytes()
            pools = [own] if alone else self.group.gather(own)
        if self.group.is_main:
            files = state.files()
            files.update({state.pool_name(rank): content for rank, content in enumerate(pools)})
            self.saver.save(state.step, files, networks=state.networks())
        self.saved_step = state.step


def _every(interval: int, step: int) -> bool:
    return interval > 0 and step % interval == 0


def _warn_without_validation(experiment: Experiment) -> None:
    """Name what keeps a validation from happening that one half of the configuration asks for."""
    options, given = experiment.validate_, experiment.dataset.test is not None
    if options.interval > 0 and not given:
        logger.warning("validate.interval is %d, but there is no dataset.test to score", options.interval)
    elif options.interval > 0 and not options.metrics and not options.save_img:
        logger.warning("validate has neither metrics nor save_img=true: validation gives nothing")
    elif given and options.interval <= 0:
        logger.info("dataset.test is not scored: validate.interval is %d", options.interval)


def _warn_of_ended_schedules(schedules: Mapping[str, Schedule], total: int) -> None:
    """Name schedules that are over before the run is."""
    for name, schedule in schedules.items():
        end = schedule.end
        if end is not None and end < total:
            text = "lr_scheduler: the rate of '%s' stays at %g from step %d of %d on, where its periods end"
            logger.warning(text, name, schedule(end), end, total)


def _check_scale(scale: int | None, enlarges: int | None) -> None:
    """Compare the scale of the training set with that of the network, where both are known."""
    if None not in (scale, enlarges) and scale != enlarges:
        raise ConfigError(
            f"dataset.train.scale is {scale}, but the generator enlarges {enlarges} times; "
            "give both the same scale"
        )


class OutOfMemoryError(PpsrError):
    """A step needs more memory than there is."""

    exit_code = 1

    def __init__(self, step: int, error: BaseException) -> None:
        reason = first_line(error)
        super().__init__(
            f"not enough memory after step {step}: lower dataset.train.batch_size, gt_size or num_workers, "
            f"or compute in half precision (--amp); {reason[:200]}"
        )


def _write_if_possible(path: Path, image: np.ndarray) -> None:
    with log_errors(f"image {path.name}"):
        write_image(path, image)
