"""The HTTP interface: three addresses, JSON errors, images as they are in the body of request and
answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import ppsr
from ppsr.errors import PpsrError, did_you_mean
from ppsr.memory import parse_size
from ppsr.serve.guard import Guard
from ppsr.serve.limits import RefusedError
from ppsr.serve.service import Job, Options, Service

__all__ = ["create_app"]

logger = logging.getLogger(__name__)

_POLL = 0.1  # seconds between two looks at whether the client is still there
_BLOCK = 2**18
_SPARE = 2
_NAMES = ("model", "tile", "max_memory", "outscale", "ensemble", "format", "quality")
_MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_MEDIA |= {".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff"}


def create_app(
    service: Service,
    *,
    loopback: bool = True,
    hosts: Collection[str] = (),
    allowed: Callable[[str], bool] | None = None,
    inspect: Mapping[str, Callable[[bytes], bytes]] | None = None,
) -> FastAPI:
    """The application, without the page.

    Args:
        service: what answers.
        loopback: whether it is bound to a loopback address.
        hosts: names that requests may use beside those of loopback.
        allowed: whether a path outside `/api/` exists; None: none does.
        inspect: see `Guard`.
    """
    app = FastAPI(
        title="ppsr", version=ppsr.__version__, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None
    )
    app.add_middleware(
        Guard,
        loopback=loopback,
        hosts=hosts,
        max_bytes=service.limits.max_bytes,
        seconds=service.limits.upload_seconds + _SPARE,  # the interface itself answers before
        refuse=_refusal,
        allowed=lambda path: path.startswith("/api/") or (allowed is not None and allowed(path)),
        inspect=inspect or {},
    )
    _add_error_handlers(app)

    @app.get("/api/status")
    def status() -> dict[str, Any]:
        """Version, limits, and what is going on."""
        progress = service.progress()
        return {
            "version": ppsr.__version__,
            "limits": vars(service.limits),
            "requests": service.admission.taken,
            "tiles": None if progress is None else {"done": progress[0], "total": progress[1]},
        }

    @app.get("/api/models")
    def models() -> list[dict[str, Any]]:
        """Names for `model`; the first is the default."""
        return [
            {"name": name, "network": info.network, "scale": info.scale, "channels": info.channels}
            for name, info in service.models.items()
        ]

    @app.post("/api/upscale", response_class=StreamingResponse, openapi_extra=_body())
    async def upscale(
        request: Request,
        model: Annotated[str | None, Query(description="From /api/models.")] = None,
        tile: Annotated[int, Query(description="Largest side of a tile.")] = 256,
        max_memory: Annotated[str | None, Query(description="Such as 2GB.")] = None,
        outscale: Annotated[
            float | None, Query(description="Size of the result / size of the image.")
        ] = None,
        ensemble: Annotated[bool, Query(description="Mean over eight flips and turns.")] = False,
        format: Annotated[str, Query(description="png, jpg, webp, bmp or tif.")] = "png",
        quality: Annotated[int, Query(description="Of jpg and webp.")] = 95,
    ) -> StreamingResponse:
        """Upscale the image in the body."""
        for name in request.query_params:
            if name not in _NAMES:
                raise RefusedError(
                    400, "bad_option", f"unknown option '{name}'; {did_you_mean(name, _NAMES)}"
                )
        memory = None if max_memory is None else parse_size(max_memory)
        options = Options(tile, memory, outscale, ensemble, format, quality)
        return await _upscale(service, request, model, options)

    return app


async def _upscale(
    service: Service, request: Request, model: str | None, options: Options
) -> StreamingResponse:
    """Receive an image, wait for its turn, send the result.

    Raises:
        RefusedError: as the limits, the image and the options have it.
    """
    if model is not None and model not in service.models:
        raise RefusedError(404, "no_such_model", f"no model '{model}'; {did_you_mean(model, service.models)}")
    with service.admission.enter(), service.own_folder() as folder:
        source = folder / "image"
        await _receive(request, source, service)
        job = service.submit(source, model, options)
        result = await _finished(job, request)
        handle = result.path.open("rb")  # outlives the folder
        length = result.path.stat().st_size
    report = json.dumps(result.report)
    headers = {
        "content-length": str(length),
        "content-disposition": f'inline; filename="{result.path.name}"',
        "x-ppsr-report": report,
    }
    return StreamingResponse(_blocks(handle), media_type=_MEDIA[result.path.suffix], headers=headers)


async def _receive(request: Request, target: Path, service: Service) -> None:
    """Write the body of a request to a file.

    Raises:
        RefusedError: too long (413), too slow (408), empty (400), or a form (415).
    """
    limit, seconds = service.limits.max_bytes, service.limits.upload_seconds
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise RefusedError(
            415, "form", "send the file itself as the body, not a form: curl --data-binary @FILE"
        )
    try:
        count = await asyncio.wait_for(_write(request, target, limit), seconds)
    except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
        raise RefusedError(408, "slow_upload", f"the file did not arrive within {seconds:g} s") from None
    if count > limit:
        raise RefusedError(
            413, "too_many_bytes", f"the file has more than {limit:,} bytes, which is the limit"
        )
    if not count:
        raise RefusedError(400, "no_image", "the body is empty; send an image: curl --data-binary @FILE")


async def _write(request: Request, target: Path, limit: int) -> int:
    """Write up to `limit` bytes; what is a little too long is read on, so that the client hears why it
    failed.

    Returns:
        The bytes that came.
    """
    count = 0
    with target.open("wb") as handle:
        async for block in request.stream():
            count += len(block)
            if count <= limit:
                await run_in_threadpool(handle.write, block)
            elif count > 8 * limit:
                break
    return count


async def _finished(job: Job, request: Request) -> Any:
    """The result of a job, which ends early when the client goes away.

    Raises:
        RefusedError: as the job.
    """
    waiting = asyncio.wrap_future(job.future)
    try:
        while not (await asyncio.wait([waiting], timeout=_POLL))[0]:
            if await request.is_disconnected():
                job.watch.cancel()
        return waiting.result()
    finally:
        if not waiting.done():  # the server ends
            job.watch.cancel()


async def _blocks(handle: BinaryIO) -> AsyncIterator[bytes]:
    with handle:
        while block := await run_in_threadpool(handle.read, _BLOCK):
            yield block


def _refusal(refused: RefusedError) -> JSONResponse:
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    if refused.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    return JSONResponse({"error": refused.code, "message": str(refused)}, refused.status, headers)


def _add_error_handlers(app: FastAPI) -> None:
    """All errors in one form."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusedError)
        return _refusal(error)

    async def wrong_option(_: Request, error: Exception) -> JSONResponse:
        return _refusal(RefusedError(400, "bad_option", str(error)))

    async def wrong_type(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        text = f"{first['loc'][-1]}: {first['msg']}, got '{first['input']}'"
        return _refusal(RefusedError(400, "bad_option", text))

    async def internal(_: Request, error: Exception) -> JSONResponse:
        logger.error("%s: %s", type(error).__name__, error)
        return JSONResponse({"error": "internal", "message": "the service failed; its log tells more"}, 500)

    async def plain(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "error")
        answer = {"error": code, "message": str(error.detail)}
        return JSONResponse(answer, error.status_code, error.headers)

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(PpsrError, wrong_option)
    app.add_exception_handler(RequestValidationError, wrong_type)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(Exception, internal)


def _body() -> dict[str, Any]:
    """How the description of the interface shows a body that is an image."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": {"image/*": binary}}}
