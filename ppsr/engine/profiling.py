"""Paddle's profiler over some steps of a run, by PaddleGAN's flag `-p`."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import paddle

from ppsr.errors import ConfigError, did_you_mean

logger = logging.getLogger(__name__)

_KEYS = ("batch_range", "profile_path", "exit_on_finished")
_WITHOUT_EFFECT = ("state", "sorted_key", "tracer_option", "timer_only", "record_shapes")


class StepProfiler:
    """Records the steps of a range, writes a Chrome trace and prints the summary.

    Args:
        text: `batch_range=[10,20];profile_path=FOLDER;exit_on_finished=true`, or None for no profiler.
        folder: run folder; traces are written to its subfolder `profile` unless `profile_path` is set.

    Raises:
        ConfigError: an unknown key, or a range that is none.
    """

    def __init__(self, text: str | None, folder: Path) -> None:
        self.done = False
        self._profiler: paddle.profiler.Profiler | None = None
        if text is None:
            return
        options = _parse(text)
        self._first, self._last = _range(options["batch_range"] or "[10,20]")
        self._exits = options["exit_on_finished"].lower() == "true"
        self._path = Path(options["profile_path"] or folder / "profile")
        self._profiler = paddle.profiler.Profiler(
            scheduler=(self._first, self._last),
            on_trace_ready=paddle.profiler.export_chrome_tracing(str(self._path)),
        )
        self._steps = 0
        self._profiler.start()

    def step(self) -> bool:
        """Count a step; True when the run should end because the range is over and that was asked for."""
        if self._profiler is None or self.done:
            return False
        self._steps += 1
        self._profiler.step()
        if self._steps < self._last:
            return False
        self.close()
        return self._exits

    def close(self) -> None:
        """Stop recording and print what was recorded."""
        if self._profiler is None or self.done:
            return
        self.done = True
        self._profiler.stop()
        if self._steps > self._first:
            self._profiler.summary(op_detail=True, thread_sep=False)
            logger.info(
                "traces of steps %d to %d in %s", self._first, min(self._steps, self._last), self._path
            )


def _parse(text: str) -> dict[str, str]:
    options = dict.fromkeys(_KEYS, "")
    for part in filter(None, text.split(";")):
        key, _, value = part.partition("=")
        if key in _WITHOUT_EFFECT:
            logger.warning("-p %s has no effect here", key)
        elif key not in _KEYS:
            raise ConfigError(f"-p has no option '{key}'; {did_you_mean(key, _KEYS)}")
        options[key] = value
    return options


def _range(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"\[?\s*(\d+)\s*,\s*(\d+)\s*\]?", text)
    if numbers is None or int(numbers[1]) >= int(numbers[2]):
        raise ConfigError(f"-p batch_range must be two growing step numbers such as [10,20], got {text!r}")
    return int(numbers[1]), int(numbers[2])
