"""What commands share: PaddleGAN's flags, errors as one line, exit codes."""

from __future__ import annotations

import io
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ppsr.errors import PpsrError
from ppsr.memory import is_out_of_memory

__all__ = [
    "ConfigFile",
    "Imports",
    "Overrides",
    "SeveralValues",
    "Trust",
    "ended",
    "exit_on_signals",
    "run_alone",
]

logger = logging.getLogger(__name__)

TRUST = "Open exported graphs also with operations that are not known to only compute: they may run code."
Trust = Annotated[bool, typer.Option("--trust", help=TRUST)]


Overrides = Annotated[
    list[str], typer.Option("-o", "--opt", metavar="KEY=VALUE ...", help="Override config keys.")
]
Imports = Annotated[
    list[str],
    typer.Option("--import", metavar="MODULE", help="Import a module that registers your own components."),
]
ConfigFile = Annotated[
    str,
    typer.Option("-c", "--config-file", metavar="FILE", help="Config file, or the name of a shipped config."),
]
_SEVERAL = ("-o", "--opt", "--load-partial")


class SeveralValues(TyperCommand):
    """A command whose `-o` takes any number of values, as PaddleGAN's does: `-o a=1 b=2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        expanded: list[str] = []
        option = ""  # whose values come
        for index, word in enumerate(args):
            if word in _SEVERAL:
                option = word
                if word == "--load-partial" and (index + 1 == len(args) or args[index + 1].startswith("-")):
                    expanded += [word, ""]  # the flag alone
            elif word.startswith("-") or not option:
                option = ""
                expanded.append(word)
            else:
                expanded += [option, word]
        return super().parse_args(ctx, expanded)


def run_alone(command: Callable[..., None], argv: Sequence[str] | None = None) -> int:
    """Run one command as a program of its own, such as tools/main.py; returns its exit code."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command(cls=SeveralValues)(command)

    def run() -> int:
        try:
            app(list(sys.argv[1:] if argv is None else argv))
        except SystemExit as ended_with:
            return int(ended_with.code or 0)
        return 0

    return ended(run)


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
        The exit code: that of a `PpsrError`, 1 where memory runs out, 2 where the system refuses a file, 130
        when interrupted.
    """
    warnings.filterwarnings("ignore", "No ccache found", UserWarning)  # Paddle's; nothing is compiled here
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text that can be printed
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return run()
    except PpsrError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "paddle":
            raise
        print(
            f"{name}: PaddlePaddle is not installed: pip install paddlepaddle==3.3.1, or a GPU build from "
            "https://www.paddlepaddle.org.cn/install/quick",
            file=sys.stderr,
        )
        return 2
    except Exception as error:
        logger.debug("the command failed", exc_info=True)
        if isinstance(error, OSError) and error.errno is not None:  # Paddle's own errors are OSErrors too
            where = "" if error.filename is None else f"{error.filename}: "
            print(f"{name}: {where}{error.strerror}", file=sys.stderr)
            return 2
        if is_out_of_memory(error):
            reason = next(filter(None, map(str.strip, str(error).splitlines())), "nothing more is known")
            print(f"{name}: not enough memory: {reason[:200]}", file=sys.stderr)
            return 1
        raise
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
