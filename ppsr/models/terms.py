"""The criterions of a model as a list: what each compares, its label in the log, and how it counts.

An entry of `model.criterions` is a criterion's name and options, and the keys of `CriterionOptions`:
`{name: L1Loss, loss_weight: 0.5, of: [sr, gt]}`.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from paddle import Tensor

from ppsr.config.schema import CriterionOptions, TeacherOptions
from ppsr.criterions.gan import GANLoss
from ppsr.errors import ConfigError, PpsrError, mistake
from ppsr.generators.apply import capture, find_layer, super_resolve
from ppsr.memory import is_out_of_memory
from ppsr.precision import autocast_off
from ppsr.registry import CRITERIONS, GENERATORS
from ppsr.weights import load_state, read_weight_file

__all__ = ["Entry", "Teacher", "Term", "build_terms", "slot"]


@dataclass(frozen=True)
class Term:
    """One criterion of a model.

    Attributes:
        criterion: called with the tensors of `of`; returns a scalar, or scalars by label.
        of: names of tensors, see `BaseModel.tensor`.
        start: steps without it at the beginning.
        warmup: steps over which its weight then rises linearly.
    """

    label: str
    criterion: Any
    of: tuple[str, ...]
    weight: float = 1.0
    start: int = 0
    warmup: int = 0

    @property
    def adversarial(self) -> bool:
        """Whether it scores the logits of a discriminator."""
        return isinstance(self.criterion, GANLoss)

    def factor(self, step: int) -> float:
        """Factor on the criterion's result after `step` finished steps; 0 before its start."""
        done = step - self.start
        return 0.0 if done < 0 else self.weight * min(1.0, (done + 1) / (self.warmup + 1))

    def losses(self, tensors: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """The weighted results by label.

        Raises:
            ConfigError: shapes differ where the criterion needs equal ones, or it has a mistake.
        """
        try:
            result = self.criterion(*tensors)
        except PpsrError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            shapes = [tuple(tensor.shape) for tensor in tensors]
            if len(set(shapes)) == 1 or not isinstance(error, ValueError):  # Paddle's
                raise ConfigError(f"the loss {self.label} failed: {mistake(error)}") from error
            compared = ", ".join(f"{name} {shape}" for name, shape in zip(self.of, shapes, strict=True))
            raise ConfigError(
                f"the loss {self.label} compares tensors of other shapes: {compared}"
            ) from error
        named = result if isinstance(result, Mapping) else {self.label: result}
        factor = self.factor(step)
        with autocast_off():
            return {name: value if factor == 1 else factor * value for name, value in named.items()}


Entry = Mapping[str, Any]


def slot(cfg: Entry | None, label: str, *of: str, **options: Any) -> Entry | None:
    """A fixed place for one criterion in a model's section, such as `pixel_criterion`, as an entry."""
    return None if cfg is None else {"label": label, "of": of, **options, **cfg}


def build_terms(entries: Iterable[Entry | None]) -> list[Term]:
    """Build the criterions of `model.criterions`; null takes an entry of a base away."""
    terms: list[Term] = []
    for entry in filter(None, entries):
        terms.append(_term(entry, {term.label for term in terms}))
    return terms


def _term(entry: Entry, taken: set[str]) -> Term:
    own = {key: value for key, value in entry.items() if key in CriterionOptions.model_fields}
    options = CriterionOptions.model_validate(own)
    cfg = {key: value for key, value in entry.items() if key not in own}
    weight = 1.0 if options.loss_weight is None else options.loss_weight
    name = str(entry.get("name"))
    component = CRITERIONS.get(name)
    if options.loss_weight is not None and "loss_weight" in inspect.signature(component).parameters:
        cfg["loss_weight"], weight = weight, 1.0
    label = options.label or _free(_label(name), taken)
    if label in taken:
        raise ConfigError(f"model.criterions: two losses have the label '{label}'; give each its own `label`")
    of: Sequence[str] = options.of or getattr(component, "of", None) or ("sr", "gt")
    term = Term(label, CRITERIONS.build(cfg), tuple(of), weight, options.start, options.warmup)
    if not term.adversarial:
        try:
            inspect.signature(getattr(term.criterion, "forward", term.criterion)).bind(*of)
        except TypeError as error:
            raise ConfigError(f"model.criterions: `of` of {name} is {list(of)}: {error}") from None
    return term


def _label(name: str) -> str:
    """GANLoss -> l_g_gan, as in the fixed place; FocalFrequencyLoss -> l_focal_frequency."""
    if name == "GANLoss":
        return "l_g_gan"
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rpartition(".")[2].removesuffix("Loss"))
    return f"l_{words.lower()}"


def _free(label: str, taken: set[str]) -> str:
    """The label, or the first of label_2, label_3, ... that no other loss has."""
    names = itertools.chain([label], (f"{label}_{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


class Teacher:
    """A frozen generator with its weights, whose images or features a generator learns from.

    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531; by features,
    Romero et al., "FitNets", ICLR 2015, arXiv:1412.6550.

    Args:
        cfg: a generator's name and options, and `weights`, its file.
    """

    def __init__(self, cfg: Mapping[str, Any], *, layers: Iterable[str], scale: int) -> None:
        own = set(TeacherOptions.model_fields)
        options = TeacherOptions.model_validate({key: value for key, value in cfg.items() if key in own})
        self.net = GENERATORS.build({key: value for key, value in cfg.items() if key not in own})
        if self.net.scale != scale:
            raise ConfigError(f"model.teacher enlarges {self.net.scale} times, model.generator {scale} times")
        file = read_weight_file(options.weights)
        load_state(self.net, file.state("generator"), layout=file.layout, source=file.path)
        self.net.eval()
        for parameter in self.net.parameters():
            parameter.stop_gradient = True
        self.layers = list(layers)
        for name in self.layers:
            find_layer(self.net, name)

    def __call__(self, lq: Tensor) -> dict[str, Tensor]:
        """Its SR image as `teacher`, and the outputs of its layers as `teacher.<layer>`."""
        safe = getattr(self.net, "fp16_safe", False)
        with nullcontext() if safe else autocast_off(), capture(self.net, self.layers) as outputs:
            sr = super_resolve(self.net, lq)
        return {"teacher": sr, **{f"teacher.{name}": outputs[name].detach() for name in self.layers}}
