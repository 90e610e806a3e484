"""An upscaler that can be stopped, asked how far it is, and looked over the shoulder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ppsr.inference.backend import Backend
from ppsr.inference.upscaler import TilePlan, Upscaler
from ppsr.serve.limits import Watch
from ppsr.serve.preview import Preview

__all__ = ["LARGEST_TILE", "SMALLEST_TILE", "WatchedUpscaler"]

SMALLEST_TILE, LARGEST_TILE = 16, 1024


class WatchedUpscaler(Upscaler):
    """An upscaler whose tiles are bounded, counted and shown. Used by one thread.

    Attributes:
        watch: of the present image.
        largest: side of its tiles.
        preview: filled if `wants_preview`.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.watch = Watch()
        self.largest = LARGEST_TILE
        self.wants_preview = False
        self.preview: Preview | None = None

    @property
    def factor(self) -> float:
        """Size of the result / size of the image."""
        return self.scale if self.outscale is None else self.outscale

    def plan(self, height: int, width: int, channels: int = 3) -> TilePlan:
        """As memory allows, and no larger than the tile that the client chose."""
        planned = super().plan(height, width, channels)
        if 0 < planned.tiles.size <= self.largest or max(height, width) <= self.largest:
            return planned
        self.tile = self.largest
        try:
            return super().plan(height, width, channels)
        finally:
            self.tile = None

    def bands(
        self,
        pixels: np.ndarray,
        *,
        plan: TilePlan | None = None,
        degradation: np.ndarray | None = None,
        on_tile: Callable[[], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """See `Upscaler.bands`.

        Raises:
            RefusedError: the time is over, or the client has gone.
        """
        plan = plan or self.plan(*pixels.shape)
        self.watch.total = plan.count
        self.watch.check()
        self.preview = Preview(pixels, self.size(*pixels.shape[:2])) if self.wants_preview else None
        for band in super().bands(
            pixels, plan=plan, degradation=degradation, on_tile=partial(self._step, on_tile)
        ):
            if self.preview is not None:
                self.preview.take(band)
            yield band

    def _step(self, on_tile: Callable[[], None] | None) -> None:
        if on_tile is not None:
            on_tile()
        self.watch.step()
