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
            help="Option file of a BasicSR project, or a PaddleGAN or PaddleDepth config.",
            metavar="IN",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Config file to write.", metavar="OUT")],
    test_set: Annotated[
        str | None, typer.Option(help="Key or name of the test set to convert; default: the first.")
    ] = None,
) -> None:
    """Convert an option file of another project and list the keys that have no counterpart."""
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
