"""`ppsr convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert")(convert_file)


def convert_file(
    source: Annotated[Path, typer.Argument(help=".pdparams, .pth, .safetensors or ncnn.", metavar="IN")],
    target: Annotated[
        Path,
        typer.Argument(help=".pdparams, .pth, .safetensors or .param; a folder with --to.", metavar="OUT"),
    ],
    to: Annotated[str, typer.Option(help="Suffix to write, such as safetensors, into the folder OUT.")] = "",
    key: Annotated[str, typer.Option(help="Entry of a .pth file; by default params_ema, then params.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option("-o", "--option", help="KEY=VALUE of the network that its keys do not show: scale=3."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Print a line for every tensor.")] = False,
) -> None:
    """Convert weights between Paddle's and PyTorch's files; nothing in them is executed."""
    from ppsr.config.yaml_tree import parse_scalar_text
    from ppsr.weights.convert import convert

    if to:
        target = target / f"{source.stem}.{to.lstrip('.')}"
    pairs = (text.partition("=") for text in option or ())
    options = {name: parse_scalar_text(value, f"-o {name}") for name, _, value in pairs}
    reports, found = convert(source, target, key=key or None, options=options)
    if report:
        for line in reports:
            turned = "transposed" if line.transposed else "as it is"
            print(f"{line.source}\t{line.target}\t{'x'.join(map(str, line.shape)) or 'scalar'}\t{turned}")
    for name, network in found.items():
        known = f"{network[0]} {network[1]}" if network else "an unknown network"
        print(f"{name + ': ' if name else ''}{known}")
    print(f"{len(reports)} tensors, {sum(line.transposed for line in reports)} transposed: {target}")
