"""A trained network that a generator learns from: its images, or the outputs of its layers.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531; by features, Romero
et al., "FitNets", ICLR 2015, arXiv:1412.6550.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from paddle import Tensor

from ppsr.config.schema import TeacherOptions
from ppsr.errors import ConfigError
from ppsr.generators.apply import super_resolve
from ppsr.generators.feature_hooks import capture, find_layer
from ppsr.precision import autocast_off
from ppsr.registry import GENERATORS
from ppsr.weights import apply_state, read_weight_file

__all__ = ["Teacher"]


class Teacher:
    """A frozen generator with its weights.

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
        apply_state(self.net, file.state("generator"), layout=file.layout)
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
