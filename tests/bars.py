"""Bars of reliability: tests that state what is required and what they measured.

By default a bar runs with about a thirtieth of its cases. `pytest -m reliability --bars full` runs all of
them, `--bars-seed N` others; the table at the end is the one in docs/reliability.md.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

PROPERTY = "bar"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--bars short|full`, `--bars-seed N`."""
    parser.addoption(
        "--bars", choices=("short", "full"), default="short", help="cases of the reliability tests"
    )
    parser.addoption("--bars-seed", type=int, default=0, help="seed of these cases")


@dataclass(frozen=True)
class Bar:
    """What a test of reliability asks for its number of cases and reports to."""

    full: bool
    seed: int
    node: Any

    def count(self, full: int) -> int:
        """Number of cases of a bar that has `full` of them."""
        return full if self.full else max(1, full // 30)

    def rng(self) -> np.random.Generator:
        """What draws the cases."""
        return np.random.default_rng(self.seed)

    def report(self, name: str, required: str, measured: str) -> None:
        """Add a line to the table at the end of the test run."""
        self.node.user_properties.append((PROPERTY, (name, required, measured)))


@pytest.fixture
def bar(request: pytest.FixtureRequest) -> Bar:
    """The bar that a test reports to."""
    options = request.config.option
    return Bar(options.bars == "full", options.bars_seed, request.node)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of the bars that were measured."""
    rows = {
        (*map(str, value), report.outcome)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY and report.when == "call"
    }
    if rows:
        terminalreporter.section("reliability")
        terminalreporter.write_line("| bar | required | measured | result |\n|---|---|---|---|")
        for row in sorted(rows):
            terminalreporter.write_line(f"| {' | '.join(row)} |")
