"""`ppsr serve`."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ppsr.cli.flags import Backend, Half, MaxMemory, Precision, Trust, exit_on_signals, log_to_console
from ppsr.errors import ConfigError


def serve(
    load: Annotated[
        list[str],
        typer.Option(
            help="FILE, NAME=FILE or NAME=FILE+FILE of weights, a run folder, a name of `ppsr models list`, "
            "or an exported network (folder or prefix); repeat it for several models."
        ),
    ] = [],
    config_file: Annotated[
        list[Path],
        typer.Option(
            "-c",
            "--config-file",
            help="Config that defines the network: once for all --load, or once for each; default: inferred "
            "from the weights.",
        ),
    ] = [],
    catalogue: Annotated[
        bool, typer.Option(help="Offer published models too; they are downloaded when first used.")
    ] = True,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; others than loopback expose the service to the network."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 7860,
    allow_host: Annotated[
        list[str],
        typer.Option(
            help="Host name under which a proxy of this machine forwards requests; may be repeated."
        ),
    ] = [],
    max_memory: MaxMemory = None,
    max_upload: Annotated[str, typer.Option(help="Maximum file size, such as 32MB.")] = "32MiB",
    max_pixels: Annotated[int, typer.Option(min=1, help="Maximum input pixels.")] = 2**22,
    max_output_pixels: Annotated[int, typer.Option(min=1, help="Maximum output pixels.")] = 2**26,
    max_seconds: Annotated[float, typer.Option(min=1, help="Time limit per image in seconds.")] = 600,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Images accepted at the same time; one is computed, the others wait.")
    ] = 4,
    backend: Backend = None,
    precision: Precision = "fp32",
    half: Half = False,
    trust: Trust = False,
) -> None:
    """Serve a web page and an HTTP interface that upscale images, on this machine only."""
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"ppsr serve needs {', '.join(missing)}: pip install 'ppsr[serve]'")
    from ppsr.memory import parse_bytes
    from ppsr.serve.api import create_app
    from ppsr.serve.limits import Limits, is_loopback
    from ppsr.serve.models import catalogue_models, named_models
    from ppsr.serve.server import bind, make_server, run_until_signal
    from ppsr.serve.service import Service
    from ppsr.serve.worker import Worker, open_model

    log_to_console()
    models = named_models(load, config_file)
    own = list(models)
    if catalogue:
        models = {**models, **{name: model for name, model in catalogue_models().items() if name not in own}}
    if not models:
        raise ConfigError("--no-catalogue leaves no model; give some by --load")
    limits = Limits(
        max_bytes=parse_bytes(max_upload),
        max_pixels=max_pixels,
        max_output_pixels=max_output_pixels,
        max_seconds=max_seconds,
        max_requests=max_requests,
    )
    memory = None if max_memory is None else parse_bytes(max_memory)
    opener = partial(open_model, backend=backend, precision="fp16" if half else precision, trust=trust)
    with (
        exit_on_signals(),  # the server has handlers of its own while it runs
        tempfile.TemporaryDirectory(prefix="ppsr-serve-", ignore_cleanup_errors=True) as folder,
        bind(host, port) as listening,
    ):
        worker = Worker(opener, limits, memory, cached=len(own) + 2)
        try:
            service = Service(worker, {**models, **{name: worker.open(models[name]) for name in own}}, limits)
            loopback = is_loopback(host)
            app = create_app(service, Path(folder), loopback=loopback, hosts=allow_host)
            _announce(host, listening.getsockname()[1], loopback=loopback)
            run_until_signal(make_server(app), listening)
        finally:
            worker.close()


def _announce(host: str, port: int, *, loopback: bool) -> None:
    """Say where the service is, and who reaches it."""
    shown = f"[{host}]" if ":" in host else host
    if not loopback:
        print(
            f"ppsr: warning: everybody who reaches {shown} can use this service, without a password and "
            "without encryption; leave --host out to keep it on this machine",
            file=sys.stderr,
        )
    print(f"ppsr serve: http://{shown}:{port}; Ctrl-C ends it", flush=True)
