"""`ppsr configs`: the training configs that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List and copy the training configs that come with the package.", no_args_is_help=True)


@app.command("list")
def list_configs() -> None:
    """Print the name and the first line of every config."""
    from ppsr.config.loader import shipped_configs

    found = shipped_configs()
    width = max(map(len, found), default=0)
    for name, path in found.items():
        first = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        print(f"{name:<{width}}  {first}")


@app.command("copy")
def copy_config(
    name: Annotated[str, typer.Argument(help="Name of a config, as printed by `ppsr configs list`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File or folder to write.")] = Path(),
) -> None:
    """Copy a config, together with its base config, to edit it."""
    from ppsr.config.loader import find_config, read_base
    from ppsr.errors import ConfigError
    from ppsr.files import atomic_write

    source = find_config(name)
    target = output / source.name if output.is_dir() else output
    files = {target: source}
    base = read_base(source)
    if base is not None:
        files[target.parent / base.name] = base
    for place in files:
        if place.exists():
            raise ConfigError(f"{place} exists; choose another name with -o")
    for place, file in files.items():
        atomic_write(place, file.read_bytes())
        print(place)


@app.command()
def schema() -> None:
    """Print the JSON schema of the config sections, for editors."""
    import json

    from ppsr.config.schema import Experiment

    print(json.dumps(Experiment.model_json_schema(), indent=1))
