"""`ppsr serve`."""

from __future__ import annotations

import importlib.util
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ppsr.cli.flags import Trust
from ppsr.errors import ConfigError
from ppsr.serve.models import named_models

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    load: Annotated[
        list[str],
        typer.Option(
            help="FILE, NAME=FILE or NAME=FILE+FILE of weights, or the prefix of an exported network; "
            "several times for several models."
        ),
    ],
    config_file: Annotated[
        list[Path] | None,
        typer.Option(
            "-c", "--config-file", help="Names the network: once for all weights, or once for each of them."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback are open.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name under which a proxy of this machine passes requests on; several times."),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Of the process, such as 2GB; default: 70 % of what is free.")
    ] = None,
    max_upload: Annotated[str, typer.Option(help="Size of a file, such as 32MB.")] = "32MiB",
    max_pixels: Annotated[int, typer.Option(min=1, help="Of an image.")] = 2**22,
    max_output_pixels: Annotated[int, typer.Option(min=1, help="Of a result.")] = 2**26,
    max_seconds: Annotated[float, typer.Option(min=1, help="For computing one image.")] = 600,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Accepted at the same time; one is computed, the others wait.")
    ] = 4,
    backend: Annotated[
        str | None,
        typer.Option(
            help="paddle, inference, onnxruntime, openvino, tensorrt or auto; default: paddle for "
            "weights, auto for exported networks."
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Half precision where it is safe.")] = False,
    trust: Trust = False,
    api_only: Annotated[bool, typer.Option("--api-only", help="No page, only the HTTP interface.")] = False,
) -> None:
    """Open a page in the browser and an HTTP interface for upscaling images, on this machine only."""
    _require(["fastapi", "uvicorn"] if api_only else ["fastapi", "uvicorn", "gradio"])
    models = named_models(load, config_file or [])
    from ppsr.memory import parse_size
    from ppsr.serve.api import create_app
    from ppsr.serve.guard import is_loopback
    from ppsr.serve.limits import Limits
    from ppsr.serve.server import bind, make_server
    from ppsr.serve.service import Service

    limits = Limits(
        max_bytes=parse_size(max_upload),
        max_pixels=max_pixels,
        max_output_pixels=max_output_pixels,
        max_seconds=max_seconds,
        max_requests=max_requests,
    )
    memory = None if max_memory is None else parse_size(max_memory)
    # after Paddle, which has a handler of its own; as an exception, so that the folder is removed
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with (
        tempfile.TemporaryDirectory(prefix="ppsr-serve-") as folder,
        bind(host, port) as listening,
    ):
        service = Service(Path(folder), limits, max_memory=memory)
        try:
            for name, (files, config) in models.items():
                service.load(name, files, config, backend=backend, half=half, trust=trust)
            loopback = is_loopback(host)
            hosts = allow_host or ()
            if api_only:
                app = create_app(service, loopback=loopback, hosts=hosts)
            else:
                from ppsr.serve.page import create_app_with_page

                app = create_app_with_page(service, loopback=loopback, hosts=hosts)
            _announce(host, listening.getsockname()[1], loopback=loopback, models=list(models))
            make_server(app).run(sockets=[listening])
        finally:
            service.close()


def _require(packages: Sequence[str]) -> None:
    """Raise unless packages are installed.

    Raises:
        ConfigError: one is missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"ppsr serve needs {', '.join(missing)}: pip install 'ppsr[serve]'")


def _announce(host: str, port: int, *, loopback: bool, models: Sequence[str]) -> None:
    """Say where the service is, and who reaches it."""
    shown = f"[{host}]" if ":" in host else host
    if not loopback:
        print(
            f"ppsr: warning: everybody who reaches {shown} can use this service, without a password and "
            "without encryption; leave --host out to keep it on this machine",
            file=sys.stderr,
        )
    print(f"ppsr serve: http://{shown}:{port} with {', '.join(models)}; end it by Ctrl-C", flush=True)
