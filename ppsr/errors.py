"""Errors that a user can act on: the command line prints their text without a traceback."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

__all__ = [
    "ConfigError",
    "DataError",
    "PpsrError",
    "WeightError",
    "did_you_mean",
    "first_line",
    "mistake",
    "printable",
]

_ELSEWHERE = {  # names of BasicSR, KAIR and others that no spelling leads from: ours
    "batch-size-per-gpu": "batch_size",
    "betas": "beta1",
    "dataroot-gt": "gt_folder",
    "dataroot-h": "gt_folder",
    "dataroot-hr": "gt_folder",
    "dataroot-l": "lq_folder",
    "dataroot-lq": "lq_folder",
    "dataroot-lr": "lq_folder",
    "gt-patch-size": "gt_size",
    "h-size": "gt_size",
    "hr-folder": "gt_folder",
    "lr": "learning_rate",
    "n-workers": "num_workers",
    "num-worker-per-gpu": "num_workers",
    "patch-size": "gt_size",
    "print-freq": "interval",
    "save-checkpoint-freq": "interval",
    "val-freq": "interval",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_LIBRARIES = (*map(Path, sysconfig.get_paths().values()), Path(__file__).parent)


class PpsrError(ValueError):
    """Something the user gave cannot be used; the message says what was got, what is allowed, what to do.

    A list that belongs to the message, such as of tensors, is given as further arguments, one a line.
    """

    exit_code: int = 2

    def __str__(self) -> str:
        return "\n  ".join(map(str, self.args))


class ConfigError(PpsrError):
    """A configuration is wrong."""


class DataError(PpsrError):
    """An image, folder or list is missing or broken."""


class WeightError(PpsrError):
    """A weight file cannot be used."""


def printable(text: object) -> str:
    """Text in one line: line ends and other control characters, such as file names may have, are escaped.

    >>> print(printable("a\\nb.png"))
    a\\nb.png
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says; others are often of its source code."""
    text = next(filter(None, map(str.strip, str(error).splitlines())), "no details")
    return printable(text[:300])


def mistake(error: Exception) -> str:
    """What an error of a user's component says, and the line of the user's file that led to it."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [
        frame for frame in frames if frame[0].is_file() and not any(map(frame[0].is_relative_to, _LIBRARIES))
    ]
    where = "".join(f" ({path.name}, line {number})" for path, number in own[-1:])
    return f"{type(error).__name__}: {first_line(error)}{where}"


def did_you_mean(name: str, valid: Iterable[str], *, limit: int = 12) -> str:
    """Name the nearest valid spelling, or list the valid ones when none is near.

    >>> did_you_mean("FSRCNN_x3", ["fsrcnn-x3", "espcn-x3"])
    "did you mean 'fsrcnn-x3'?"
    """
    options = sorted({str(option) for option in valid})
    plain = {_plain(option): option for option in options}
    if (elsewhere := _ELSEWHERE.get(_plain(str(name)))) in options:
        return f"did you mean '{elsewhere}'?"
    near = get_close_matches(_plain(str(name)), list(plain), n=1, cutoff=0.5)
    if near:
        return f"did you mean '{plain[near[0]]}'?"
    if not options:
        return "none is allowed here"
    listed = ", ".join(options[:limit]) + (", ..." if len(options) > limit else "")
    return f"valid: {listed}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
