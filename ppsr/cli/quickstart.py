"""`ppsr quickstart`."""

from __future__ import annotations

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quickstart")(quickstart)


def quickstart() -> None:
    """Enlarge a photo by published weights, then train, score and draw a small network, below this folder."""
    from ppsr.quickstart import main

    raise typer.Exit(main())
