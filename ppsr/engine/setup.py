"""Building what a run trains, from the sections of a configuration."""

from __future__ import annotations

from ppsr.config.schema import Experiment, LoaderOptions
from ppsr.degradations.pool import TrainingPairPool
from ppsr.engine.distributed import Group
from ppsr.engine.state import State
from ppsr.engine.step import TrainStep
from ppsr.errors import ConfigError
from ppsr.models.base import BaseModel
from ppsr.solver.ema import EMA
from ppsr.solver.optimizers import build_optimizers, build_schedules

__all__ = ["build_state", "check_scale", "total_steps"]


def build_state(experiment: Experiment, model: BaseModel, group: Group, loading: LoaderOptions) -> State:
    """Networks, optimizers, averages and pool at step 0, with the weights of rank 0 on all ranks.

    Args:
        experiment: with the sections `optimizer` and `lr_scheduler`.
        model: the algorithm.
        group: the processes that train together.
        loading: the loader's options of the training set.
    """
    assert experiment.optimizer is not None and experiment.lr_scheduler is not None
    group.broadcast(model.nets.values())
    step = TrainStep(
        model=model,
        optimizers=build_optimizers(experiment.optimizer, model.nets),
        schedule=build_schedules(experiment.optimizer, experiment.lr_scheduler),
        options=experiment.step,
        precision=experiment.precision,
        group=group,
        ema=_build_ema(experiment, model),
    )
    state = State(model=model, trainer=step, seed=experiment.seed, rank=group.rank, world=group.world)
    if loading.queue_size:
        state.pool = TrainingPairPool(
            loading.queue_size, seed=experiment.seed + group.rank, queue_params=loading.queue_params
        )
    return state


def _build_ema(experiment: Experiment, model: BaseModel) -> EMA | None:
    if experiment.ema is None:
        return None
    ema = EMA(model.nets, decay=experiment.ema.decay, net_names=experiment.ema.net_names)
    model.ema = ema.nets
    return ema


def check_scale(scale: int | None, enlarges: int | None) -> None:
    """Compare the scale of the training set with that of the network, where both are known.

    Raises:
        ConfigError: they differ.
    """
    if None not in (scale, enlarges) and scale != enlarges:
        raise ConfigError(
            f"dataset.train.scale is {scale}, but the generator enlarges {enlarges} times; "
            "give both the same scale"
        )


def total_steps(experiment: Experiment, samples: int, samples_per_step: int) -> int:
    """Length of the run in optimizer steps.

    Args:
        experiment: with `epochs` or `total_iters`.
        samples: of the training set.
        samples_per_step: of all ranks.
    """
    if experiment.epochs is None:
        return int(experiment.total_iters or 0)
    # epochs follow each other within a batch, so only the last one may end early
    return max(1, experiment.epochs * samples // samples_per_step)
