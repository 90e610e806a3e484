"""The `ppsr` command.

Importing its modules is cheap: Paddle and OpenCV are imported inside the commands, so that `--help` and usage
errors answer at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from ppsr.cli.flags import SeveralValues, run_command
from ppsr.registry import import_modules

__all__ = ["build_app", "main"]

# command -> module and function; PaddleGAN's flags take several values
_COMMANDS = {
    "backends": ("export", "backends", None),
    "cache": ("cache", "cache", None),
    "compare": ("compare", "compare", None),
    "convert": ("convert", "convert_file", None),
    "convert-config": ("convert", "convert_config", None),
    "doctor": ("doctor", "doctor", None),
    "evaluate": ("evaluate", "evaluate_images", None),
    "export": ("export", "export", None),
    "infer": ("infer", "infer", SeveralValues),
    "quickstart": ("quickstart", "quickstart", None),
    "serve": ("serve", "serve", None),
    "train": ("train", "train", SeveralValues),
    "upscale": ("upscale", "upscale", None),
}
_GROUPS = ("analyze", "configs", "models", "prepare")


def _version(wanted: bool) -> None:
    if wanted:
        import ppsr

        print(f"ppsr {ppsr.__version__}")
        raise typer.Exit()


def _root(
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import", metavar="MODULE", help="Import a module that registers your own components."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if imports:
        import_modules(imports)


def build_app(name: str | None = None) -> typer.Typer:
    """Build the command with all its sub-commands, or with the one of this name, in half the time."""
    app = typer.Typer(
        name="ppsr",
        help="Super-resolution on PaddlePaddle.",
        epilog="Exit codes: 0 success, 1 some inputs failed, 2 wrong usage or config, 3 no usable input, "
        "130 interrupted.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # importing rich takes as long as everything else
        context_settings={"max_content_width": 110},
    )
    app.callback()(_root)
    for command, (module, function, kind) in _COMMANDS.items():
        if name in (None, command):
            app.command(command, cls=kind)(getattr(import_module(f"ppsr.cli.{module}"), function))
    for group in _GROUPS:
        if name in (None, group):
            app.add_typer(import_module(f"ppsr.cli.{group}").app, name=group)
    return app


def main() -> None:
    """Run the command line and exit."""
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    app = build_app(first if first in (*_COMMANDS, *_GROUPS) else None)
    sys.exit(run_command(app, name="ppsr"))
