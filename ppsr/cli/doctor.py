"""`ppsr doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["register"]

_MARKS = {"ok": "ok", "info": "", "missing": "--", "failed": "!!"}
_TITLES = {"system": "System", "package": "Packages", "optional": "Optional parts", "check": "Checks"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    checks: Annotated[
        bool, typer.Option(help="Compute something: a forward pass, an export, each backend.")
    ] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one check.")] = 180,
) -> None:
    """Describe this installation for a bug report, and check that it works.

    Names of users and machines are left out. Exit code 1 when something that ppsr needs is broken."""
    from ppsr.doctor import diagnose

    part, failed = "", 0
    for line in diagnose(checks=checks, seconds=timeout):
        if line.part != part:
            part = line.part
            print(_TITLES[part], flush=True)
        print(f"  {_MARKS[line.state]:>2}  {line.name:<22}  {line.text}", flush=True)
        failed += line.state == "failed"
    print(f"{failed} problems (!!)" if failed else "No problem was found.")
    if failed:
        raise typer.Exit(1)
