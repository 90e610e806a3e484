"""What the scripts with PaddleGAN's flags share."""

from __future__ import annotations

import argparse
import io
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from ppsr.errors import PpsrError

__all__ = ["Trust", "add_overrides", "ended"]

logger = logging.getLogger(__name__)

TRUST = "Open exported graphs also with operations that are not known to only compute: they may run code."
Trust = Annotated[bool, typer.Option("--trust", help=TRUST)]


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


def ended(run: Callable[[], int], *, name: str = "error") -> int:
    """Run a command; an error that its user can act on is one line and its exit code.

    Args:
        run: returns its exit code.
        name: begins the line.

    Returns:
        The exit code: that of a `PpsrError`, 2 where the system refuses a file, 130 when interrupted.
    """
    warnings.filterwarnings("ignore", "No ccache found", UserWarning)  # Paddle's; nothing is compiled here
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text that can be printed
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return run()
    except PpsrError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno is None:  # Paddle's own errors are OSErrors too
            raise
        logger.debug("the system refused", exc_info=True)
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"{name}: {where}{error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
