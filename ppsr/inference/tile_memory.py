"""How large tiles may be: the memory that a backend takes per pixel, measured, against what there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppsr.accelerate.process import return_memory
from ppsr.errors import DataError
from ppsr.inference.backend import Backend, PaddleBackend, apply_backend
from ppsr.inference.tiling import Tiles, largest_tiles
from ppsr.memory import SHARE_OF_FREE, bytes_per_pixel, gpu_free, memory_budget, resident_memory, trim_heap

__all__ = ["TileMemory"]

_SHARE_OF_GPU = 0.8  # of a limit: workspaces come on top of what was measured
_AMPLE = 2  # kept memory has been up to so many times what the arrays need
_SPARE = 1.25  # without a limit freed memory is kept, and large tiles leave more holes than small ones


@dataclass
class TileMemory:
    """The memory of one backend, measured when it is first needed."""

    backend: Backend
    _per_pixel: float | None = None
    _returns: bool = False  # memory is given back to the system as soon as it is free
    _kept: int = 0  # bytes that measuring left behind and larger tiles use again

    def largest_tiles(
        self, size: tuple[int, int, int], *, limit: int | None, ensemble: bool, overlap: int | None
    ) -> tuple[Tiles, int]:
        """The largest tiles that fit, and the bytes that are predicted for them.

        Args:
            size: height, width and channels of the image.
            limit, ensemble, overlap: `max_memory`, `ensemble` and `overlap` of `Upscaler`.

        Raises:
            DataError: memory is short even for the smallest tile, or the process already takes all of it.
        """
        free = gpu_free() if isinstance(self.backend, PaddleBackend) else None
        device = None
        if free is not None:
            share = SHARE_OF_FREE if limit is None else _SHARE_OF_GPU
            device = round(share * min(limit or free, free))
        if limit is not None and device is None and not self._returns:
            if self._is_ample(size, limit, ensemble, overlap):
                return self._fit(size, limit, ensemble, overlap)
            return_memory()
            self._returns, self._per_pixel = True, None
        return self._fit(size, limit, ensemble, overlap, device)

    def _is_ample(self, size: tuple[int, int, int], limit: int, ensemble: bool, overlap: int | None) -> bool:
        """Whether a limit leaves room to compute the whole image without giving memory back, which would take
        up to twice the time."""
        try:
            tiles, memory = self._fit(size, limit, ensemble, overlap)
            return not tiles.size and _AMPLE * memory <= memory_budget(limit)
        except DataError:
            return False

    def _fit(
        self,
        size: tuple[int, int, int],
        limit: int | None,
        ensemble: bool,
        overlap: int | None,
        device: int | None = None,
    ) -> tuple[Tiles, int]:
        # before the budget: it leaves memory behind
        per_pixel = self.per_pixel(limit=limit, ensemble=ensemble, gpu=device is not None)
        tiles, memory = largest_tiles(
            self.backend.info,
            size,
            per_pixel=per_pixel * (_SPARE if limit is None else 1),
            budget=memory_budget(limit if device is None else None) + self._kept,
            device_budget=device,
            overlap=overlap,
        )
        return tiles, max(0, memory - self._kept)

    def per_pixel(self, *, limit: int | None = None, ensemble: bool = False, gpu: bool = False) -> float:
        """Bytes that the network takes per LR pixel, measured once on single passes: the eight of an ensemble
        take the memory of one and their sum."""
        if self._per_pixel is None:
            info, budget = self.backend.info, None
            batch = info.channels == 1 and not info.luma  # as an RGB image is handed over
            if limit is not None and not gpu:
                budget = memory_budget(limit) // (1 if self._returns else _AMPLE)

            def run(side: int) -> None:
                self._kept = resident_memory()
                shape = (3, 1) if batch else (1, max(3, info.channels))
                for _ in range(2 if self._returns else 1):  # a first pass lacks what it leaves behind
                    apply_backend(self.backend, np.zeros((*shape, side, side), np.float32))

            self._per_pixel = bytes_per_pixel(run, info.size_multiple, gpu=gpu, budget=budget)
            trim_heap()
            self._kept = 0 if gpu else max(0, resident_memory() - self._kept)
            if ensemble:
                self._per_pixel += 3 * 3 * 4 * info.scale**2  # the sum, a turned result, their sum
        return self._per_pixel
