"""The log of the package on the console and in files."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from ppsr.errors import printable

__all__ = ["setup_logging"]

_FORMAT = "[%(asctime)s] %(name)s %(levelname)s: %(message)s"


class _OneLine(logging.Formatter):
    """Messages in one line whatever the names in them; tracebacks keep theirs."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's name
        record.message = printable(record.message)
        return super().formatMessage(record)


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
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)] if rank == 0 else []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        name = "log.txt" if rank == 0 else f"log.txt.rank{rank}"
        handlers.append(logging.FileHandler(folder / name, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(formatter)
        root.addHandler(handler)
