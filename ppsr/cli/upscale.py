"""`ppsr upscale`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upscale")(upscale)


def upscale(
    source: Annotated[Path, typer.Argument(help="A picture or a folder.", metavar="IN")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder, or a file for one picture.")],
    config_file: Annotated[Path, typer.Option("-c", "--config-file", help="Names the network.")],
    load: Annotated[Path, typer.Option(help="Weights: .pdparams, .pth or .safetensors.")],
    suffix: Annotated[str, typer.Option(help="Appended to the names.")] = "",
    ext: Annotated[str, typer.Option(help="Format of the results.")] = "png",
) -> None:
    """Upscale pictures. Exit code 1 when some of them failed, 3 when all did."""
    from ppsr import accelerate

    accelerate.enable()
    from ppsr.inference.network import load_network
    from ppsr.inference.upscaler import Upscaler, upscale_files

    upscaler = Upscaler(load_network(config_file, load))
    reports = upscale_files(upscaler, source, output, suffix=suffix, extension=ext)
    failed = [r for r in reports if r["status"] != "ok"]
    print(f"{len(reports) - len(failed)} of {len(reports)} pictures upscaled by {upscaler.scale} to {output}")
    for report in failed:
        print(f"failed: {report['path']}: {report['reason']}")
    if failed:
        raise typer.Exit(3 if len(failed) == len(reports) else 1)
