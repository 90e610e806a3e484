"""Exponential moving average of parameters, and its switching back into training.

Li et al., "Switch EMA: A Free Lunch for Better Flatness and Sharpness", arXiv:2402.09240.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError, did_you_mean

__all__ = ["EMA"]


class _Group:
    """One network's parameters and buffers, and their averages. The averaged parameters are parts of one
    tensor, so that an update takes as many kernels for a thousand parameters as for one."""

    def __init__(self, net: nn.Layer, average: nn.Layer) -> None:
        parameters, averages = dict(net.named_parameters()), dict(average.named_parameters())
        self.sources = [parameters[key] for key in averages]
        self.averages = list(averages.values())
        buffers, saved = dict(net.named_buffers()), net.state_dict()  # those that are not saved are constants
        self.buffers = [(buffers[key], own) for key, own in average.named_buffers() if key in saved]
        self.join()

    @paddle.no_grad()
    def join(self) -> None:
        """Make the averaged parameters parts of one tensor."""
        self.flat = _flat(self.averages)
        start = 0
        for parameter in self.averages:
            part = self.flat._slice(start, start + parameter.size)
            part.reshape(parameter.shape)._share_buffer_to(parameter)
            start += parameter.size

    def is_joined(self) -> bool:
        """Whether nothing has moved an averaged parameter to other memory since."""
        return all(parameter._is_shared_buffer_with(self.flat) for parameter in self.averages)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return paddle.concat([tensor.astype("float32").flatten() for tensor in tensors])


class EMA:
    """Averaged copies of some networks: average = decay * average + (1 - decay) * parameter.

    The parameters of a network are averaged together, in float32; buffers are copied. The copies are in
    evaluation mode and need no gradients.

    Args:
        decay: weight of the average in an update, below 1.
        switch_every: copy the averages into the networks every so many steps; 0: never.
    """

    def __init__(
        self, nets: Mapping[str, nn.Layer], *, decay: float, net_names: Iterable[str], switch_every: int = 0
    ) -> None:
        self.decay = decay
        self.switch_every = switch_every
        self.nets: dict[str, nn.Layer] = {}
        for name in net_names:
            if name not in nets:
                raise ConfigError(f"ema: there is no net '{name}'; {did_you_mean(name, nets)}")
            average = copy.deepcopy(nets[name])
            average.eval()
            for parameter in average.parameters():
                parameter.stop_gradient = True
            self.nets[name] = average
        self._groups = [_Group(nets[name], average) for name, average in self.nets.items()]

    @paddle.no_grad()
    def update(self, master_weights: Mapping[str, Tensor] | None = None, step: int = 0) -> None:
        """Update the averages after an optimizer step, and copy them into the networks if it is time to.

        Args:
            master_weights: float32 values of parameters in half precision, by the parameters' names; they
                hold updates too small to change the rounded parameter.
            step: number of finished optimizer steps.
        """
        masters = master_weights or {}
        for group in self._groups:
            if not group.is_joined():
                group.join()
            new = _flat(masters.get(source.name, source) for source in group.sources)
            group.flat.scale_(self.decay)
            group.flat.add_(new.scale_(1 - self.decay))
            for buffer, average in group.buffers:
                average.set_value(buffer.astype(average.dtype))
            if self.switch_every and step % self.switch_every == 0:
                for source, average in zip(group.sources, group.averages, strict=True):
                    value = average.clone()  # `set_value` of a part of a tensor would take the whole
                    if source.name in masters:
                        masters[source.name].set_value(value)
                    source.set_value(value.astype(source.dtype))
