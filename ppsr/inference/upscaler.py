"""Upscaling pictures with a network: gray, colour and alpha, of any size, in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from paddle import nn

from ppsr.errors import ConfigError, DataError, did_you_mean
from ppsr.inference.backends.base import Backend, self_ensemble, super_resolve
from ppsr.inference.backends.choose import open_backend
from ppsr.inference.backends.dygraph import PaddleBackend
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.degradation import check_degradation, predict_degradation
from ppsr.inference.exported import Export
from ppsr.inference.published_tiles import (
    PUBLISHED_MODES,
    average_tiles,
    count_tiles,
    half_tiles,
    paste_tiles,
)
from ppsr.inference.rows import resize_rows
from ppsr.inference.tiling import Tiler, Tiles, as_float, largest_tiles, make_tiles
from ppsr.inference.transparent import Filled
from ppsr.memory import (
    available_memory,
    bytes_per_pixel,
    gpu_free,
    resident_memory,
    trim_heap,
)

__all__ = ["SMALLEST_OUTSCALE", "TILE_MODES", "Plan", "Upscaler", "quantise"]

logger = logging.getLogger(__name__)

TILE_MODES = ("blend", *PUBLISHED_MODES)
SMALLEST_OUTSCALE = 1 / 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_SHARE_OF_FREE = 0.7
_SHARE_OF_LIMIT = 0.92  # predictions have been up to 6 % too low
_SMALL = 128 * 128  # pixels of a picture that is never worth measuring for
_PUBLISHED_PAD = 32


@dataclass(frozen=True)
class Plan:
    """How one picture will be computed.

    Attributes:
        tiles: how it is cut; in a published tile mode by the loop of that mode.
        count: number of tiles.
        memory: bytes predicted for it beside the process as it is; None: not predicted.
    """

    tiles: Tiles
    count: int
    memory: int | None

    def __str__(self) -> str:
        memory = "" if self.memory is None else f", {self.memory / 1e6:.0f} MB predicted"
        if not self.tiles.size:
            return f"whole picture{memory}"
        return f"{self.count} tiles of {self.tiles.size} with overlap {self.tiles.overlap}{memory}"


class Upscaler:
    """A network with the steps around it.

    Args:
        network: an LR -> SR network, the path of an exported one (prefix, or folder), or an open backend.
        backend: "paddle", "inference", "onnxruntime", "openvino", "tensorrt", or "auto" for the fastest that
            is installed and right; None: a network as it is, an export by "auto".
        options: device, precision and threads of the backend.
        tile: side of a tile in LR pixels; 0: never cut; None: as large as memory allows.
        overlap: LR pixels that a tile is read wider on each side; None: from the network.
        max_memory: bytes that the whole process may take, on a GPU those of its memory; None: 70 % of what
            is free.
        tile_mode: "blend", or a published one: "published", "published-inference", "published-onnx".
        ensemble: mean over the eight flips and turns.
        outscale: size of the result / size of the picture, 1/16 to 64; None: the network's scale.
        half: half precision where the network and the device allow it; short for that precision in
            `options`.
        degradation: parameters that steer CDDNet or DASR, for all images; None: predicted from each image.
        halve: compute a tile for which memory is short again in halves; False: that is an error.

    Attributes:
        scale: of the network.
        backend: what computes.

    Raises:
        ConfigError: an option has a value that is not allowed, or a package is missing.
        DataError: an export is incomplete, or this machine computes it wrongly.
    """

    def __init__(
        self,
        network: nn.Layer | Backend | str | Path,
        *,
        backend: str | None = None,
        options: BackendOptions | None = None,
        tile: int | None = None,
        overlap: int | None = None,
        max_memory: int | None = None,
        tile_mode: str = "blend",
        ensemble: bool = False,
        outscale: float | None = None,
        half: bool = False,
        degradation: Sequence[float] | np.ndarray | None = None,
        halve: bool = True,
    ) -> None:
        if tile_mode not in TILE_MODES:
            raise ConfigError(f"tile mode '{tile_mode}' is unknown; {did_you_mean(tile_mode, TILE_MODES)}")
        if outscale is not None and not SMALLEST_OUTSCALE <= outscale <= 64:
            raise ConfigError(f"outscale is 1/16 to 64, got {outscale}")
        for name, value in (("tile", tile), ("overlap", overlap)):
            if value is not None and (not isinstance(value, int) or value < 0):
                raise ConfigError(f"{name} is a whole number of LR pixels, 0 or more, got {value!r}")
        if max_memory is not None and max_memory <= 0:
            raise ConfigError(f"max_memory is a positive number of bytes, got {max_memory}")
        if ensemble and tile_mode != "blend":
            raise ConfigError("the published tile modes have no self-ensemble; use tile mode blend")
        if max_memory is not None and tile_mode != "blend":
            raise ConfigError(
                "the published tile modes keep to no limit of memory; give a tile instead of it, or "
                "use tile mode blend"
            )
        if isinstance(network, (str, Path)):
            _require_open_sizes(Export(network))
        if isinstance(network, (nn.Layer, str, Path)):
            options = options or BackendOptions()
            options = replace(options, precision="fp16") if half else options
            self.backend: Backend = open_backend(network, backend, options, tile=tile)
        elif backend is not None or options is not None or half:
            raise ConfigError("an open backend has its own precision and options; give those when opening it")
        else:
            self.backend = network
        facts = self.backend.facts
        if facts.channels not in (1, 3):
            raise ConfigError(f"{facts.network} works on {facts.channels} channels; pictures have 1 or 3")
        self.scale = facts.scale
        self.tile = tile
        self.overlap = overlap
        self.max_memory = max_memory
        self.tile_mode = tile_mode
        self.ensemble = ensemble
        self.outscale = outscale
        self.halve = halve
        self.degradation: np.ndarray | None = None
        if degradation is not None:
            self.degradation = check_degradation(degradation, facts.degradation_params, facts.network)
        self._per_pixel: float | None = None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result."""
        if self.outscale is None:
            return height * self.scale, width * self.scale
        return max(1, int(height * self.outscale + 0.5)), max(1, int(width * self.outscale + 0.5))

    def __call__(self, image: np.ndarray, *, plan: Plan | None = None) -> np.ndarray:
        """Upscale a picture in memory.

        Args:
            image: H x W, or H x W x 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, uint16, or
                float in [0, 1].
            plan: from `plan`, for many pictures of one size; None: made here.

        Returns:
            The same kind of picture, larger; integers rounded, floats as float32 in [0, 1].

        Raises:
            DataError: not such a picture, the network gave NaN or infinity, or memory is short.
        """
        if not isinstance(image, np.ndarray):
            raise DataError(
                f"a picture is a numpy array, got {type(image).__name__}; ppsr.imaging.read_image reads one"
            )
        pixels = image[..., None] if image.ndim == 2 else image
        result: np.ndarray | None = None
        row = 0
        for band in self.bands(pixels, plan=plan):
            if result is None:
                size = self.size(*pixels.shape[:2])
                result = np.empty((*size, pixels.shape[2]), image.dtype if image.dtype.kind == "u" else "f4")
            result[row : row + len(band)] = quantise(band, result.dtype)
            row += len(band)
        assert result is not None
        assert row == len(result)
        return result[..., 0] if image.ndim == 2 else result

    def plan(self, height: int, width: int, channels: int = 3) -> Plan:
        """How a picture of this size will be computed, decided before it is.

        Raises:
            DataError: memory is short even for the smallest tile, or the process already takes all of it.
        """
        facts, memory = self.backend.facts, None
        if self.tile_mode != "blend":
            tiles = Tiles(self.tile or 0, self._pad)
            common = {"window": facts.size_multiple, "tile": tiles.size, "overlap": tiles.overlap}
            return Plan(tiles, count_tiles(self.tile_mode, height, width, **common), None)
        tiles = make_tiles(facts, self.tile or 0, self.overlap)
        if self.tile is None and (height * width > _SMALL or self.max_memory is not None):
            device = self._device_budget()
            per_pixel = self._measured(gpu=device is not None)  # before the budget: it leaves memory behind
            budget = self._budget(self.max_memory if device is None else None)
            if budget is not None:
                tiles, memory = largest_tiles(
                    facts,
                    height,
                    width,
                    channels,
                    per_pixel=per_pixel,
                    budget=budget,
                    device_budget=device,
                    overlap=self.overlap,
                )
        tiles = self._within_engine(tiles, height, width)
        return Plan(tiles, self._tiler(tiles).count(height, width), memory)

    def _within_engine(self, tiles: Tiles, height: int, width: int) -> Tiles:
        """Smaller tiles where the backend was built for sides up to a limit.

        Raises:
            ConfigError: the limit leaves nothing beside the overlap.
        """
        limit = getattr(self.backend, "largest_side", None)
        read = tiles.size + 2 * tiles.overlap if tiles.size else max(height, width)
        if limit is None or min(read, max(height, width)) <= limit:
            return tiles
        facts = self.backend.facts
        reach = make_tiles(facts, limit, self.overlap)
        inner = limit - 2 * reach.overlap - 2 * reach.fade  # the last tile of a row may be wider by two fades
        if inner < max(2 * reach.fade, facts.size_multiple):
            raise ConfigError(
                f"backend {self.backend.name} takes sides up to {limit}, which twice the overlap "
                f"{reach.overlap} fills; give a smaller overlap or open it for larger sides"
            )
        return make_tiles(facts, inner, self.overlap)

    def predict_degradation(self, pixels: np.ndarray) -> np.ndarray | None:
        """The degradation parameters with which an image is upscaled; None: the network takes none.

        The predictor sees the whole image, whatever the tiles; alpha is left out.

        Args:
            pixels: H x W x C as `__call__` takes them.

        Returns:
            (degradation_params,) float32: those that were given, else those that the network predicts.
        """
        facts = self.backend.facts
        if self.degradation is not None or not facts.degradation_params:
            return self.degradation
        readable = _readable(pixels)[0]
        colours = 1 if pixels.shape[2] < 3 else 3

        def read(rows: slice, columns: slice) -> np.ndarray:
            part = as_float(readable[rows, columns])[..., :colours] * np.float32(facts.rgb_range)
            if facts.channels == 1 < colours:
                part = (part @ _LUMA)[..., None]
            planes = part.transpose(2, 0, 1)[None]
            return np.broadcast_to(planes, (1, facts.channels, *planes.shape[2:]))

        return predict_degradation(self.backend, read, *pixels.shape[:2])

    @property
    def _pad(self) -> int:
        """The overlap of the published tile modes."""
        return _PUBLISHED_PAD if self.overlap is None else self.overlap

    def _tiler(
        self, tiles: Tiles, degradation: np.ndarray | None = None, on_tile: Callable[[], None] | None = None
    ) -> Tiler:
        blend = self.tile_mode == "blend"  # the other modes cut the whole picture that they are given
        return Tiler(
            partial(self._planes, degradation=degradation, on_tile=None if blend else on_tile),
            scale=self.scale,
            multiple=self.backend.facts.size_multiple,
            tiles=tiles if blend else Tiles(),
            halves=blend and self.halve,
            frugal=self.max_memory is not None,
            on_tile=on_tile if blend else None,
        )

    @staticmethod
    def _budget(limit: int | None) -> int | None:
        """Bytes that may be taken beside those the process has; None where the system does not tell.

        Raises:
            DataError: the process already takes more than the limit.
        """
        trim_heap()
        if limit is not None:
            used = resident_memory()
            usable = round(_SHARE_OF_LIMIT * limit)
            if used is not None and used >= usable:
                raise DataError(
                    f"the process already takes {used / 1e6:.0f} MB, of a limit of {limit / 1e6:.0f} MB "
                    f"{usable / 1e6:.0f} MB are used; allow more memory"
                )
            return None if used is None else usable - used
        free = available_memory()
        return None if free is None else round(_SHARE_OF_FREE * free)

    def _device_budget(self) -> int | None:
        """Bytes of the GPU's memory that the network may take; None where it runs on the processor."""
        free = gpu_free() if isinstance(self.backend, PaddleBackend) else None
        if free is None:
            return None
        return round(_SHARE_OF_FREE * free) if self.max_memory is None else min(self.max_memory, free)

    def _measured(self, *, gpu: bool = False) -> float:
        """Bytes that the network takes per LR pixel, measured once."""
        if self._per_pixel is None:
            single = copy(self)
            single.ensemble = False  # eight passes take the time of eight and the memory of one and their sum

            def run(side: int) -> None:
                single._planes(np.zeros((side, side, 3), np.float32))

            self._per_pixel = bytes_per_pixel(run, self.backend.facts.size_multiple, gpu=gpu)
            if self.ensemble:
                self._per_pixel += 3 * 3 * 4 * self.scale**2  # the sum, a turned result, their sum
        return self._per_pixel

    def bands(
        self,
        pixels: np.ndarray,
        *,
        plan: Plan | None = None,
        degradation: np.ndarray | None = None,
        on_tile: Callable[[], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """Finished rows of the result from top to bottom, (rows, W', C) float32 in [0, 1].

        Args:
            pixels: H x W x C as `__call__` takes them.
            plan: from `plan`; None: made here.
            degradation: from `predict_degradation`; None: made here.
            on_tile: called after each tile.

        Raises:
            DataError: as `__call__`.
        """
        _check(pixels)
        height, width, channels = pixels.shape
        plan = plan or self.plan(height, width, channels)
        logger.debug("%d x %d: %s", width, height, plan)
        readable, flat_alpha = _readable(pixels)
        if degradation is None:
            degradation = self.predict_degradation(pixels)
        bands = self._tiler(plan.tiles, degradation, on_tile).bands(readable)
        old, new = (height * self.scale, width * self.scale), self.size(height, width)
        for band in resize_rows(bands, old, new) if new != old else bands:
            if flat_alpha is None:
                yield band
            else:
                yield np.concatenate([band, np.full_like(band[..., :1], flat_alpha)], axis=2)

    def _planes(
        self,
        tile: np.ndarray,
        *,
        degradation: np.ndarray | None = None,
        on_tile: Callable[[], None] | None = None,
    ) -> np.ndarray:
        """A tile of 1 to 4 channels: colours in one pass, alpha in its own, which `on_tile` is not told
        of."""
        if tile.shape[2] in (1, 3):
            return self._colours(tile, degradation, on_tile)
        colours = self._colours(tile[..., :-1], degradation, on_tile)
        return np.concatenate([colours, self._colours(tile[..., -1:], degradation, None)], axis=2)

    def _colours(
        self, tile: np.ndarray, degradation: np.ndarray | None, on_tile: Callable[[], None] | None
    ) -> np.ndarray:
        """h x w x 1 or 3 in [0, 1] through a network of 1 or 3 channels; clipped to [0, 1].

        One for luma gets gray as RGB: its values are 16..235 of 255, those of a gray picture 0..255."""
        planes = tile.transpose(2, 0, 1)  # C, h, w
        facts = self.backend.facts
        gray = facts.channels == 1 and not facts.luma  # then the colours are a batch
        lq = planes[:, None] if gray else np.broadcast_to(planes[None], (1, 3, *planes.shape[1:]))
        lq = np.ascontiguousarray(lq)
        if self.tile_mode != "blend":
            sr = self._published(lq, degradation, on_tile)
        else:
            sr = (self_ensemble if self.ensemble else super_resolve)(self.backend, lq, degradation)
        sr = (sr[:, 0] if gray else sr[0]).transpose(1, 2, 0)
        np.clip(sr, 0, 1, out=sr)
        return (sr @ _LUMA)[..., None] if tile.shape[2] < sr.shape[2] else sr

    def _published(
        self, lq: np.ndarray, degradation: np.ndarray | None, on_tile: Callable[[], None] | None
    ) -> np.ndarray:
        """By a published tile mode.

        Raises:
            DataError: the network gave NaN or infinity.
        """
        facts = self.backend.facts
        pad = self._pad

        def run(part: np.ndarray) -> np.ndarray:
            sr = super_resolve(self.backend, part, degradation)
            if on_tile is not None:
                on_tile()
            return sr

        common = {"scale": facts.scale, "window": facts.size_multiple, "tile": self.tile or 0}
        if self.tile_mode == "published":
            return paste_tiles(run, lq, **common, pad=pad)
        if self.tile_mode == "published-onnx":
            return half_tiles(run, lq, **common, pad=pad)
        return average_tiles(run, lq, **common, overlap=pad)


def _require_open_sizes(export: Export) -> None:
    """Raises ConfigError for an export that takes pictures of one size alone."""
    if export.shape[2] is not None or export.shape[3] is not None:
        raise ConfigError(
            f"{export.prefix} was exported for the input shape {list(export.shape)}; to upscale pictures of "
            "any size, export it with open sizes (-1)"
        )


def _readable(pixels: np.ndarray) -> tuple[np.ndarray | Filled, float | None]:
    """An image as tiles read it, and its alpha where that is the same everywhere and needs no network."""
    if pixels.shape[2] in (1, 3):
        return pixels, None
    alpha = pixels[..., -1]
    if alpha.min() == alpha.max():  # nothing to compute, and it stays exact
        return pixels[..., :-1], as_float(alpha[:1, :1]).item()
    return (pixels if alpha.min() else Filled(pixels)), None


def _check(pixels: np.ndarray) -> None:
    """Raise for an array that is no picture.

    Raises:
        DataError: wrong shape, type or values.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise DataError(f"a picture is H x W x 1, 2, 3 or 4, got an array of shape {pixels.shape}")
    if pixels.dtype.kind != "f" and pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"samples are uint8, uint16 or float in [0, 1], got {pixels.dtype}")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError("the picture has values that are not finite")


def quantise(band: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """[0, 1] -> uint8 or uint16, rounded half to even; float32 as it is."""
    if dtype.kind == "f":
        return band
    return np.rint(band * np.float32(np.iinfo(dtype).max)).astype(dtype)
