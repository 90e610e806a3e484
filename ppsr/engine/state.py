"""Everything a resumed run needs, in one object; saved as arrays and JSON, never as pickled code."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import nn

import ppsr
from ppsr.config.schema import Experiment, LoaderOptions
from ppsr.degradations.pool import TrainingPairPool
from ppsr.engine.distributed import Group
from ppsr.engine.step import TrainStep
from ppsr.errors import WeightError
from ppsr.models.base import BaseModel
from ppsr.solver.ema import EMA
from ppsr.solver.optimizers import build_optimizers, build_schedules, load_optimizer_state, optimizer_state
from ppsr.weights import dump_state, load_state, parse_pdparams
from ppsr.weights.identify import NetworkSpec
from ppsr.weights.record import stated_network

logger = logging.getLogger(__name__)


def _arrays(net: nn.Layer) -> dict[str, np.ndarray]:
    # the parameters of an averaged network are parts of one tensor, which `numpy` alone would copy and keep
    return {key: value.clone().numpy() for key, value in net.state_dict().items()}


def _changes(before: Any, now: Any) -> str:
    """Differences of two mappings of arguments, in words."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return f"{before}, now {now}"
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return ", ".join(f"{key} was {before.get(key)}, now {now.get(key)}" for key in keys) or "unknown"


@dataclass
class State:
    """Networks, averages, optimizers, pool, counters and seed of a run.

    Attributes:
        step: finished optimizer steps; the only counter of the run's length.
        pool: the training-pair pool, or None.
        best: value of the first metric at the best validation; negative where lower is better.
    """

    model: BaseModel
    train_step: TrainStep
    seed: int
    step: int = 0
    samples: int = 0
    pool: Any = None
    best: float | None = None
    best_step: int | None = None
    rank: int = 0
    world: int = 1

    def weights(self) -> dict[str, dict[str, np.ndarray]]:
        """All networks by name, averages as `<name>_ema`; this is PaddleGAN's nested layout."""
        return {name: _arrays(net) for name, net in self._named_nets().items()}

    def _named_nets(self) -> dict[str, nn.Layer]:
        return self.model.nets | {f"{name}_ema": net for name, net in self.model.ema.items()}

    def networks(self) -> dict[str, NetworkSpec | None]:
        """Name and arguments with which each network was built."""
        return {name: stated_network(net) for name, net in self.model.nets.items()}

    def files(self) -> dict[str, Any]:
        """Contents of a checkpoint: bytes, or nested dictionaries of arrays, copies that training leaves
        alone."""
        return {
            "weights.pdparams": self.weights(),
            "optimizers.pdopt": {
                name: optimizer_state(optimizer, self.model.nets)
                for name, (optimizer, _) in self.train_step.optimizers.items()
            },
            "state.json": json.dumps(self._counters(), indent=1).encode(),
        }

    def pool_bytes(self) -> bytes:
        """This rank's training-pair pool; every rank has its own."""
        return dump_state(self.pool.state_dict())

    @staticmethod
    def pool_name(rank: int) -> str:
        """File of a rank's pool in a checkpoint."""
        return f"pool.rank{rank}.pdparams"

    def _counters(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "samples": self.samples,
            "seed": self.seed,
            "best": self.best,
            "best_step": self.best_step,
            "world": self.world,
            "skipped": self.train_step.skipped,
            "skipped_in_a_row": self.train_step.skipped_in_a_row,
            "scalers": {name: s.state_dict() for name, s in self.train_step.scalers.items()},
            "built": self._built(),
            "versions": {module.__name__: module.__version__ for module in (ppsr, paddle, np)},
        }

    def _built(self) -> dict[str, Any]:
        """Settings that a resumed run must share with its checkpoint, as JSON values."""
        step, nets = self.train_step, self.model.nets
        built = {
            "networks": {
                name: spec or (type(nets[name]).__name__, {}) for name, spec in self.networks().items()
            },
            "optimizers": {name: (type(kind).__name__, of) for name, (kind, of) in step.optimizers.items()},
            "precision": f"{step.precision.level} in {step.precision.dtype}" if step.amp else "float32",
        }
        return json.loads(json.dumps(built))

    def _check_built(self, stored: dict[str, Any]) -> list[tuple[str, str, str]]:
        """Refuse differences that training cannot resume with; returns kind, name and change of others."""
        changes: list[tuple[str, str, str]] = []
        own = self._built()
        pairs = [("precision", stored["precision"], own["precision"])]
        for kind in ("optimizers", "networks"):
            for name in stored[kind].keys() & own[kind].keys():
                (before, details), (now, new_details) = stored[kind][name], own[kind][name]
                pairs.append((f"the {kind[:-1]} of '{name}'", before, now))
                if before == now and details != new_details:
                    changes.append((kind[:-1], name, _changes(details, new_details)))
        for what, before, now in pairs:
            if before != now:
                raise WeightError(
                    f"the checkpoint was written with {before} as {what}, the configuration has {now}; "
                    "keep it, or start a new run from the weights with --load"
                )
        return changes

    def restore(self, files: dict[str, bytes]) -> None:
        """Put a checkpoint back."""
        counters = json.loads(files["state.json"])
        changes = self._check_built(counters["built"]) if "built" in counters else []
        self.step, self.samples, self.best = counters["step"], counters["samples"], counters["best"]
        self.best_step = counters.get("best_step")
        if counters["seed"] != self.seed:
            text = "the checkpoint was trained with seed %d; from here on the seed is %d"
            logger.warning(text, counters["seed"], self.seed)
        self.train_step.skipped = counters["skipped"]
        self.train_step.skipped_in_a_row = counters["skipped_in_a_row"]
        if counters["world"] != self.world:
            text = "the checkpoint was written by %d processes, now there are %d: sample order is kept, but "
            logger.warning(text + "results will not be bit-equal", counters["world"], self.world)
        stored = parse_pdparams(files["weights.pdparams"])
        for name, net in self._named_nets().items():
            if name not in stored:
                raise WeightError(
                    f"the checkpoint has no network '{name}'; it has {sorted(stored)}. Keep networks and ema "
                    "as they were, or start a new run with --load"
                )
            try:
                load_state(net, stored[name])
            except WeightError as error:
                logger.debug("%s", error)
                before = counters.get("built", {}).get("networks", {}).get(name, ("", {}))[1]
                now = self._built()["networks"].get(name, ("", {}))[1]
                raise WeightError(
                    f"the network '{name}' of the checkpoint has other shapes than that of the configuration "
                    f"({_changes(before, now)}); keep it, or start a new run with --load and --load-partial"
                ) from None
        optimizers = parse_pdparams(files["optimizers.pdopt"])
        for name, (optimizer, _) in self.train_step.optimizers.items():
            if name not in optimizers:
                raise WeightError(f"the checkpoint has no optimizer '{name}'; it has {sorted(optimizers)}")
            load_optimizer_state(optimizer, self.model.nets, optimizers[name])
        for name, scaler in self.train_step.scalers.items():
            scaler.load_state_dict(counters["scalers"].get(name, {}))
        if self.pool is not None and self.pool_name(self.rank) in files:
            self.pool.set_state_dict(parse_pdparams(files[self.pool_name(self.rank)]))
        for change in changes:
            logger.warning("the %s of '%s' has changed: %s", *change)


def build_state(experiment: Experiment, model: BaseModel, group: Group, loading: LoaderOptions) -> State:
    """Networks, optimizers, averages and pool at step 0, with the weights of rank 0 on all ranks."""
    assert experiment.optimizer is not None and experiment.lr_scheduler is not None
    group.broadcast(model.nets.values())
    ema = None
    if experiment.ema is not None:
        ema = EMA(model.nets, **experiment.ema.model_dump())
        model.ema = ema.nets
    step = TrainStep(
        model=model,
        optimizers=build_optimizers(experiment.optimizer, model.nets),
        schedules=build_schedules(experiment.optimizer, experiment.lr_scheduler),
        options=experiment.step,
        precision=experiment.precision,
        group=group,
        ema=ema,
    )
    state = State(model=model, train_step=step, seed=experiment.seed, rank=group.rank, world=group.world)
    if loading.queue_size:
        state.pool = TrainingPairPool(
            loading.queue_size, seed=experiment.seed + group.rank, queue_params=loading.queue_params
        )
    return state
