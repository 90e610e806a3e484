"""The web page, made with gradio (Abid et al., 2019, arXiv:1906.02569).

Nothing is sent to or loaded from other machines: analytics are off, fonts are the system's, and only the
addresses that the page needs exist. Uploads and results lie in the service's folder and go after an hour.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from ppsr.serve.api import create_app
from ppsr.serve.limits import CANCELLED, RefusedError
from ppsr.serve.service import Job, Options, Result, Service
from ppsr.serve.texts import PREFIX, language_of, refusal, say, texts
from ppsr.serve.watched import LARGEST_TILE, SMALLEST_TILE

if TYPE_CHECKING:
    import gradio

__all__ = ["create_app_with_page", "is_page_path"]

_POLL = 0.2  # seconds between two looks at the progress
_KEPT = 3600  # seconds that uploads and results stay
_UPLOADS = 64  # times the largest upload that the folder holds
_WAITING = 32  # requests in the page's own queue
_SUFFIXES = [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"]
_FORMATS = ["png", "jpg", "webp", "tif", "bmp"]
_FILES = "/gradio_api/file="
_EVENTS = "/gradio_api/queue/join"
_UPLOAD = "/gradio_api/upload"
_PATHS = frozenset(
    {
        "/",
        "/config",
        "/favicon.ico",
        "/manifest.json",
        "/theme.css",
        "/gradio_api/cancel",
        "/gradio_api/queue/data",
        _EVENTS,
        "/gradio_api/reset",
        _UPLOAD,
        "/gradio_api/upload_progress",
    }
)
_FOLDERS = ("/assets/", "/static/", "/gradio_api/heartbeat/")
_FONT = ("system-ui", "Segoe UI", "Noto Sans CJK SC", "Microsoft YaHei", "sans-serif")


def is_page_path(path: str, folder: Path, room: int) -> bool:
    """Whether the page needs an address.

    Args:
        path: of the request.
        folder: files inside it may be fetched.
        room: bytes that it may hold for more to be uploaded.

    Raises:
        RefusedError: an upload, and the folder holds more (429).
    """
    if path == _UPLOAD and _bytes_in(folder) > room:
        message = "the uploads and results of the last hour fill the space for them; try again later"
        raise RefusedError(429, "no_room", message, retry_after=_KEPT // 6)
    if path.startswith(_FILES):
        return _is_inside(path.removeprefix(_FILES), folder)
    return path in _PATHS or (path.startswith(_FOLDERS) and ".." not in path)


def checked_event(body: bytes, folder: Path) -> bytes:
    """What the page sends when a button is pressed, if all files that it names lie inside a folder.

    Raises:
        RefusedError: they do not (403), or it is not JSON (400).
    """
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "bad_event", "an event is JSON") from None
    pending = [event]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if path is not None and not (isinstance(path, str) and _is_inside(path, folder)):
                raise RefusedError(403, "foreign_file", "only uploaded files are read")
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return json.dumps(event).encode()  # as it was understood here, should a key stand twice


def _bytes_in(folder: Path) -> int:
    """Size of all files below a folder, while others come and go."""
    count = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            count += path.stat().st_size if path.is_file() else 0
    return count


def _is_inside(path: str, folder: Path) -> bool:
    """Whether a file lies in a folder, links followed."""
    try:
        return Path(path).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def create_app_with_page(service: Service, *, loopback: bool = True, hosts: Collection[str] = ()) -> FastAPI:
    """The application of `create_app` with the page at `/`. Once per process: gradio has one folder.

    Args:
        service: with its models.
        loopback: whether it is bound to a loopback address.
        hosts: names that requests may use beside those of loopback.
    """
    folder = service.folder / "page"
    folder.mkdir(exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # read when gradio is imported, and later
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    app = create_app(
        service,
        loopback=loopback,
        hosts=hosts,
        allowed=lambda path: is_page_path(path, folder, _UPLOADS * service.limits.max_bytes),
        inspect={_EVENTS: lambda body: checked_event(body, folder)},
    )
    text = gr.I18n(**texts(service.limits))
    page = _build(service, lambda key: text(PREFIX + key))
    # Where a page is mounted instead of launched, gradio 6.31 leaves out its own check of the files that an
    # event names, and copies any file of the machine to its folder. `checked_event` does not depend on it.
    page.has_launched = True
    return gr.mount_gradio_app(
        app,
        page,
        path="",
        i18n=text,
        max_file_size=service.limits.max_bytes,
        theme=gr.themes.Default(font=_FONT, font_mono=("ui-monospace", "monospace")),
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        run_history=False,
        enable_monitoring=False,
    )


def _build(service: Service, text: Callable[[str], Any]) -> "gradio.Blocks":
    """Components and what they do; `text` gives those of the browser's language."""
    import gradio as gr

    models = [(f"{name} ({info.network}, x{info.scale})", name) for name, info in service.models.items()]
    with gr.Blocks(title="ppsr", analytics_enabled=False, delete_cache=(_KEPT // 6, _KEPT)) as page:
        gr.Markdown("# ppsr")
        gr.Markdown(text("intro"), elem_id="intro")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                image = gr.File(label=text("image"), file_types=_SUFFIXES, height=130, elem_id="image")
                model = gr.Dropdown(models, value=models[0][1], label=text("model"), elem_id="model")
                with gr.Row():
                    run = gr.Button(text("run"), variant="primary", elem_id="run")
                    stop = gr.Button(text("stop"), elem_id="stop")
                with gr.Accordion(text("options"), open=True):
                    tile = gr.Slider(
                        SMALLEST_TILE,
                        LARGEST_TILE,
                        value=256,
                        step=16,
                        label=text("tile"),
                        info=text("tile_info"),
                        elem_id="tile",
                    )
                    # without `minimum`: gradio would refuse the rest in English
                    memory = gr.Number(
                        value=0, label=text("memory"), info=text("memory_info"), elem_id="memory"
                    )
                    outscale = gr.Number(
                        value=0, label=text("outscale"), info=text("outscale_info"), elem_id="outscale"
                    )
                    extension = gr.Dropdown(_FORMATS, value="png", label=text("format"), elem_id="format")
                    ensemble = gr.Checkbox(
                        label=text("ensemble"), info=text("ensemble_info"), elem_id="ensemble"
                    )
            with gr.Column(scale=3):
                slider = gr.ImageSlider(
                    label=text("slider"),
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                    height=560,
                    max_height=560,
                    elem_id="slider",
                )
                status = gr.Markdown(elem_id="status")
                download = gr.DownloadButton(text("download"), interactive=False, elem_id="download")
        upscale, end = _handlers(service)
        run.click(
            upscale,
            [image, model, tile, memory, outscale, ensemble, extension],
            [slider, status, download],
            concurrency_limit=None,  # the service's admission is the limit
            show_progress_on=[slider],
            api_visibility="private",
        )
        # Without `cancels`: gradio's would end the request first and still show what it had sent before.
        stop.click(end, None, None, api_visibility="private")
        page.queue(max_size=_WAITING)
    return page


# No `from __future__ import annotations` here: gradio reads those of the handlers, where `gr` is local.
def _handlers(service: Service) -> tuple[Callable[..., Iterator[tuple[Any, ...]]], Callable[..., None]]:
    """What the buttons for starting and stopping do."""
    import gradio as gr

    jobs: dict[str | None, Job] = {}  # of each open tab

    def end(request: gr.Request) -> None:
        job = jobs.get(request.session_hash)
        if job is not None:
            job.stop()

    def upscale(
        image: str | None,
        model: str,
        tile: float,
        memory: float | None,
        outscale: float | None,
        ensemble: bool,
        extension: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio recognises the argument by its default
    ) -> Iterator[tuple[Any, ...]]:
        language = language_of(request.headers.get("accept-language", ""))
        if image is None:
            raise gr.Error(say(language, "no_image"), print_exception=False)
        given = Path(image)
        try:
            options = Options(
                tile=int(tile),
                max_memory=round(memory * 1e9) if memory else None,
                outscale=outscale or None,
                ensemble=ensemble,
                extension=extension,
            )
            with service.admission.enter(), service.own_folder() as place:
                source = Path(shutil.copyfile(given, place / "image"))
                job = service.submit(source, model, options, preview=True, stem=given.stem)
                jobs[request.session_hash] = job
                unit = say(language, "unit")
                try:
                    for _ in _unfinished(job):
                        total = job.watch.total
                        stage = _stage(job, language)
                        progress((job.watch.done, total) if total else 0, desc=stage, unit=unit)
                        yield gr.skip(), stage, gr.skip()
                    result = job.future.result()
                    label = say(language, "file", name=result.path.name)
                    button = gr.DownloadButton(label, str(result.path), interactive=True)
                    yield result.preview, _summary(result, job, language), button  # gradio copies the file
                finally:  # also when the page is closed
                    del jobs[request.session_hash]
                    job.stop()
                    with suppress(CancelledError):
                        job.future.exception()  # the folder stays until the worker has left it
        except (CancelledError, RefusedError) as ended:
            if isinstance(ended, RefusedError) and ended.code != CANCELLED:
                raise gr.Error(refusal(ended, language, service.limits), print_exception=False) from None
            yield gr.skip(), say(language, "stopped"), gr.DownloadButton(interactive=False)

    return upscale, end


def _unfinished(job: Job) -> Iterator[None]:
    """Return when a job has ended, come back now and then before."""
    while True:
        try:
            job.future.exception(timeout=_POLL)
        except NotYet:
            yield
        else:
            return


def _stage(job: Job, language: str) -> str:
    """What is going on, in words."""
    if not job.future.running():
        return say(language, "waiting")
    if not job.watch.total:
        return say(language, "reading")
    return say(language, "at", done=job.watch.done, total=job.watch.total)


def _summary(result: Result, job: Job, language: str) -> str:
    """One line about a result."""
    report, count = result.report, job.watch.total
    before, after = (" × ".join(map(str, report[key])) for key in ("size", "output_size"))
    tiles = say(language, "tiles" if count > 1 else "whole", count=count, plan=report["tiles"])
    text = say(
        language,
        "summary",
        before=before,
        after=after,
        seconds=report["seconds"],
        tiles=tiles,
        model=report["model"],
    )
    return text + "".join(say(language, "note", warning=warning) for warning in report["warnings"])
