"""Bars with name, count and remaining time on a terminal; the lines of the log stay whole above them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ppsr.errors import printable

__all__ = ["Progress", "progress_bar"]

logger = logging.getLogger(__name__)

_BAR = "{percentage:3.0f}% |{bar}| {desc} [{elapsed}<{remaining}]"


def _bar(**options: Any) -> tqdm:
    # the size is given because tqdm prints nothing on terminals that have none, such as those of `script`
    columns, rows = shutil.get_terminal_size()
    size: dict[str, Any] = {"ncols": columns or 80, "nrows": rows or 24}
    return tqdm(leave=False, disable=None, miniters=0, mininterval=0.2, **size, **options)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, str, int, int], None]]:
    """Show progress on a terminal, and nothing elsewhere; call it with (title, item, done, total).

    Example:
        >>> with progress_bar() as show:
        ...     show("bicubic", "Set5", 2, 5)
    """
    with _bar() as bar, logging_redirect_tqdm([logging.getLogger("ppsr")]):
        shown = ""

        def show(title: str, item: str, done: int, total: int) -> None:
            nonlocal shown
            label = printable(f"{title}: {item}")
            bar.set_description_str(label, refresh=False)
            if bar.total != total or done < bar.n:
                bar.reset(total)
            bar.update(done - bar.n)
            if label != shown:  # at once, for the step may be long
                shown = label
                bar.refresh()

        yield show


class Progress:
    """Progress through a number of inputs, each of a number of steps such as tiles or frames.

    Log lines of the package are printed above the bar. Without a terminal there is no bar.

    Example:
        >>> with Progress(2) as progress:
        ...     progress.start("a.png", 4, unit="tile")
        ...     progress.step()
        ...     progress.finish({"path": "a.png", "status": "skipped", "reason": "the result is there"})
    """

    def __init__(self, inputs: int) -> None:
        self._bar = _bar(total=inputs, bar_format=_BAR)
        self._redirect = logging_redirect_tqdm([logging.getLogger("ppsr")])
        self._inputs = inputs
        self._finished = self._done = 0
        self._total, self._label, self._unit = 1, "", ""

    def __enter__(self) -> Progress:
        self._redirect.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()
        self._redirect.__exit__(*error)

    def start(self, name: str, steps: int, *, unit: str) -> None:
        """Begin an input of a number of steps."""
        self._label = f"{self._finished + 1} of {self._inputs}: {printable(name)}"
        self._done, self._total, self._unit = 0, max(1, steps), unit
        self._show()

    def step(self) -> None:
        """One step more is done."""
        self._done += 1
        self._show()

    def finish(self, line: Mapping[str, Any]) -> None:
        """An input is done; logs its number, its name, and what became of it by its line in the report."""
        self._finished += 1
        self._done = 0
        self._show()
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

    def _show(self) -> None:
        if self._bar.disable:
            return
        step = f", {self._unit} {self._done} of {self._total}" if self._total > 1 else ""
        self._bar.set_description_str(self._label + step, refresh=False)
        self._bar.update(self._finished + min(1.0, self._done / self._total) - self._bar.n)
