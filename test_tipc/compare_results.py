"""Compare the scores of two logs: python test_tipc/compare_results.py --gt_file A --log_file B

Scores are `Metric NAME: VALUE`, alone on a line or at the end of a log line; the last of a name counts.
The exit code is 1 where a score differs by more than `atol + rtol * |A|`, is not a number, or stands in one
file only.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

_SCORE = re.compile(r"\bMetric (\S+): (\S+)\s*$", re.MULTILINE)


def read_scores(path: Path) -> dict[str, float]:
    """Scores by name."""
    found = _SCORE.findall(path.read_text(encoding="utf-8", errors="replace"))
    return {name: float(value) for name, value in found}


def differences(expected: dict[str, float], actual: dict[str, float], atol: float, rtol: float) -> list[str]:
    """What is wrong, a line each."""
    if not expected:
        return ["there is no score to compare with"]
    wrong = [f"{name} stands in one file only" for name in sorted(expected.keys() ^ actual.keys())]
    for name in sorted(expected.keys() & actual.keys()):
        a, b = expected[name], actual[name]
        if not (a == b or abs(a - b) <= atol + rtol * abs(a)):  # so put, it holds for nan too
            wrong.append(f"{name} is {b}, expected {a}")
    return wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Compare the scores of two logs.")
    parser.add_argument("--gt_file", type=Path, required=True, help="log with the expected scores")
    parser.add_argument("--log_file", type=Path, required=True, help="log with the scores to check")
    parser.add_argument("--atol", type=float, default=1e-3)
    parser.add_argument("--rtol", type=float, default=1e-3)
    arguments = parser.parse_args(argv)
    expected, actual = read_scores(arguments.gt_file), read_scores(arguments.log_file)
    wrong = differences(expected, actual, arguments.atol, arguments.rtol)
    for name in sorted(expected.keys() & actual.keys()):
        print(f"{name}: {actual[name]}, expected {expected[name]}")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
