"""Which sample comes when: a pure function of (seed, epoch, position), the same for any number of workers
and ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from paddle.io import BatchSampler


class EpochBatchSampler(BatchSampler):
    """Endless batches of (epoch, index) pairs.

    The global order of an epoch is a permutation drawn from (seed, epoch). Batch k of the run takes the next
    world x batch_size entries of the concatenated epochs, of which rank r gets every world-th. So the samples
    of a step do not depend on how many ranks share them, and a run resumes exactly after `start` samples,
    also with another batch size or number of ranks.

    Args:
        shuffle: off keeps the dataset's order.
        start: samples that all ranks together have already taken.
    """

    def __init__(
        self,
        *,
        length: int,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world = world
        self.start = start

    def order(self, epoch: int) -> np.ndarray:
        """Indices of one epoch."""
        if not self.shuffle:
            return np.arange(self.length)
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self.batch_size * self.world
        position = self.start
        epoch, order = -1, np.empty(0, dtype=np.int64)
        while True:
            batch = []
            for offset in range(self.rank, step, self.world):
                now, index = divmod(position + offset, self.length)
                if now != epoch:
                    epoch, order = now, self.order(now)
                batch.append((epoch, int(order[index])))
            yield batch
            position += step

    def __len__(self) -> int:
        """Batches per epoch; iteration itself does not end."""
        return max(1, self.length // (self.batch_size * self.world))
