"""What the scripts with PaddleGAN's flags share."""

from __future__ import annotations

import argparse
import io
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ppsr.errors import PpsrError

__all__ = ["Trust", "add_overrides", "ended", "exit_on_signals"]

logger = logging.getLogger(__name__)

TRUST = "Open exported graphs also with operations that are not known to only compute: they may run code."
Trust = Annotated[bool, typer.Option("--trust", help=TRUST)]


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `-o KEY=VALUE ...` and `--import MODULE`, which may be given several times; `opt` and `imports`
    have them all."""
    parser.add_argument(
        "-o",
        "--opt",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override config keys",
    )
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers components of your own",
    )


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP end the program with 128 + signal as an exception does, so that what it has
    begun is cleaned up."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield
        return
    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
