"""`ppsr doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["doctor"]

_MARKS = {"ok": "ok", "info": "", "missing": "--", "failed": "!!"}
_TITLES = {"system": "System", "package": "Packages", "optional": "Extras", "check": "Checks"}


def doctor(
    checks: Annotated[bool, typer.Option(help="Export a small network and run every backend on it.")] = True,
) -> None:
    """Describe this installation for a bug report and check that it works.

    Exit code 1 when something that ppsr needs is missing or broken.
    """
    from ppsr.doctor import diagnose

    part, failed = "", 0
    for line in diagnose(checks=checks):
        if line.part != part:
            part = line.part
            print(_TITLES[part], flush=True)
        print(f"  {_MARKS[line.state]:>2}  {line.name:<22}  {line.text}", flush=True)
        failed += line.state == "failed"
    print(f"{failed} problems (!!)" if failed else "No problems found.")
    if failed:
        raise typer.Exit(1)
