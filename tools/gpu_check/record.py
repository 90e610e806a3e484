"""What the parts of the check share: rows of the table, commands, sampling of the GPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["ROOT", "Check", "Monitor", "last_line", "report"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Row:
    """One line of the table; `verdict` is pass, FAIL or not run."""

    part: str
    case: str
    verdict: str
    value: str = ""
    limit: str = ""
    note: str = ""


@dataclass
class Check:
    """What all parts share."""

    cpu: bool
    deadline: float
    folder: Path
    rows: list[Row] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cpu" if self.cpu else "gpu"

    def add(
        self, part: str, case: str, passed: bool | None, value: str = "", limit: str = "", note: str = ""
    ) -> None:
        """Append a row and show it; `passed` is None where the case could not run, which `note` explains."""
        verdict = "not run" if passed is None else "pass" if passed else "FAIL"
        row = Row(part, case, verdict, value, limit, note)
        self.rows.append(row)
        print(f"{row.verdict:<8} {row.part:<10} {row.case:<34} {row.value} {row.note}", flush=True)

    def in_time(self, part: str, case: str) -> bool:
        """Whether another case may begin; a row says so where it may not."""
        if time.monotonic() < self.deadline:
            return True
        self.add(part, case, None, note="the time is over; --minutes N allows more")
        return False

    def run(self, *command: str | Path, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess:
        """A command of this checkout in the check's folder."""
        words = [*prefix, *map(str, command)] if prefix else [sys.executable, "-u", *map(str, command)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )


class Monitor:
    """Samples what nvidia-smi says while a command runs: share of time the GPU idles, peak of used memory."""

    def __init__(self, enabled: bool) -> None:
        self.command = shutil.which("nvidia-smi") if enabled else None
        self.usage: list[float] = []
        self.memory: list[float] = []

    @contextmanager
    def __call__(self) -> Iterator[Monitor]:
        """Sample until the block ends."""
        stop = threading.Event()
        thread = threading.Thread(target=self._sample, args=(stop,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _sample(self, stop: threading.Event) -> None:
        query = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-i", "0"]
        while self.command and not stop.wait(0.25):
            answer = subprocess.run(
                [self.command, *query], capture_output=True, text=True, check=False
            ).stdout
            numbers = re.findall(r"[\d.]+", answer)
            if len(numbers) == 2:
                self.usage.append(float(numbers[0]))
                self.memory.append(float(numbers[1]))

    def __str__(self) -> str:
        busy = [value for value in self.usage if value > 0]  # before the first kernel Python starts
        if not busy:
            return ""
        first = self.usage.index(busy[0])
        idle = 100 - sum(self.usage[first:]) / len(self.usage[first:])
        return f"device idle {idle:.0f} %, peak {max(self.memory):.0f} MB"


def last_line(done: subprocess.CompletedProcess) -> str:
    """What a failed command said last."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"exit code {done.returncode}: {lines[-1][:160] if lines else 'no output'}"


def report(check: Check, about: dict[str, str], seconds: float) -> str:
    """The Markdown table."""
    head = ", ".join(f"{key} {value}" for key, value in about.items())
    lines = [
        f"{head}; {seconds:.0f} s",
        "",
        "| part | case | verdict | value | limit | note |",
        "|---|---|---|---|---|---|",
    ]
    for row in check.rows:
        cells = (str(value).replace("|", "/") for value in asdict(row).values())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
