"""`ppsr doctor`."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from ppsr.cli.flags import log_to_console

_MARKS = {"ok": "ok", "info": "", "missing": "--", "failed": "!!"}
_TITLES = {"system": "System", "package": "Packages", "optional": "Extras", "check": "Checks"}


def doctor(
    checks: Annotated[bool, typer.Option(help="Export a small network and run every backend on it.")] = True,
) -> None:
    """Describe this installation for a bug report and check that it works.

    Exit code 1 when something that ppsr needs is missing or broken.
    """
    from ppsr.doctor import diagnose

    log_to_console()
    logging.getLogger("ppsr").setLevel(logging.WARNING)  # the lines below say what is tried
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
