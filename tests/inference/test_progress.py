"""The bar of a batch."""

import logging
import re
import sys
from io import StringIO

from ppsr.inference.progress import Progress, progress_bar
from ppsr.logs import setup_logging


class Terminal(StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_name_count_steps_and_the_remaining_time(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar() as show:
        progress = Progress(4, show)
        progress.finish({"path": "0.png", "status": "skipped", "reason": "it is there"})
        progress.start("a.png", 10, unit="tile")
        for _ in range(5):
            progress.step()
    shown = terminal.getvalue()
    assert re.search(r"2 of 4: a.png, tile 5 of 10: +38%\|.*1.5/4 \[00:00<", shown)
    assert "2 of 4: a.png, tile 1 of 10" in shown


def test_elsewhere_the_log_tells_now_and_then_how_far_it_is(monkeypatch, caplog):
    clock = iter([0, 5, 10, 15, 20, 1000, 1010, 1200])
    monkeypatch.setattr(sys, "stderr", StringIO())
    monkeypatch.setattr("ppsr.inference.progress.time.monotonic", lambda: next(clock))
    with caplog.at_level("INFO", "ppsr"), progress_bar() as show:
        progress = Progress(1, show)
        progress.start("a.mp4", 12, unit="frame")
        for _ in range(6):
            progress.step()
    assert [record.message for record in caplog.records] == [
        "1 of 1: a.mp4, frame 1 of 12, 8 %, 01:50 left",
        "1 of 1: a.mp4, frame 3 of 12, 25 %, 01:00 left",
        "1 of 1: a.mp4, frame 4 of 12, 33 %, 33:20 left",
        "1 of 1: a.mp4, frame 6 of 12, 50 %, 20:00 left",
    ]


def test_log_lines_stay_whole(monkeypatch):
    terminal = Terminal()
    logger = logging.getLogger("ppsr")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, terminal)
    for name, value in {"handlers": [], "propagate": True, "level": logger.level}.items():
        monkeypatch.setattr(logger, name, value)
    setup_logging(None)
    with progress_bar() as show:
        show("1 of 2", "a.png", 0, 2)
        logger.warning("a line")
    assert re.search(r"\r\[.*\] ppsr WARNING: a line\n", re.sub(r"\r +\r", "\r", terminal.getvalue()))
