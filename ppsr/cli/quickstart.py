"""`ppsr quickstart`."""

from __future__ import annotations

import typer


def quickstart() -> None:
    """Upscale a photo with published weights, then train and score a small network in this folder."""
    from ppsr.cli.train import main as train
    from ppsr.quickstart import main

    raise typer.Exit(main(train))
