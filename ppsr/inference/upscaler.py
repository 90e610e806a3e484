"""Upscaling images with a network: gray, colour, alpha and more bands, of any size, in bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import cast

import numpy as np
from paddle import nn

from ppsr.errors import ConfigError, DataError, did_you_mean
from ppsr.generators.network_info import NetworkInfo
from ppsr.imaging.arrays import check_samples, quantise
from ppsr.imaging.luma import GRAY_WEIGHTS
from ppsr.imaging.resize import resize_rows
from ppsr.inference.backends.base import Backend, apply_backend
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.backends.select import open_backend
from ppsr.inference.degradation import check_degradation, predict_degradation
from ppsr.inference.export.artifact import Export
from ppsr.inference.network import load_source
from ppsr.inference.published_tiles import PUBLISHED_MODES, PublishedTiles
from ppsr.inference.tile_memory import TileMemory
from ppsr.inference.transparent import has_alpha, readable_pixels
from ppsr.tiling import TilePlan, Tiler, Tiles, count_tiles, make_tiles

__all__ = ["TILE_MODES", "TilePlan", "Upscaler"]

logger = logging.getLogger(__name__)

TILE_MODES = ("blend", *PUBLISHED_MODES)
_SMALLEST_OUTSCALE = 1 / 16
_SMALL = 128 * 128  # pixels of an image that is never worth measuring for
_PUBLISHED_PAD = 32


class Upscaler:
    """A network with the steps around it: weights in, larger images out.

    Example:
        >>> upscaler = ppsr.Upscaler("net.pth")
        >>> sr = upscaler(image)  # H x W x 3 uint8 -> sH x sW x 3 uint8

    Args:
        network: weights (a file, the folder of a training run, a name of `ppsr models list`; two files where
            generator and predictor are apart), an exported network (prefix or folder), a network, or an open
            backend.
        backend: "paddle", "inference", "onnxruntime", "openvino", "tensorrt", "ncnn", or "auto" for the
            fastest installed one that passes verification; None: a network as it is, an export by "auto".
        options: device, precision and threads of the backend.
        tile: side of a tile in LR pixels, with `max_memory` its largest; 0: never cut; None: as large as
            memory allows.
        overlap: LR pixels by which a tile is extended on each side; None: from the network.
        max_memory: bytes that the whole process may take, on a GPU those of its memory; None: 70 % of what
            is free.
        tile_mode: "blend", or a published one: "published", "published-inference", "published-onnx".
        self_ensemble: average over the eight flips and rotations.
        outscale: size of the result / size of the image, 1/16 to 64; None: the network's scale.
        degradation: parameters that steer CDDNet or DASR, for all images; None: predicted from each image.

        device: cpu, gpu or gpu:N; short for that device in `options`.

    Raises:
        ConfigError: an option has a value that is not allowed, or a package is missing.
        DataError: an export is incomplete, or this machine computes it wrongly.
    """

    def __init__(
        self,
        network: nn.Layer | Backend | str | Path | Sequence[str | Path],
        *,
        backend: str | None = None,
        options: BackendOptions | None = None,
        tile: int | None = None,
        overlap: int | None = None,
        max_memory: int | None = None,
        tile_mode: str = "blend",
        self_ensemble: bool = False,
        outscale: float | None = None,
        degradation: Sequence[float] | np.ndarray | None = None,
        device: str | None = None,
    ) -> None:
        _check_options(tile, overlap, max_memory, tile_mode, outscale)
        if device is not None:
            options = replace(options or BackendOptions(), device=device)
        self.backend = _open(network, backend, options, tile)
        if tile_mode != "blend":  # the whole image goes to a backend that cuts it
            pad = _PUBLISHED_PAD if overlap is None else overlap
            self.backend = PublishedTiles(self.backend, tile_mode, tile or 0, pad)
        info = self.backend.info
        self.scale = info.scale
        self.tile, self.overlap, self.tile_mode = tile, overlap, tile_mode
        self.retile_on_oom = True  # evaluation cuts only as it was asked to
        self.max_memory, self.self_ensemble, self.outscale = max_memory, self_ensemble, outscale
        self.degradation: np.ndarray | None = None
        if degradation is not None:
            self.degradation = check_degradation(degradation, info.degradation_params, info.network)
        self._memory = TileMemory(self.backend)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result."""
        if self.outscale is None:
            return height * self.scale, width * self.scale
        return max(1, int(height * self.outscale + 0.5)), max(1, int(width * self.outscale + 0.5))

    def __call__(self, image: np.ndarray, *, plan: TilePlan | None = None) -> np.ndarray:
        """Upscale an image in memory.

        Args:
            image: H x W, or H x W x 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, uint16, or
                float in [0, 1]. For a network of other channels H x W x these.
            plan: from `plan`, for many images of one size; None: made here.

        Returns:
            The same kind of image, upscaled; integers rounded, floats as float32 in [0, 1].

        Raises:
            DataError: not such an image, the result has NaN or infinity, or memory is short.
        """
        if not isinstance(image, np.ndarray):
            raise DataError(
                f"an image must be a numpy array, got {type(image).__name__}; numpy.asarray makes one of a "
                "PIL image, ppsr.imaging.read_image of a file"
            )
        image = np.asarray(image)  # subclasses index in ways of their own
        pixels = image[..., None] if image.ndim == 2 else image
        _check(pixels, self.backend.info)
        dtype = image.dtype if image.dtype.kind == "u" else np.dtype("f4")
        result = np.empty((*self.size(*pixels.shape[:2]), pixels.shape[2]), dtype)
        row = 0
        for band in self.bands(pixels, plan=plan):
            result[row : row + len(band)] = quantise(band, dtype)
            row += len(band)
        assert row == len(result)
        return result[..., 0] if image.ndim == 2 else result

    def plan(self, height: int, width: int, channels: int = 3) -> TilePlan:
        """How an image of this size will be computed, decided before it is.

        Raises:
            DataError: memory is short even for the smallest tile, or the process already takes all of it.
        """
        info, memory = self.backend.info, None
        if self.tile_mode != "blend":
            return TilePlan(Tiles(), 1, None)
        tiles = make_tiles(info, self.tile or 0, self.overlap)
        if self.max_memory is not None or (self.tile is None and height * width > _SMALL):
            tiles, memory = self._memory.largest_tiles(
                (height, width, channels),
                limit=self.max_memory,
                overlap=self.overlap,
                tile=self.tile,
                self_ensemble=self.self_ensemble,
            )
        tiles = self._within_engine(tiles, max(height, width))
        return TilePlan(tiles, count_tiles(height, width, tiles, info.size_multiple), memory)

    def _within_engine(self, tiles: Tiles, longest: int) -> Tiles:
        """Smaller tiles where the backend was built for sides up to a limit."""
        limit = getattr(self.backend, "largest_side", None)
        read = min(tiles.size + 2 * tiles.overlap if tiles.size else longest, longest)
        if limit is None or read <= limit:
            return tiles
        inner = limit - 2 * tiles.overlap - 2 * tiles.fade  # the last tile of a row may be wider by two fades
        if inner < max(2 * tiles.fade, self.backend.info.size_multiple):
            raise ConfigError(
                f"backend {self.backend.name} takes sides up to {limit}, which twice the overlap "
                f"{tiles.overlap} fills; give a smaller overlap or open it for larger sides"
            )
        return make_tiles(self.backend.info, inner, self.overlap)

    def predict_degradation(self, pixels: np.ndarray) -> np.ndarray | None:
        """The degradation parameters of an image: those that were given, else predicted from all of it.

        Returns:
            (degradation_params,) float32, the same for all tiles; None: the network takes none.
        """
        info = self.backend.info
        if self.degradation is not None or not info.degradation_params:
            return self.degradation
        _check(pixels, info)
        readable = readable_pixels(pixels, info.channels)[0]
        return predict_degradation(self.backend, readable, pixels.shape[2] - has_alpha(pixels, info.channels))

    def bands(
        self,
        pixels: np.ndarray,
        *,
        plan: TilePlan | None = None,
        degradation: np.ndarray | None = None,
        on_tile: Callable[[], None] = lambda: None,
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
        _check(pixels, self.backend.info)
        height, width, channels = pixels.shape
        plan = plan or self.plan(height, width, channels)
        logger.debug("%d x %d: %s", width, height, plan)
        readable, flat_alpha = readable_pixels(pixels, self.backend.info.channels)
        if degradation is None:
            degradation = self.predict_degradation(pixels)
        tiler = Tiler(
            run=partial(self._tile, degradation=degradation),
            scale=self.scale,
            multiple=self.backend.info.size_multiple,
            tiles=plan.tiles,
            retile_on_oom=self.retile_on_oom,
            limit_memory=self.max_memory is not None,
            on_tile=on_tile,
        )
        bands = tiler.bands(readable)
        old, new = (height * self.scale, width * self.scale), self.size(height, width)
        for band in resize_rows(bands, old, new) if new != old else bands:
            if flat_alpha is None:
                yield band
            else:
                yield np.concatenate([band, np.full_like(band[..., :1], flat_alpha)], axis=2)

    def _tile(self, tile: np.ndarray, degradation: np.ndarray | None) -> np.ndarray:
        """(h, w, C) in [0, 1] -> (sh, sw, C) in [0, 1]; alpha in a pass of its own.

        A network for RGB gets gray as three equal channels, one for gray gets colours as a batch. One for
        luma gets gray as RGB: its values are 16..235 of 255, those of a gray image 0..255.
        """
        info, parts = self.backend.info, list[np.ndarray]()
        first = tile.shape[2] - has_alpha(tile, info.channels)
        batch = info.channels == 1 and not info.luma
        for part in filter(np.size, (tile[..., :first], tile[..., first:])):
            planes = part.transpose(2, 0, 1)
            wanted = max(3, info.channels) if part.shape[2] == 1 else part.shape[2]
            lq = planes[:, None] if batch else np.broadcast_to(planes[None], (1, wanted, *planes.shape[1:]))
            sr = apply_backend(
                self.backend, np.ascontiguousarray(lq), degradation, self_ensemble=self.self_ensemble
            )
            sr = (sr[:, 0] if batch else sr[0]).transpose(1, 2, 0)
            np.clip(sr, 0, 1, out=sr)
            parts.append((sr @ GRAY_WEIGHTS)[..., None] if part.shape[2] < sr.shape[2] else sr)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _open(
    network: nn.Layer | Backend | str | Path | Sequence[str | Path],
    name: str | None,
    options: BackendOptions | None,
    tile: int | None,
) -> Backend:
    """The backend of whatever names or is a network; see `Upscaler`."""
    if options is not None and options.device is not None and name in (None, "paddle"):
        options.use_device()  # before the network is made there
    if isinstance(network, (str, Path, list, tuple)):
        files = [network] if isinstance(network, (str, Path)) else list(network)
        if not files or not all(isinstance(file, (str, Path)) for file in files):
            raise ConfigError(f"a list of weights must hold paths, got {network!r}")
        network = load_source(None, [Path(file) for file in files])
    if isinstance(network, Path):
        Export(network).require_open_sizes()
    if isinstance(network, (nn.Layer, Path)):
        return open_backend(network, name, options, tile=tile)
    if name is not None or options is not None:
        raise ConfigError("an open backend has its own precision and options; give those when opening it")
    if hasattr(network, "info"):
        return cast("Backend", network)
    raise ConfigError(
        "a network must be the path of weights or of an export, a paddle.nn.Layer or a backend; got "
        f"{type(network).__name__}"
    )


def _check_options(
    tile: int | None, overlap: int | None, max_memory: int | None, tile_mode: str, outscale: float | None
) -> None:
    """Raises ConfigError for values that `Upscaler` does not take."""
    if tile_mode not in TILE_MODES:
        raise ConfigError(f"tile mode '{tile_mode}' is unknown; {did_you_mean(tile_mode, TILE_MODES)}")
    if outscale is not None and not (_is_number(outscale, Real) and _SMALLEST_OUTSCALE <= outscale <= 64):
        raise ConfigError(f"outscale must be a number from 1/16 to 64, got {outscale!r}")
    for name, value in {"tile": tile, "overlap": overlap}.items():
        if value is not None and not (_is_number(value, Integral) and value >= 0):
            raise ConfigError(f"{name} must be a whole number of LR pixels, 0 or more, got {value!r}")
    if max_memory is not None and not (_is_number(max_memory, Real) and max_memory > 0):
        raise ConfigError(f"max_memory must be a positive number of bytes, got {max_memory!r}")
    if tile_mode != "blend" and max_memory is not None:
        raise ConfigError(f"tile mode {tile_mode} has no limit of memory; use blend")


def _is_number(value: object, kind: type) -> bool:
    """Whether a value is Python's or NumPy's number of a kind; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _check(pixels: np.ndarray, info: NetworkInfo) -> None:
    """Raises DataError for an array that the network cannot upscale."""
    allowed = (1, 2, 3, 4) if info.channels in (1, 3) else (info.channels,)
    if pixels.ndim != 3 or pixels.shape[2] not in allowed or 0 in pixels.shape:
        bands = " or ".join(map(str, allowed))
        raise DataError(f"{info.network} takes images H x W x {bands}, got an array of shape {pixels.shape}")
    check_samples(pixels)
