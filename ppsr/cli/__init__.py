"""The `ppsr` command. Each module of this package adds its commands in `register(app)`.

Importing these modules must stay cheap: paddle and OpenCV are imported inside the commands, so that `--help`
and usage errors answer at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from ppsr.cli.flags import ended
from ppsr.registry import import_modules

__all__ = ["main"]

_MODULES: tuple[str, ...] = (
    "analyze",
    "configs",
    "convert",
    "convert_config",
    "doctor",
    "evaluate",
    "export",
    "models",
    "identify",  # adds to models
    "infer",
    "prepare",
    "quickstart",
    "serve",
    "train",
    "upscale",
)


def _version(wanted: bool) -> None:
    if wanted:
        import ppsr

        print(f"ppsr {ppsr.__version__}")
        raise typer.Exit()


def _root(
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="Import a module of your own components."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options before a sub-command."""
    if imports:
        import_modules(imports)


def build_app() -> typer.Typer:
    """The command with all its sub-commands."""
    app = typer.Typer(
        name="ppsr",
        help="Super-resolution on PaddlePaddle.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for module in _MODULES:
        import_module(f"ppsr.cli.{module}").register(app)
    return app


def main() -> None:
    """Run the command. Exit codes: 0 all good, 1 some inputs failed, 2 usage or config error, 3 nothing
    usable."""
    sys.exit(ended(build_app(), name="ppsr"))
