"""`ppsr prepare ...`: making data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

prepare = typer.Typer(help="Make data sets.", no_args_is_help=True)

Force = Annotated[bool, typer.Option("--force", help="Write again what is already there.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(prepare, name="prepare")


@prepare.command()
def samples(output: Annotated[Path, typer.Option("-o")] = Path("data/samples"), force: Force = False) -> None:
    """Real pictures that come with scikit-image: HR for training and validation, and degraded LR for
    validation."""
    from ppsr.prepare.dasr_valid import make_dasr_validation
    from ppsr.prepare.samples import make_samples

    written = make_samples(output, force=force)
    degraded = make_dasr_validation(output / "val", output / "val_LRx4", kind=2, force=force)
    print(
        f"{output}: {written['train']} training and {written['val']} validation pictures, "
        f"{degraded['written']} LR"
    )


@prepare.command("dasr-valid")
def dasr_valid(
    source: Annotated[Path, typer.Argument(help="HR pictures.")],
    output: Annotated[Path, typer.Argument(help="Folder of the LR pictures.")],
    kind: Annotated[int, typer.Option("--type", help="1 weak, 2 standard, 3 severe.")],
    scale: int = 4,
    seed: int = 0,
    force: Force = False,
) -> None:
    """Degraded validation set of DASR, reproducible from the seed and the names."""
    from ppsr.prepare.dasr_valid import make_dasr_validation

    counts = make_dasr_validation(source, output, kind=kind, scale=scale, seed=seed, force=force)
    print(f"{output}: {counts['written']} written, {counts['skipped']} already there")


@prepare.command()
def preview(
    config_file: Annotated[Path, typer.Option("-c", "--config-file")],
    output: Annotated[Path, typer.Option("-o")] = Path("output/preview.png"),
    index: Annotated[int, typer.Option(help="Which picture of dataset.train.")] = 0,
) -> None:
    """A contact sheet of what each stage of the degradation does to a picture."""
    from ppsr.prepare.preview import make_preview

    print(make_preview(config_file, output, index=index))
