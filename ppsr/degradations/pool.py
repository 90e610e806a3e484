"""Training-pair pool: pairs of many batches are mixed, so that one batch holds many degradations.

Real-ESRGAN (Wang et al., ICCVW 2021). The published pool of DASR keeps images only, so that the degradation
parameters no longer belong to them; here every tensor of a pair travels together unless `queue_params` is
off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from ppsr.errors import ConfigError
from ppsr.memory import device_array

_PARAMETERS = "degradation_params"


class TrainingPairPool:
    """Fills up with the first batches, then swaps each batch for random stored pairs.

    Pairs stay in tensors on the device that trains. A swap moves those of the batch alone; which place holds
    which pair is known to the host.

    Args:
        queue_size: stored pairs; a multiple of the batch size.
        queue_params: store `degradation_params` with the images; off reproduces the published code.
    """

    def __init__(self, queue_size: int, *, seed: int = 0, queue_params: bool = True) -> None:
        self.queue_size = queue_size
        self.seed = seed
        self.queue_params = queue_params
        self.stored: dict[str, paddle.Tensor] = {}
        self.filled = 0
        self.places = np.arange(queue_size)  # of the pairs in their order
        self.swaps = 0

    @paddle.no_grad()
    def __call__(self, batch: Any) -> Any:
        """Swap the pairs of a batch: all its tensors, whose leading axis is that of the samples."""
        tensors = {
            name: value
            for name, value in batch.items()
            if isinstance(value, paddle.Tensor) and (self.queue_params or name != _PARAMETERS)
        }
        size = len(next(iter(tensors.values())))
        if self.queue_size % size:
            raise ConfigError(f"queue_size {self.queue_size} must be a multiple of batch_size {size}")
        if self.filled < self.queue_size:
            self._fill(tensors, size)
            return batch
        order = np.random.default_rng([self.seed, self.swaps]).permutation(self.queue_size)
        self.swaps += 1
        self.places = self.places[order]
        chosen = device_array(self.places[:size])
        for name, incoming in tensors.items():
            batch[name] = paddle.index_select(self.stored[name], chosen)
            paddle.scatter_(self.stored[name], chosen, incoming)
        return batch

    def _fill(self, tensors: Mapping[str, paddle.Tensor], size: int) -> None:
        """Store a batch, as far as there is room: a resumed run may have another batch size."""
        end = min(self.filled + size, self.queue_size)
        for name, incoming in tensors.items():
            if name not in self.stored:
                self.stored[name] = paddle.zeros([self.queue_size, *incoming.shape[1:]], incoming.dtype)
            self.stored[name][self.filled : end] = incoming[: end - self.filled]
        self.filled = end

    def state_dict(self) -> dict[str, np.ndarray]:
        """Contents as arrays, in their order."""
        order = self.places[: self.filled]
        state = {name: value.numpy()[order] for name, value in self.stored.items()}
        return {**state, "swaps": np.asarray([self.swaps], dtype=np.int64)}

    def set_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave."""
        self.swaps = int(state["swaps"][0])
        self.places = np.arange(self.queue_size)
        self.stored, self.filled = {}, 0
        contents = {name: value[: self.queue_size] for name, value in state.items() if name != "swaps"}
        for name, value in contents.items():
            missing = np.zeros((self.queue_size - len(value), *value.shape[1:]), value.dtype)
            self.stored[name] = paddle.to_tensor(np.concatenate([value, missing]))
            self.filled = len(value)
