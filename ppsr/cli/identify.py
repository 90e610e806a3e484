"""`ppsr models identify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the group `models`, which is made if it is not there."""
    for group in app.registered_groups:
        if group.name == "models" and group.typer_instance is not None:
            group.typer_instance.command("identify")(identify_file)
            return
    models = typer.Typer(help="Networks.", no_args_is_help=True)
    models.callback()(lambda: None)  # keeps the command named even while it is the only one
    models.command("identify")(identify_file)
    app.add_typer(models, name="models")


def identify_file(
    file: Annotated[Path, typer.Argument(help=".pdparams, .pth, .safetensors or ncnn.", metavar="FILE")],
) -> None:
    """Name the network of a weight file and its constructor arguments, from keys and shapes alone."""
    from ppsr.weights import read_file

    weights = read_file(file)
    print(f"{file}: {weights.container}{f', entry {weights.nest}' if weights.nest else ''}")
    for note in weights.notes:
        print(f"  {note}")
    for name, state in weights.nets.items():
        found, arguments = weights.network(name)
        numbers = sum(value.size for value in state.values())
        text = json.dumps({"name": found, **arguments})
        print(f"{name + ': ' if name else ''}{text}  ({len(state)} tensors, {numbers:,} numbers)")
