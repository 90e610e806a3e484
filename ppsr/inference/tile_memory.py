"""How large tiles may be: the memory that a backend takes per pixel, measured, against what there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppsr.accelerate.process import keep_memory, return_memory
from ppsr.inference.backends.base import Backend, PaddleBackend, apply_backend
from ppsr.memory import SHARE_OF_FREE, bytes_per_pixel, gpu_free, memory_budget, resident_memory, trim_heap
from ppsr.tiling import Tiles, largest_tiles

_SHARE_OF_GPU = 0.8  # of a limit: workspaces come on top of what was measured
_HEADROOM_FACTOR = 2  # retained memory has been up to so many times what the arrays need
# without a limit freed memory is retained, and large tiles leave more holes than small ones
_FRAGMENTATION_FACTOR = 1.25


@dataclass
class TileMemory:
    """The memory of one backend, measured when it is first needed."""

    backend: Backend
    _per_pixel: float | None = None
    _retained_bytes: int = 0  # bytes that measuring left behind and larger tiles use again

    def largest_tiles(
        self,
        size: tuple[int, int, int],
        *,
        limit: int | None,
        overlap: int | None,
        tile: int | None,
        self_ensemble: bool,
    ) -> tuple[Tiles, int]:
        """The largest tiles that fit, and the bytes that are predicted for them.

        Args:
            size: height, width and channels of the image.
            limit: `max_memory` of `Upscaler`, which has the other arguments too.

        Raises:
            DataError: memory is short even for the smallest tile, or the process already takes all of it.
        """
        free = gpu_free() if isinstance(self.backend, PaddleBackend) else None
        device = None
        if free is not None:
            share = SHARE_OF_FREE if limit is None else _SHARE_OF_GPU
            device = round(share * min(limit or free, free))
        careful = limit is not None and device is None
        if careful:
            return_memory()
        # before the budget: it leaves memory behind
        per_pixel = self.per_pixel(limit=limit, self_ensemble=self_ensemble, gpu=device is not None)
        tiles, memory = largest_tiles(
            self.backend.info,
            size,
            per_pixel=per_pixel * (_FRAGMENTATION_FACTOR if limit is None else 1),
            budget=memory_budget(limit if device is None else None) + self._retained_bytes,
            device_budget=device,
            overlap=overlap,
            tile=tile,
        )
        memory = max(0, memory - self._retained_bytes)
        if careful and not tiles.size and _HEADROOM_FACTOR * memory <= memory_budget(limit):
            keep_memory()  # to return it would take up to twice the time
        return tiles, memory

    def per_pixel(self, *, limit: int | None = None, self_ensemble: bool = False, gpu: bool = False) -> float:
        """Bytes that the network takes per LR pixel, measured once on single passes: the eight of a
        self-ensemble take the memory of one and their sum."""
        if self._per_pixel is None:
            info, budget = self.backend.info, None
            batch = info.channels == 1 and not info.luma  # as an RGB image is handed over
            if limit is not None and not gpu:
                budget = memory_budget(limit)

            def run(side: int) -> None:
                self._retained_bytes = resident_memory()
                shape = (3, 1) if batch else (1, max(3, info.channels))
                for _ in range(1 if limit is None else 2):  # a first pass lacks what it leaves behind
                    apply_backend(self.backend, np.zeros((*shape, side, side), np.float32))

            self._per_pixel = bytes_per_pixel(run, info.size_multiple, gpu=gpu, budget=budget)
            trim_heap()
            self._retained_bytes = 0 if gpu else max(0, resident_memory() - self._retained_bytes)
            if self_ensemble:
                self._per_pixel += 3 * 3 * 4 * info.scale**2  # the sum, a turned result, their sum
        return self._per_pixel
