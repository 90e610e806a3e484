"""The HTTP interface and the files of the page: JSON errors, images as they are in request and answer."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import ppsr
from ppsr.serve.limits import Limits, RequestError, check_request
from ppsr.serve.service import Service
from ppsr.serve.worker import Job, Task, failure

_POLL = 0.05  # seconds between two looks at whether the client is still there
_BLOCK = 2**18
_PAGE = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
_SHOWN = ("network", "scale", "purpose", "download")
_MEDIA = {"jpg": "image/jpeg", "tif": "image/tiff"}
_BODY = {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "required": True}


class Options(BaseModel, extra="forbid"):
    """Options of a request."""

    model: str | None = Field(None, description="A name from /api/models.")
    tile: int = Field(256, ge=16, le=1024, description="Largest side of a tile in input pixels.")
    outscale: float | None = Field(
        None, ge=1 / 16, le=16, allow_inf_nan=False, description="Output size / input size."
    )
    strength: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Of models with a partner: 1 is the model alone."
    )
    ensemble: bool = Field(False, description="Average over eight flips and rotations.")
    format: Literal["png", "jpg", "webp", "tif", "bmp"] = "png"
    quality: int = Field(95, ge=1, le=100, description="Quality of JPEG and WebP.")
    job: str = Field("", pattern="^[A-Za-z0-9-]{0,64}$", description="A name to ask /api/status for.")


def create_app(
    service: Service, folder: Path, *, loopback: bool = True, hosts: Collection[str] = ()
) -> FastAPI:
    """The application.

    Args:
        folder: for uploads and results; each request has a folder of its own inside it.
        loopback: whether it is bound to a loopback address.
        hosts: host names that requests may use in addition to loopback names.
    """
    names = {name.lower() for name in hosts}

    async def guard(request: Request) -> None:
        check_request(request, loopback=loopback, hosts=names, max_bytes=service.limits.max_bytes)

    app = FastAPI(
        title="ppsr",
        version=ppsr.__version__,
        openapi_url=None,  # FastAPI's own route would pass by the guard
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(guard)],
    )
    _add_error_handlers(app)
    for path, name in _PAGE.items():
        app.get(path, include_in_schema=False)(_page(Path(__file__).with_name("page") / name))

    @app.get("/api/openapi.json", include_in_schema=False)
    async def description() -> dict[str, Any]:
        return app.openapi()

    @app.get("/api/status")
    async def status(job: str = "") -> dict[str, Any]:
        """Version, limits, and the progress of a job."""
        found = service.jobs.get(job)
        progress = None if found is None else {"stage": found.stage, "done": found.done, "total": found.total}
        state = {"requests": len(service.admitted), "job": progress}
        return {"version": ppsr.__version__, "limits": vars(service.limits), **state}

    @app.get("/api/models")
    async def models() -> list[dict[str, Any]]:
        """Names for `model`; the first is the default."""
        return [
            {"name": name, "strength": bool(model.partner), **{key: getattr(model, key) for key in _SHOWN}}
            for name, model in service.models.items()
        ]

    @app.post("/api/upscale", response_class=StreamingResponse, openapi_extra={"requestBody": _BODY})
    async def upscale(request: Request, options: Annotated[Options, Query()]) -> StreamingResponse:
        """Upscale the image in the body."""
        return await _upscale(service, folder, request, options)

    return app


def _page(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    """A route for one file, which is not a parameter of it: those can be set by the query."""

    async def page() -> FileResponse:
        return FileResponse(file)

    return page


async def _upscale(service: Service, folder: Path, request: Request, options: Options) -> StreamingResponse:
    """Receive an image, wait for its turn, send the result."""
    name = service.find(options.model)
    model = service.models[name]
    if options.strength is not None and not model.partner:
        raise RequestError(400, "bad_option", f"model '{name}' has no partner to mix it with by strength")
    address = request.client.host if request.client else ""
    chosen = options.model_dump(include={"tile", "outscale", "strength", "ensemble", "quality"})
    folder.mkdir(mode=0o700, exist_ok=True)  # systems remove old folders of temporary files
    with (
        service.job(options.job or secrets.token_hex(8), address) as job,
        tempfile.TemporaryDirectory(prefix="request-", dir=folder, ignore_cleanup_errors=True) as own,
    ):
        source, target = Path(own, "image"), Path(own, f"image_x{options.outscale or model.scale:g}")
        await _receive(request, source, service.limits)
        task = Task(source, target.with_name(f"{target.name}.{options.format}"), model, **chosen)
        report = await _finished(asyncio.create_task(service.run(name, task, job)), job, request)
        written = Path(report.pop("output"))
        handle, length = written.open("rb"), written.stat().st_size  # open beyond the end of its folder
    extension = written.suffix.removeprefix(".")
    headers = {
        "content-length": str(length),
        "content-disposition": f'inline; filename="{written.name}"',
        "x-ppsr-report": json.dumps(report),
    }
    media = _MEDIA.get(extension, f"image/{extension}")
    return StreamingResponse(_blocks(handle), media_type=media, headers=headers)


async def _receive(request: Request, target: Path, limits: Limits) -> None:
    """Write the body of a request to a file, unless it is too long, too slow, empty or a form."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        text = "send the file itself as the body, not a form: curl --data-binary @FILE"
        raise RequestError(415, "form", text)
    count, begun, blocks = 0, time.monotonic(), request.stream()
    with target.open("wb") as handle:
        while count <= limits.max_bytes:
            left = begun + limits.upload_seconds + count / limits.MIN_RATE - time.monotonic()
            try:
                block = await asyncio.wait_for(anext(blocks), left)
            except StopAsyncIteration:
                break
            except ClientDisconnect:
                raise _gone() from None
            except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
                text = f"the file comes at less than {limits.MIN_RATE:,} bytes per second"
                raise RequestError(408, "slow_upload", text) from None
            count += len(block)
            handle.write(block)
    if count > limits.max_bytes:
        text = f"the file has more bytes than the limit of {limits.max_bytes:,}"
        raise RequestError(413, "too_many_bytes", text)
    if not count:
        raise RequestError(400, "no_image", "the body is empty; send an image: curl --data-binary @FILE")


async def _finished(running: asyncio.Task[dict[str, Any]], job: Job, request: Request) -> dict[str, Any]:
    """The report of a job, which ends early when the client goes away."""
    running.add_done_callback(lambda done: done.cancelled() or done.exception())  # asked by nobody else then
    try:
        while not (await asyncio.wait([running], timeout=_POLL))[0]:
            if await request.is_disconnected():
                raise _gone()
        return running.result()
    finally:
        if job.stage in ("waiting", "downloading"):
            running.cancel()  # `job.stopped` stops the worker


def _gone() -> RequestError:
    return RequestError(499, "cancelled", "the client has gone")  # nobody sees it


async def _blocks(handle: BinaryIO) -> AsyncIterator[bytes]:
    with handle:
        while block := handle.read(_BLOCK):
            yield block


def _answer(error: RequestError) -> JSONResponse:
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    if error.status in (408, 411, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    return JSONResponse({"error": error.code, "message": str(error)}, error.status, headers)


def _add_error_handlers(app: FastAPI) -> None:
    """All errors in one form."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return _answer(error)

    @app.exception_handler(RequestValidationError)
    async def wrong_option(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        text = f"{first['loc'][-1]}: {first['msg']}, got '{first['input']}'"
        return _answer(RequestError(400, "bad_option", text))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return _answer(RequestError(*failure(error)))

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "error")
        return JSONResponse({"error": code, "message": str(error.detail)}, error.status_code, error.headers)
