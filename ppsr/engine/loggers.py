"""Logs of a run: console and log.txt in PaddleGAN's form, scalars as JSON lines, and to VisualDL,
TensorBoard and Weights & Biases when asked for."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paddle
from paddle.nn import functional as F

from ppsr.errors import ConfigError, first_line
from ppsr.files import json_number
from ppsr.imaging.io import to_uint8, write_image

if TYPE_CHECKING:
    from ppsr.config.schema import Experiment
    from ppsr.engine.state import State

logger = logging.getLogger(__name__)


class ScalarLog:
    """Every scalar of a run, one JSON object per line, and the same to further writers.

    Raises:
        ConfigError: a writer's package is missing, or it refuses to start.
    """

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writers = _open_writers(folder, experiment)
        self._file = (folder / "scalars.jsonl").open("a", encoding="utf-8")

    def write(self, step: int, scalars: Mapping[str, float], prefix: str = "train") -> None:
        """Append the scalars of one step; a full disk is reported and raises nothing."""
        plain = {name: json_number(value) for name, value in scalars.items()}
        with log_errors(f"scalars of step {step}"):
            self._file.write(json.dumps({"step": step, "split": prefix, **plain}, allow_nan=False) + "\n")
            self._file.flush()
            for writer in self._writers:
                for name, value in scalars.items():
                    writer.add_scalar(f"{prefix}/{name}", value, step)

    def close(self) -> None:
        """Finish writing."""
        with log_errors("the last scalars"):
            self._file.close()
        for writer in self._writers:
            with log_errors("the last scalars"):
                writer.close()


def log_step(
    state: State, losses: Mapping[str, float], timing: str, total: int, scalars: ScalarLog | None
) -> None:
    """Write the log line of a step, and its scalars."""
    rates = state.train_step.rates(state.step - 1)
    first = next(iter(rates.values()))
    # one rate is `lr`; further ones are named by their optimizers
    own = {f"lr_{name}": rate for name, rate in rates.items() if rate != first}
    shown = " ".join(
        f"{name}: {value:.3f}" if value >= 0.1 else f"{name}: {value:.3e}" for name, value in losses.items()
    )
    shown_rates = " ".join(f"{name}: {rate:.3e}" for name, rate in {"lr": first, **own}.items())
    logger.info("Iter: %d/%d %s %s %s", state.step, total, shown_rates, shown, timing)
    if scalars is not None:
        scalars.write(state.step, {"lr": first, **own, "skipped": state.train_step.skipped, **losses})


def save_visuals(path: Path, batch: Mapping[str, Any]) -> None:
    """Write one sheet: a row for each of the first four samples with LR (enlarged by repetition), SR and GT,
    each (N, 3, H, W) in [0, 1]."""
    tensors = [batch[name][:4].astype("float32") for name in ("lq", "sr", "gt") if name in batch]
    height, width = (max(t.shape[axis] for t in tensors) for axis in (2, 3))
    with paddle.no_grad():
        columns = [F.interpolate(t, size=[height, width], mode="nearest").numpy() for t in tensors]
    sheet = np.concatenate([np.concatenate(list(column), axis=1) for column in columns], axis=2)
    write_image(path, to_uint8(sheet.transpose(1, 2, 0)))


@contextmanager
def log_errors(what: str) -> Iterator[None]:
    """Log disk errors instead of raising them, so that a full disk does not stop training."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # Paddle's own errors are OSErrors too
            raise
        logger.error("%s not written, training continues: %s", what, error.strerror)


def _open_writers(folder: Path, experiment: Experiment) -> list[Any]:
    """Objects with `add_scalar(tag, value, step)` and `close()`."""
    writers = []
    if experiment.enable_visualdl:
        writers.append(_package("visualdl", "enable_visualdl").LogWriter(logdir=str(folder / "visualdl")))
    if experiment.enable_tensorboard:
        summary = _package("tensorboard.summary", "enable_tensorboard")
        writers.append(summary.Writer(str(folder / "tensorboard")))
    if experiment.wandb_project:
        writers.append(_WandbWriter(folder, experiment))
    return writers


def _package(module: str, key: str) -> Any:
    name = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(f"{key} needs the package {name} (pip install {name}): {error}") from None


class _WandbWriter:
    """A run of Weights & Biases, which a resumed run continues.

    Steps are a metric of their own: W&B's must grow, but a run that returns to a checkpoint repeats some.
    """

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        wandb, name = _package("wandb", "wandb_project"), folder.resolve().name
        options = {"project": experiment.wandb_project, "dir": str(folder), "id": name, "name": name}
        try:
            self.run = wandb.init(**options, resume="allow", config=experiment.model_dump(mode="json"))
        except wandb.Error as error:
            text = "log in with `wandb login`, or set WANDB_MODE=offline"
            raise ConfigError(
                f"wandb_project: Weights & Biases refuses the run: {first_line(error)}; {text}"
            ) from None
        self.run.define_metric("*", step_metric="step")

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Log one number."""
        self.run.log({tag: value, "step": step})

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


class StepClock:
    """Average times since the last report, and the time that is left."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._reset()

    def _reset(self) -> None:
        self.start = time.perf_counter()
        self.steps = 0
        self.reading = 0.0

    def tick(self, reading: float) -> None:
        """Count a step, of which `reading` seconds were spent waiting for data."""
        self.steps += 1
        self.reading += reading

    def report(self, step: int, samples_per_step: int) -> str:
        """The timing part of a log line; starts a new interval."""
        steps = max(self.steps, 1)
        batch_cost = (time.perf_counter() - self.start) / steps
        eta = timedelta(seconds=int(batch_cost * (self.total - step)))
        text = (
            f"batch_cost: {batch_cost:.5f} sec reader_cost: {self.reading / steps:.5f} sec "
            f"ips: {samples_per_step / max(batch_cost, 1e-9):.5f} images/s eta: {eta}"
        )
        self._reset()
        return text
