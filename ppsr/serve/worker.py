"""The process that decodes, computes and writes. It can be ended at any moment, and another one started.

A hostile file can hold a decoder for minutes or crash it, and only a process can be stopped in the middle of
that. The server itself never opens an image and never imports Paddle.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import multiprocessing
import signal
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppsr.errors import ConfigError, PpsrError
from ppsr.serve.limits import Limits, RequestError
from ppsr.serve.models import ModelSource

if TYPE_CHECKING:
    from ppsr.inference.upscaler import Upscaler

logger = logging.getLogger(__name__)

_POLL = 0.02  # seconds between two looks at the pipe
_GRACE = 1.0  # seconds in which a job may end by itself when it is stopped
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KINDS = ("png", "jpeg", "webp", "bmp", "tiff", "gif")

OpenModel = Callable[[ModelSource, "float | None"], "Upscaler"]


class _StoppedError(Exception):
    """The server wants the job to end."""


@dataclass(frozen=True)
class Task:
    """An image for the worker.

    Attributes:
        source: the image, in a folder of its own.
        target: path of the result, in the same folder; the suffix selects the format.
        tile: largest side of a tile in LR pixels. A job can stop between two tiles.
    """

    source: Path
    target: Path
    model: ModelSource
    tile: int = 256
    outscale: float | None = None
    strength: float | None = None
    ensemble: bool = False
    quality: int = 95


@dataclass
class Job:
    """Progress of a request.

    Attributes:
        address: IP address of the client.
        stage: "uploading", "waiting", "downloading", "loading" or "computing".
        done: tiles, or bytes, of `total`.
        stopped: nobody waits for the result any more.
    """

    address: str = ""
    stage: str = "uploading"
    done: int = 0
    total: int = 0
    stopped: bool = False


class Worker:
    """The server's side of the process. `run` is called for one job at a time.

    Args:
        open_model: makes an upscaler of a model; a function of a module, since it goes to the process.
        max_memory: bytes that the process may take; None: 70 % of what is free.
        cached: models that stay open; another one closes the one that was not used for longest.
    """

    def __init__(
        self, open_model: OpenModel, limits: Limits, max_memory: int | None = None, cached: int = 2
    ) -> None:
        self._arguments = (open_model, limits, max_memory, cached)
        self._limits = limits
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self.process = context.Process(target=_main, args=(end, *self._arguments), daemon=True)
        self.process.start()
        end.close()

    def open(self, model: ModelSource) -> ModelSource:
        """Open a model now, so that a mistake ends the command; returns it with its network and scale.

        Raises:
            ConfigError: it cannot be opened.
        """
        try:
            self._pipe.send(model)
            kind, value = self._pipe.recv()
        except (EOFError, OSError):
            raise ConfigError(f"{model.files[0]}: the process that opened it has ended") from None
        if kind == "error":
            raise ConfigError(value[2])
        return replace(model, network=value[0], scale=value[1])

    async def run(self, task: Task, job: Job) -> dict[str, Any]:
        """Upscale an image.

        Returns:
            Entries of the report: output, size and output_size (width, height), tiles, warnings, seconds.

        Raises:
            RequestError: whatever is wrong with the image, the limits, or a job that was stopped.
        """
        job.stage = "loading"
        if not self.process.is_alive():  # it ended while it waited, so not by this image
            self._restart()
        end, reason = math.inf, None  # a process that was just started does not count
        try:
            self._pipe.send(task)
            while True:
                while not self._pipe.poll():
                    if reason is not None and time.monotonic() > end:
                        self._restart()
                        raise reason
                    if reason is None and (job.stopped or time.monotonic() > end):
                        reason = self._reason(job)
                        self._pipe.send(None)
                        end = time.monotonic() + _GRACE
                    await asyncio.sleep(_POLL)
                kind, value = self._pipe.recv()
                if kind == "started":
                    end = time.monotonic() + self._limits.max_seconds
                elif kind == "tiles":
                    job.stage, job.total = "computing", value
                elif kind == "tile":
                    job.done += 1
                elif kind == "result":
                    return value
                elif kind == "stopped":
                    raise reason or self._reason(job)
                else:
                    raise RequestError(*value)
        except (EOFError, OSError):
            self._restart()
            raise RequestError(422, "cannot_upscale", "the image ended the process that computes") from None

    def _reason(self, job: Job) -> RequestError:
        if job.stopped:
            return RequestError(499, "cancelled", "the request was cancelled")
        text = f"the image takes longer than the limit of {self._limits.max_seconds:g} s; send a smaller one"
        return RequestError(422, "time_limit", text)

    def _restart(self) -> None:
        logger.warning("the process that computes is started again")
        self.close()
        self._start()

    def close(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.join()
        self._pipe.close()


def open_model(
    model: ModelSource, strength: float | None, *, backend: str | None, precision: str, trust: bool
) -> Any:
    """The upscaler of a model.

    Raises:
        ConfigError: the config is wrong, or the backend is not available.
        DataError: an incomplete export.
        WeightError: the weights cannot be used.
    """
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.network import load_source
    from ppsr.inference.upscaler import Upscaler

    options = BackendOptions(precision=precision, trust=trust)
    return Upscaler(load_source(model.config, model.files, strength), backend=backend, options=options)


def _main(
    pipe: Connection, open_model: OpenModel, limits: Limits, max_memory: int | None, cached: int
) -> None:
    """Answer the server until its end of the pipe is closed."""
    warnings.filterwarnings("ignore", "No ccache found", UserWarning)  # Paddle's; nothing is compiled here
    from ppsr import accelerate
    from ppsr.logs import setup_logging

    accelerate.enable()
    setup_logging(None)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # they reach the whole group
        signal.signal(number, signal.SIG_IGN)  # the server ends this process
    find = lru_cache(cached)(open_model)
    while True:
        try:
            asked = pipe.recv()
            if asked is None:  # to stop a job that has ended meanwhile
                continue
            if isinstance(asked, ModelSource):
                upscaler = find(asked, None)
                answer: tuple[str, Any] = "result", (upscaler.backend.info.network, upscaler.scale)
            else:
                answer = "result", _upscaled(pipe, find, asked, limits, max_memory)
        except (EOFError, BrokenPipeError):
            return
        except _StoppedError:
            answer = "stopped", None
        except RequestError as error:
            answer = "error", (error.status, error.code, str(error))
        except PpsrError as error:
            text = str(error)
            if isinstance(asked, Task):  # clients need not know where files are
                text = text.replace(str(asked.source), "the image").replace(str(asked.source.parent), "")
            answer = "error", (422, "cannot_upscale", text)
        except Exception as error:
            # the files of a stopped job may be gone already
            answer = ("stopped", None) if pipe.poll() else ("error", failure(error))
        pipe.send(answer)


def failure(error: Exception) -> tuple[int, str, str]:
    """Status, code and text for an error that is not the image's own fault; clients see no paths."""
    from ppsr.memory import is_out_of_memory

    if is_out_of_memory(error):
        return 422, "out_of_memory", "there is not enough memory; send a smaller image"
    logger.error("%s: %s", type(error).__name__, error, exc_info=error)
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        if error.errno in _NO_ROOM:
            return 507, "no_room", f"the image or its result cannot be stored: {reason}"
        return 422, "cannot_upscale", f"the image cannot be read or written: {reason}"
    return 500, "internal", "the service failed; its log has the reason"


def _upscaled(
    pipe: Connection, find: OpenModel, task: Task, limits: Limits, max_memory: int | None
) -> dict[str, Any]:
    """Upscale an image, with progress, until the server wants it to stop."""
    from ppsr.imaging.writing import with_alpha
    from ppsr.inference.upscale_files import FileOptions, read_input, upscale_image

    started = time.perf_counter()
    pipe.send(("started", None))
    upscaler = find(task.model, task.strength)
    upscaler.outscale, upscaler.self_ensemble, upscaler.max_memory = task.outscale, task.ensemble, max_memory
    width, height = _checked_size(upscaler, task.source, limits)
    upscaler.tile = None
    planned = upscaler.plan(height, width).tiles.size
    if max(height, width) > task.tile and not 0 < planned <= task.tile:
        upscaler.tile = task.tile

    def step() -> None:
        pipe.send(("tile", None))
        if pipe.poll():
            pipe.recv()
            raise _StoppedError

    options = FileOptions(task.quality, limits.max_pixels, max_output_pixels=limits.max_output_pixels)
    image, suffix = read_input(task.source, options), task.target.suffix
    suffix, lost = with_alpha(suffix) if image.alpha else (suffix, [])
    with ThreadPoolExecutor(1) as pool:
        report, written = upscale_image(
            upscaler,
            image,
            task.target.with_suffix(suffix),
            options,
            pool=pool,
            warnings=lost,
            start=lambda count: pipe.send(("tiles", count)),
            step=step,
        )
        written.result()
    return {**report, "seconds": round(time.perf_counter() - started, 3)}


def _checked_size(upscaler: Upscaler, source: Path, limits: Limits) -> tuple[int, int]:
    """Width and height by the header, unless the file is not an image, or it or its result is too large."""
    from ppsr.imaging.reading import image_header, image_kind

    with source.open("rb") as handle:
        kind = image_kind(handle.read(32))
    if kind not in _KINDS:
        found = f"{kind.upper()}, which is not supported" if kind else "not an image"
        raise RequestError(415, "not_an_image", f"the file is {found}; send {', '.join(_KINDS)}")
    width, height, _ = image_header(source)
    sizes = {"image": (height, width), "result": upscaler.size(height, width)}
    for (name, size), limit in zip(sizes.items(), (limits.max_pixels, limits.max_output_pixels), strict=True):
        if (count := size[0] * size[1]) > limit:
            text = f"the {name} of {size[1]} x {size[0]} has {count:,} pixels, the limit is {limit:,}"
            raise RequestError(413, "too_many_pixels", f"{text}; send a smaller image")
    return width, height
