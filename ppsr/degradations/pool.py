"""Training-pair pool: pairs of many batches are mixed, so that one batch holds many degradations.

Real-ESRGAN (Wang et al., ICCVW 2021). The published pool of DASR keeps pictures only, so that the degradation
parameters no longer belong to them; here every tensor of a pair travels together unless `queue_params` is
off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from ppsr.errors import ConfigError

__all__ = ["TrainingPairPool"]

_PARAMETERS = "degradation_params"


class TrainingPairPool:
    """Fills up with the first batches, then swaps each batch for random stored pairs.

    Args:
        queue_size: stored pairs; a multiple of the batch size.
        seed: of the permutations.
        queue_params: store `degradation_params` with the pictures; off reproduces the published code.
    """

    def __init__(self, queue_size: int, *, seed: int = 0, queue_params: bool = True) -> None:
        self.queue_size = queue_size
        self.seed = seed
        self.queue_params = queue_params
        self.stored: dict[str, list[np.ndarray]] = {}
        self.swaps = 0

    def __call__(self, batch: Any) -> Any:
        """Swap the pairs of a batch: all its tensors, whose leading axis is that of the samples."""
        names = [
            name
            for name, value in batch.items()
            if isinstance(value, (paddle.Tensor, np.ndarray)) and (self.queue_params or name != _PARAMETERS)
        ]
        arrays = {name: np.asarray(batch[name]) for name in names}
        size = len(arrays[names[0]])
        if self.queue_size % size:
            raise ConfigError(f"queue_size {self.queue_size} must be a multiple of batch_size {size}")
        if len(self.stored.get(names[0], [])) < self.queue_size:
            for name in names:
                self.stored.setdefault(name, []).extend(arrays[name])
            return batch
        order = np.random.default_rng([self.seed, self.swaps]).permutation(self.queue_size)
        self.swaps += 1
        self.swap(arrays, order)
        for name in names:
            batch[name] = paddle.to_tensor(arrays[name])
        return batch

    def swap(self, arrays: dict[str, np.ndarray], order: np.ndarray) -> None:
        """Shuffle the stored pairs by `order`, then exchange the first ones with the arrays in place."""
        for name, incoming in arrays.items():
            stored = [self.stored[name][i] for i in order]
            outgoing = np.stack(stored[: len(incoming)])
            stored[: len(incoming)] = list(incoming.copy())
            incoming[...] = outgoing
            self.stored[name] = stored

    def state_dict(self) -> dict[str, np.ndarray]:
        """Contents as arrays."""
        state = {name: np.stack(items) for name, items in self.stored.items()}
        return {**state, "swaps": np.asarray([self.swaps], dtype=np.int64)}

    def set_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Put back what `state_dict` gave."""
        self.swaps = int(state["swaps"][0])
        self.stored = {name: list(value) for name, value in state.items() if name != "swaps"}
