"""Upscaling for several clients: models that are loaded once, one worker, one folder.

All of Paddle's work happens in one thread: its settings of threads hold for the thread that made them, two
images at once are not faster than one after the other on a CPU, and memory is planned for one.
"""

from __future__ import annotations

import errno
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppsr import accelerate
from ppsr.errors import ConfigError, DataError, PpsrError, did_you_mean
from ppsr.imaging.reading import image_header, image_kind
from ppsr.imaging.writing import FORMATS
from ppsr.inference.backend import Backend
from ppsr.inference.backends.exported import BackendOptions
from ppsr.inference.choose import open_backend
from ppsr.inference.files import FileOptions, upscale_image
from ppsr.inference.network import load_network
from ppsr.inference.network_info import NetworkInfo
from ppsr.inference.upscaler import SMALLEST_OUTSCALE, Upscaler
from ppsr.memory import is_out_of_memory
from ppsr.serve.limits import Admission, Limits, RefusedError, Watch
from ppsr.serve.models import is_export
from ppsr.serve.watched import LARGEST_TILE, SMALLEST_TILE, WatchedUpscaler

__all__ = ["Job", "Options", "Result", "Service"]

logger = logging.getLogger(__name__)

_LARGEST_OUTSCALE = 16
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READABLE = ("png", "jpeg", "webp", "bmp", "tiff", "gif")


@dataclass(frozen=True)
class Options:
    """What a client may choose.

    Attributes:
        tile: largest side of a tile in LR pixels, 16 to 1024. Between two tiles a request can be stopped.
        max_memory: bytes that the process may take; None: the service's own setting.
        outscale: size of the result / size of the image, 1/16 to 16; None: the network's.
        ensemble: mean over the eight flips and turns.
        extension: format of the result.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        RefusedError: a value is not allowed (400).
    """

    tile: int = 256
    max_memory: int | None = None
    outscale: float | None = None
    ensemble: bool = False
    extension: str = "png"
    quality: int = 95

    def __post_init__(self) -> None:
        allowed = {
            f"tile is {SMALLEST_TILE} to {LARGEST_TILE}, got {self.tile}": SMALLEST_TILE
            <= self.tile
            <= LARGEST_TILE,
            f"max_memory is above 0, got {self.max_memory}": self.max_memory is None or self.max_memory > 0,
            f"outscale is 1/16 to {_LARGEST_OUTSCALE}, got {self.outscale}": self.outscale is None
            or SMALLEST_OUTSCALE <= self.outscale <= _LARGEST_OUTSCALE,
            f"format '{self.extension}' is unknown; {did_you_mean(self.extension, _extensions())}": (
                self.extension in _extensions()
            ),
            f"quality is 1 to 100, got {self.quality}": 1 <= self.quality <= 100,
        }
        for message, holds in allowed.items():
            if not holds:
                raise RefusedError(400, "bad_option", message)


def _extensions() -> list[str]:
    return sorted(suffix.removeprefix(".") for suffix in FORMATS)


@dataclass(frozen=True)
class Result:
    """A finished image.

    Attributes:
        path: the file, in the folder of the request.
        report: model, size and output_size (width, height), tiles, warnings, seconds.
        preview: before and after; None where nobody asked for it.
    """

    path: Path
    report: dict[str, Any]
    preview: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class Job:
    """An image that waits or is computed.

    Attributes:
        watch: its progress; cancels it.
        future: its result, or the `RefusedError` or other error that ended it.
    """

    watch: Watch
    future: Future[Result]

    def stop(self) -> None:
        """Take it out of the queue, or end it after the present tile."""
        self.watch.cancel()
        self.future.cancel()


def _opened(
    files: Sequence[Path], config: Path | None, backend: str | None, half: bool, trust: bool
) -> Backend:
    """A backend for weights or an exported network."""
    options = BackendOptions(precision="fp16" if half else "fp32", trust=trust)
    if is_export(files[0]):
        return open_backend(files[0], backend or "auto", options)
    return open_backend(load_network(config, files), backend or "paddle", options)


class Service:
    """Models and the worker that applies them.

    Args:
        folder: everything that is written lies in it; must exist.
        limits: for each request and for all together.
        max_memory: bytes that the process may take; None: 70 % of what is free.

    Attributes:
        admission: places for requests; enter it before receiving an image.
    """

    def __init__(self, folder: Path, limits: Limits | None = None, *, max_memory: int | None = None) -> None:
        self.folder = folder
        self.limits = limits or Limits()
        self.max_memory = max_memory
        self.admission = Admission(self.limits.max_requests)
        self._models: dict[str, WatchedUpscaler] = {}
        self._jobs: set[Job] = set()
        self._worker = ThreadPoolExecutor(1, "ppsr-serve", initializer=accelerate.enable)

    def load(
        self,
        name: str,
        files: Sequence[Path],
        config: Path | None = None,
        *,
        backend: str | None = None,
        half: bool = False,
        trust: bool = False,
    ) -> None:
        """Load a model.

        Args:
            name: for the clients.
            files: weights, or the prefix of an exported network.
            config: names the network of the weights; None: they tell.
            backend: None: Paddle for weights, the fastest for an exported network.
            half: half precision where it is safe.
            trust: open an export also with operations that are not known to only compute.

        Raises:
            ConfigError: the name is taken, the config is wrong, or the backend is not there.
            DataError: an incomplete export.
            WeightError: the weights cannot be used.
        """
        self.add(name, lambda: _opened(files, config, backend, half, trust))

    def add(self, name: str, make: Callable[[], Backend]) -> None:
        """Add a model that a function makes, which runs in the worker's thread.

        Raises:
            ConfigError: the name is taken.
        """
        if name in self._models:
            raise ConfigError(f"two models are called '{name}'; give one another name: NAME=FILE")
        self._models[name] = self._worker.submit(lambda: WatchedUpscaler(make())).result()

    @property
    def models(self) -> dict[str, NetworkInfo]:
        """Names and descriptions of the models, in the order in which they were added."""
        return {name: upscaler.backend.info for name, upscaler in self._models.items()}

    @contextmanager
    def own_folder(self) -> Iterator[Path]:
        """A new folder inside `folder`, removed at the end of the block."""
        place = self.folder / f"request-{secrets.token_hex(8)}"
        place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def submit(
        self,
        source: Path,
        model: str | None,
        options: Options,
        *,
        preview: bool = False,
        stem: str = "image",
    ) -> Job:
        """Queue an image.

        Args:
            source: a file in a folder of its own, into which the result goes as well.
            model: name; None: the first.
            options: the client's.
            preview: collect before and after.
            stem: of the result's name, without folders.

        Raises:
            RefusedError: there is no such model (404).
        """
        name = next(iter(self._models), None) if model is None else model
        if name is None or name not in self._models:
            raise RefusedError(
                404, "no_such_model", f"no model '{name}'; {did_you_mean(str(name), self._models)}"
            )
        watch = Watch()
        job = Job(
            watch, self._worker.submit(self._run, source, Path(stem).name, name, options, preview, watch)
        )
        self._jobs.add(job)
        job.future.add_done_callback(lambda _: self._jobs.discard(job))
        return job

    def progress(self) -> tuple[int, int] | None:
        """Finished tiles and all tiles of the image that is computed now; None: none is."""
        running = next((job.watch for job in tuple(self._jobs) if job.future.running()), None)
        return None if running is None else (running.done, running.total)

    def close(self) -> None:
        """Stop between two tiles and end the worker."""
        for job in tuple(self._jobs):
            job.watch.cancel()
        self._worker.shutdown(cancel_futures=True)

    def _run(
        self, source: Path, stem: str, name: str, options: Options, preview: bool, watch: Watch
    ) -> Result:
        """The worker's part.

        Raises:
            RefusedError: whatever is wrong with the image, or the limits.
        """
        watch.check()
        started = time.perf_counter()
        watch.start(self.limits.max_seconds)
        upscaler = self._models[name]
        upscaler.watch, upscaler.largest, upscaler.wants_preview = watch, options.tile, preview
        upscaler.outscale, upscaler.ensemble = options.outscale, options.ensemble
        asked = [m for m in (options.max_memory, self.max_memory) if m is not None]
        upscaler.max_memory = min(asked, default=None)
        target = source.parent / "result" / f"{stem}_x{upscaler.factor:g}.{options.extension}"
        try:
            self._check_size(source, upscaler)
            report = upscale_image(
                upscaler,
                source,
                target,
                FileOptions(
                    options.quality,
                    self.limits.max_pixels,
                    max_output_pixels=self.limits.max_output_pixels,
                ),
                keep_name=False,
            )
            shown = upscaler.preview
            pair = None if shown is None else (shown.before(), shown.after())
        except RefusedError:
            raise
        except PpsrError as error:
            raise RefusedError(422, "cannot_upscale", _without_path(error, source)) from None
        except (cv2.error, OSError, RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise RefusedError(422, "out_of_memory", "memory is short; send a smaller image") from None
            if not isinstance(error, OSError):
                raise
            logger.error("%s: %s", name, error)
            reason = error.strerror or type(error).__name__  # without the paths of the service
            if error.errno in _NO_ROOM:
                raise RefusedError(507, "no_room", f"the result cannot be stored: {reason}") from None
            raise RefusedError(422, "cannot_upscale", f"cannot read or write the image: {reason}") from None
        finally:
            upscaler.preview = None
        made = Path(report.pop("output"))
        seconds = round(time.perf_counter() - started, 3)
        logger.info("%s: %s -> %s in %.2f s", name, report["size"], report["output_size"], seconds)
        return Result(made, {"model": name, **report, "seconds": seconds}, pair)

    def _check_size(self, source: Path, upscaler: Upscaler) -> None:
        """Refuse by the header what is no image or too large, before it is decoded.

        Raises:
            RefusedError: 413 or 415.
        """
        with source.open("rb") as handle:
            kind = image_kind(handle.read(32))
        if kind not in _READABLE:
            what = f"{kind.upper()}, which is not supported" if kind else "not an image"
            raise RefusedError(415, "not_an_image", f"the file is {what}; send {', '.join(_READABLE)}")
        try:
            width, height, _ = image_header(source)
        except (DataError, OSError) as error:
            raise RefusedError(
                422, "cannot_upscale", f"cannot decode it: {_without_path(error, source)}"
            ) from None
        result = upscaler.size(height, width)
        for what, count, limit in (
            (f"the image of {width} x {height}", width * height, self.limits.max_pixels),
            (
                f"the result of {result[1]} x {result[0]}",
                result[0] * result[1],
                self.limits.max_output_pixels,
            ),
        ):
            if count > limit:
                raise RefusedError(
                    413,
                    "too_many_pixels",
                    f"{what} has {count:,} pixels, allowed are {limit:,}; send a smaller one",
                )


def _without_path(error: Exception, source: Path) -> str:
    """The text of an error; clients need not know where files lie."""
    return str(error).replace(str(source), "the image").replace(str(source.parent), "")
