"""Bars with name, count and remaining time on a terminal; the lines of the log stay whole above them."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ppsr.errors import printable

logger = logging.getLogger(__name__)

_QUIET = 10  # seconds without a log line
Show = Callable[[str, str, float, int], None]


@contextmanager
def progress_bar() -> Iterator[Show]:
    """Show progress on a terminal, elsewhere as log lines; call it with (title, item, done, total).

    Log lines of progress come after 10 seconds at the earliest, then each time a tenth more has passed.

    Example:
        >>> with progress_bar() as show:
        ...     show("bicubic", "Set5", 2, 5)
    """
    # the size is given because tqdm prints nothing on terminals that have none, such as those of `script`
    columns, rows = shutil.get_terminal_size()
    size: dict[str, Any] = {"ncols": columns or 80, "nrows": rows or 24}
    bar = tqdm(leave=False, disable=None, miniters=0, mininterval=0.2, **size)
    with bar:
        shown = ""
        began = logged = time.monotonic()

        def show(title: str, item: str, done: float, total: int) -> None:
            nonlocal shown, logged
            label = printable(f"{title}: {item}")
            now = time.monotonic()
            if bar.disable and done and now - logged >= max(_QUIET, (now - began) / 10):
                logged = now
                left = tqdm.format_interval((now - began) * (total / done - 1))
                logger.info("%s, %.0f %%, %s left", label, 100 * done / total, left)
            bar.set_description_str(label, refresh=False)
            if bar.total != total or done < bar.n:
                bar.reset(total)
            bar.update(round(done, 2) - bar.n)
            if label != shown:  # at once, for the step may be long
                shown = label
                bar.refresh()

        yield show


class Progress:
    """Progress through a number of inputs, each of a number of steps such as tiles or frames.

    Example:
        >>> with progress_bar() as show:
        ...     progress = Progress(2, show)
        ...     progress.start("a.png", 4, unit="tile")
        ...     progress.step()
        ...     progress.finish({"path": "a.png", "status": "skipped", "reason": "the result is there"})
    """

    def __init__(self, inputs: int, show: Show) -> None:
        self._inputs, self._show = inputs, show
        self._finished = self._done = 0
        self._total, self._name, self._unit = 1, "", ""

    def start(self, name: str, steps: int, *, unit: str) -> None:
        """Begin an input of a number of steps."""
        self._name, self._unit, self._done, self._total = name, unit, 0, max(1, steps)
        self._update()

    def step(self) -> None:
        """One step more is done."""
        self._done += 1
        self._update()

    def finish(self, line: Mapping[str, Any]) -> None:
        """An input is done; logs its number, its name, and what became of it by its line in the report."""
        self._finished += 1
        status, reason, name = line["status"], line.get("reason", ""), line["path"]
        where = f"{self._finished} of {self._inputs}" + ("" if name in reason else f": {name}")
        if status == "error":
            logger.error("%s: %s", where, reason)
        elif status == "skipped":
            logger.info("%s: skipped: %s", where, reason)
        else:
            sizes = " -> ".join("{} x {}".format(*line[key]) for key in ("size", "output_size"))
            text = f"{where}: {sizes}, {line['tiles']}, {line['seconds']:.2f} s"
            logger.log(
                logging.WARNING if reason else logging.INFO, "%s", "; ".join(filter(None, [text, reason]))
            )

    def _update(self) -> None:
        step = f", {self._unit} {self._done} of {self._total}" if self._total > 1 else ""
        done = self._finished + min(1.0, self._done / self._total)
        self._show(f"{self._finished + 1} of {self._inputs}", f"{self._name}{step}", done, self._inputs)
