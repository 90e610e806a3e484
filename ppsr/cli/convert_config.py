"""`ppsr convert-config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert-config")(convert_config)


def convert_config(
    source: Annotated[
        Path,
        typer.Argument(
            help="Option file of BasicSR and its children, config of PaddleGAN or PaddleDepth, or a "
            "script with DRN's command line.",
            metavar="IN",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The config file to write.", metavar="OUT")],
    test_set: Annotated[
        str | None, typer.Option(help="Which of several test sets, by key or name; default: the first.")
    ] = None,
) -> None:
    """Convert a published option file; keys without a counterpart are listed."""
    from ppsr.compat.options import convert_options, notes_of, to_text
    from ppsr.errors import ConfigError
    from ppsr.files import atomic_write

    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{output} must end in .yaml")
    if output.resolve() == source.resolve():
        raise ConfigError(f"{output} is the file to convert; give another name")
    conversion = convert_options(source, test_set=test_set)
    atomic_write(output, to_text(conversion, output))
    for line in notes_of(conversion):
        print(line)
    what = "trains" if conversion.trains else "tests; add --evaluate-only"
    print(f"{output}: from a {conversion.kind}; it {what}. Look at its folders, then try it with --dry-run.")
