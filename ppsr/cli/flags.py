"""What the scripts with PaddleGAN's flags share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from ppsr.errors import PpsrError

__all__ = ["add_overrides", "ended"]


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `-o KEY=VALUE ...`, which may be given several times; `opt` has them all."""
    parser.add_argument(
        "-o",
        "--opt",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override config keys",
    )


def ended(run: Callable[[], int]) -> int:
    """Run a command; an error that is meant for its user is one line and its exit code."""
    try:
        return run()
    except PpsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
