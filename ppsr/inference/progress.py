"""Progress of a batch: a bar with name, count and remaining time on a terminal, log lines everywhere."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["Progress"]

logger = logging.getLogger(__name__)

_BAR = "{percentage:3.0f}% |{bar}| {desc} [{elapsed}<{remaining}]"


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
        # the size is given because tqdm prints nothing on terminals that have none, such as those of `script`
        columns, rows = shutil.get_terminal_size()
        size: dict[str, Any] = {"ncols": columns or 80, "nrows": rows or 24}
        often: dict[str, Any] = {"miniters": 0, "mininterval": 0.2}
        self._bar = tqdm(total=inputs, bar_format=_BAR, leave=False, disable=None, **often, **size)
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
        self._label = f"{self._finished + 1} of {self._inputs}: {name}"
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
