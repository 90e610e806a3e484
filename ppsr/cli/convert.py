"""`ppsr convert` and `ppsr convert-config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ppsr.cli.flags import log_to_console
from ppsr.errors import ConfigError, printable


def convert_file(
    source: Annotated[
        Path, typer.Argument(help="Weights: .pdparams, .pth, .safetensors or ncnn.", metavar="IN")
    ],
    target: Annotated[
        Path,
        typer.Argument(help=".pdparams, .pth, .safetensors or .param; with --to a folder.", metavar="OUT"),
    ],
    to: Annotated[str, typer.Option(help="Write a file with this suffix into the folder OUT.")] = "",
    key: Annotated[str, typer.Option(help="Entry of a .pth file; default: params_ema, then params.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "-o", "--option", help="KEY=VALUE of the network that the weights do not show, such as scale=3."
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Print a line for every tensor.")] = False,
) -> None:
    """Convert weights between the file formats of Paddle, PyTorch and ncnn. No code in them is executed."""
    from ppsr.config.yaml_tree import parse_scalar_text
    from ppsr.weights.convert import convert

    log_to_console()
    if to:
        target = target / f"{source.stem}.{to.lstrip('.')}"
    for text in option or ():
        if "=" not in text:
            raise ConfigError(f"-o takes KEY=VALUE, got '{text}'")
    pairs = (text.partition("=") for text in option or ())
    options = {name: parse_scalar_text(value, f"-o {name}") for name, _, value in pairs}
    reports, found = convert(source, target, key=key or None, options=options)
    if report:
        for line in reports:
            turned = "transposed" if line.transposed else "unchanged"
            shape = "x".join(map(str, line.shape)) or "scalar"
            print(*map(printable, (line.source, line.target, shape, turned)), sep="\t")
    for name, network in found.items():
        known = f"{network[0]} {network[1]}" if network else "unknown network"
        print(printable(f"{name + ': ' if name else ''}{known}"))
    print(f"{len(reports)} tensors, {sum(line.transposed for line in reports)} transposed: {target}")


def convert_config(
    source: Annotated[
        Path,
        typer.Argument(
            help="Option file of a BasicSR project, or a PaddleGAN or PaddleDepth config.", metavar="IN"
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Config file to write.", metavar="OUT")],
    test_set: Annotated[
        str | None, typer.Option(help="Key or name of the test set to convert; default: the first.")
    ] = None,
) -> None:
    """Convert an option file of another project and list the keys that have no counterpart."""
    from ppsr.compat.options import convert_options, notes_of, to_text
    from ppsr.files import atomic_write

    if output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{output} must end in .yaml")
    if output.resolve() == source.resolve():
        raise ConfigError(f"{output} is the file to convert; choose another name")
    conversion = convert_options(source, test_set=test_set)
    replaced = ", replacing an earlier file" if output.exists() else ""
    atomic_write(output, to_text(conversion, output))
    for line in notes_of(conversion):
        print(printable(line))
    usage = "ppsr train -c" if conversion.trains else "ppsr train --evaluate-only -c"
    print(f"{output}: from a {conversion.kind}{replaced}. Check its folders, then run: {usage} {output}")
