"""Exponential moving average of parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import paddle
from paddle import nn

from ppsr.errors import ConfigError, did_you_mean

__all__ = ["EMA"]


class EMA:
    """Averaged copies of some networks: average = decay * average + (1 - decay) * parameter.

    Buffers are copied as they are, parameters in half precision averaged in float32. The copies are in eval
    mode and need no gradients.
    """

    def __init__(self, nets: Mapping[str, nn.Layer], *, decay: float, net_names: Iterable[str]) -> None:
        self.decay = decay
        self.nets: dict[str, nn.Layer] = {}
        for name in net_names:
            if name not in nets:
                raise ConfigError(f"ema: there is no net '{name}'; {did_you_mean(name, nets)}")
            average = copy.deepcopy(nets[name])
            average.eval()
            for parameter in average.parameters():
                parameter.stop_gradient = True
            self.nets[name] = average

    @paddle.no_grad()
    def update(self, nets: Mapping[str, nn.Layer]) -> None:
        """Take in the parameters after one optimizer step."""
        for name, average in self.nets.items():
            source = dict(nets[name].named_parameters())
            for key, parameter in average.named_parameters():
                parameter.scale_(self.decay)
                parameter.add_(source[key].astype(parameter.dtype) * (1 - self.decay))
            self._copy_buffers(nets[name], average)

    @staticmethod
    def _copy_buffers(source: nn.Layer, average: nn.Layer) -> None:
        values = dict(source.named_buffers())
        for key, buffer in average.named_buffers():
            buffer.set_value(values[key].astype(buffer.dtype))
