"""How far a batch is: a bar with name, count and remaining time on a terminal, log lines everywhere."""

from __future__ import annotations

import logging
import shutil
from types import TracebackType

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["Progress"]

_BAR = "{percentage:3.0f}% |{bar}| {desc} [{elapsed}<{remaining}]"


class Progress:
    """Progress through a number of inputs, each of a number of steps such as tiles or frames.

    Attributes:
        finished: number of inputs that are done.

    Log lines of the package are printed above the bar. Without a terminal there is no bar.

    Example:
        >>> with Progress(2) as progress:
        ...     progress.start("a.png", 4, "tile")
        ...     progress.step()
        ...     progress.finish()
    """

    def __init__(self, inputs: int) -> None:
        # ncols is given because tqdm prints nothing on terminals that have no size, such as those of `script`
        columns = shutil.get_terminal_size().columns
        self._bar = tqdm(
            total=inputs,
            bar_format=_BAR,
            ncols=columns,
            leave=False,
            disable=None,
            miniters=0,
            mininterval=0.2,
        )
        self._redirect = logging_redirect_tqdm([logging.getLogger("ppsr")])
        self._inputs = inputs
        self.finished = 0
        self._done = 0
        self._total = 1
        self._label, self._unit = "", ""

    def __enter__(self) -> Progress:
        self._redirect.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._redirect.__exit__(kind, error, trace)

    def start(self, name: str, steps: int, unit: str) -> None:
        """Begin an input of a number of steps."""
        self._label = f"{self.finished + 1} of {self._inputs}: {name}"
        self._done, self._total, self._unit = 0, max(1, steps), unit
        self._show()

    def step(self) -> None:
        """One step more is done."""
        self._done += 1
        self._show()

    def finish(self) -> None:
        """An input is done, also one that was not started because it is skipped or cannot be read."""
        self.finished += 1
        self._done = 0
        self._show()

    def _show(self) -> None:
        if self._bar.disable:
            return
        step = f", {self._unit} {self._done} of {self._total}" if self._total > 1 else ""
        self._bar.set_description_str(self._label + step, refresh=False)
        self._bar.update(self.finished + min(1.0, self._done / self._total) - self._bar.n)
