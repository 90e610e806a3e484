"""Base class of training algorithms: networks and, per iteration, phases of losses.

An algorithm never calls backward, steps an optimizer or knows of mixed precision: the engine does, the same
way for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paddle import Tensor, nn

from ppsr.errors import ConfigError, did_you_mean
from ppsr.models.terms import Term
from ppsr.registry import GENERATORS, Registry

__all__ = ["BaseModel", "Batch", "Phase"]


class Batch(dict[str, Any]):
    """Tensors of one step by name (`lq`, `gt`, ...); phases may pass results on, and note scalars in
    `logs`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logs: dict[str, Tensor] = {}

    def __missing__(self, name: str) -> Any:
        raise ConfigError(
            f"dataset.train gives no '{name}', only {', '.join(sorted(self))}; choose another data set, or a "
            "`degradation` where LR is made of HR"
        )


@dataclass(frozen=True)
class Phase:
    """One backward pass and optimizer step.

    Attributes:
        nets: networks that are trained in it; all others are frozen meanwhile.
        losses: batch -> named float32 scalars, whose sum is minimised. An empty result skips the phase.
    """

    nets: tuple[str, ...]
    losses: Callable[[Batch], dict[str, Tensor]]


class BaseModel:
    """Base of all algorithms.

    Attributes:
        nets: every network with a state, by name; these are saved, loaded and moved.
        ema: averaged copies set by the engine when the configuration asks for them.
        step: number of finished steps, set by the engine.
        terms: the criterions that `criterion_losses` computes.
    """

    inference_names: tuple[str, ...] = ("generator",)

    def __init__(self) -> None:
        self.nets: dict[str, nn.Layer] = {}
        self.ema: dict[str, nn.Layer] = {}
        self.step = 0
        self.terms: list[Term] = []

    def phases(self) -> list[Phase]:
        """Phases of one iteration, in order."""
        raise NotImplementedError

    def prepare(self, batch: Batch) -> Batch:
        """Change a batch on the training device before the phases; by default nothing."""
        return batch

    def tensor(self, batch: Batch, name: str) -> Tensor:
        """A tensor that a criterion compares, by its name in `of`: what a batch holds, or `gt_usm`, which is
        `gt` where the degradation sharpens no target.

        Raises:
            ConfigError: there is no such tensor.
        """
        if name == "gt_usm" and name not in batch:
            name = "gt"
        if name not in batch:
            raise ConfigError(f"model.criterions: there is no tensor '{name}'; {did_you_mean(name, batch)}")
        return batch[name]

    def criterion_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of all criterions that count in this step, by label."""
        losses: dict[str, Tensor] = {}
        for term in self.terms:
            if term.factor(self.step):
                losses |= self.term_losses(term, [self.tensor(batch, name) for name in term.of])
        return losses

    def term_losses(self, term: Term, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """The losses of one criterion."""
        return term.losses(tensors, self.step)

    def inference_net(self) -> nn.Layer:
        """The network from LR image to SR image, with averaged parameters where there are any."""
        return self.averaged("generator")

    def averaged(self, name: str) -> nn.Layer:
        """The averaged copy of a network, or the network itself."""
        return self.ema.get(name, self.nets[name])


def build_net(cfg: Mapping[str, Any] | nn.Layer, registry: Registry = GENERATORS) -> nn.Layer:
    """Build a network, or take one that is already built."""
    return cfg if isinstance(cfg, nn.Layer) else registry.build(cfg)
