"""`ppsr models`: what is published, and what a weight file holds."""

from __future__ import annotations

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add `ppsr models` with its sub-commands."""
    models = typer.Typer(help="Published models and weight files.", no_args_is_help=True)
    models.callback()(lambda: None)  # keeps sub-commands named while there is only one
    models.command("list")(list_models)
    app.add_typer(models, name="models")


def list_models(
    like: str = typer.Option("", "--like", help="only names that contain this text, in any case"),
    as_json: bool = typer.Option(
        False, "--json", help="one JSON object per line, with constructor arguments"
    ),
) -> None:
    """Print the published models: network, scale, parameters, MACs for a 64x64 picture, paper."""
    import json

    from ppsr.generators.variants import VARIANTS

    chosen = [variant for variant in VARIANTS if like.lower() in variant.name.lower()]
    if as_json:
        for variant in chosen:
            print(json.dumps({**vars(variant), "kwargs": dict(variant.kwargs)}))
        return
    rows = [("name", "network", "scale", "parameters", "GMACs", "paper")]
    rows += [
        (v.name, v.generator, f"x{v.scale}", f"{v.parameters:,}", f"{v.macs / 1e9:.2f}", v.paper)
        for v in chosen
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for name, network, scale, parameters, macs, paper in rows:
        left = f"{name:<{widths[0]}}  {network:<{widths[1]}}  {scale:>{widths[2]}}"
        print(f"{left}  {parameters:>{widths[3]}}  {macs:>{widths[4]}}  {paper}")
