"""The log of the package on the console and in files."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from ppsr.errors import printable

_FORMAT = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"


class _OneLine(logging.Formatter):
    """Messages in one line whatever the names in them; tracebacks keep theirs."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)


class _File(logging.FileHandler):
    """A log file; that the disk is full is reported once, and ends nothing."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, logging's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        if not self.failed:
            print(f"{self.baseFilename} cannot be written: {error.strerror}", file=sys.stderr)
        self.failed = True


class _Console(logging.StreamHandler[TextIO]):
    """The standard output, above a bar that is shown; what can no longer be written there is lost."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, logging's name
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            discard_output(error)
        else:
            super().handleError(record)


def discard_output(error: OSError) -> None:
    """Let everything that is still written to the standard output vanish, silently if its reader has gone, as
    `head` goes."""
    if not isinstance(error, BrokenPipeError):
        print(f"the standard output cannot be written: {error.strerror}", file=sys.stderr)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def setup_logging(folder: Path | None, rank: int = 0) -> None:
    """Send the package's log to the console (rank 0) and to `folder`/log.txt (log.txt.rankN on other
    ranks)."""
    root = logging.getLogger("ppsr")
    root.setLevel(logging.INFO)
    root.propagate = False
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    formatter = _OneLine(_FORMAT, datefmt="%m/%d %H:%M:%S")
    handlers: list[logging.Handler] = [_Console(sys.stdout)] if rank == 0 else []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        name = "log.txt" if rank == 0 else f"log.txt.rank{rank}"
        handlers.append(_File(folder / name, encoding="utf-8", errors="backslashreplace"))
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
