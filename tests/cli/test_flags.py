"""What a user sees when the system refuses a file, and when a name cannot be printed."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress

import pytest

from ppsr import cli
from ppsr.cli.flags import exit_on_signals, run_command
from ppsr.errors import ConfigError
from ppsr.logs import setup_logging
from ppsr.weights.files import write_state
from tests.cli.signals import unhandled
from tests.inference.helpers import small_network


@pytest.fixture
def place(tmp_path):
    """Weights, and a file where folders are wanted."""
    net = small_network("SRVGGNetCompact")
    write_state(tmp_path / "net.pdparams", {k: v.numpy() for k, v in net.state_dict().items()})
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [["export", "--load", "net.pdparams", "-o", "file/net"], ["convert", "net.pdparams", "file/net.pth"]],
)
def test_an_output_that_cannot_be_written_is_one_line(place, arguments, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["ppsr", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "ppsr: file" in error
    assert "Not a directory" in error or "File exists" in error


EVIL, SHOWN = "a\n\x1b[31mb\u2028.png", r"a\n\x1b[31mb\u2028.png"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (ConfigError(f"{EVIL} is wrong"), f"ppsr: {SHOWN} is wrong\n"),
        (ConfigError("wrong:", EVIL, "more"), f"ppsr: wrong:\n  {SHOWN}\n  more\n"),
        (PermissionError(13, "Permission denied", EVIL), f"ppsr: {SHOWN}: Permission denied\n"),
    ],
)
def test_control_characters_are_escaped(error, lines, capsys):
    def run():
        raise error

    assert run_command(run, name="ppsr") == 2
    assert capsys.readouterr().err == lines


def test_names_with_control_characters_are_logged_in_one_line(capsys):
    setup_logging(None)
    logging.getLogger("ppsr.x").warning("%s: skipped", EVIL)
    assert capsys.readouterr().out.partition(" ppsr.x ")[2] == f"WARNING: {SHOWN}: skipped\n"


def test_errors_of_the_system_interruptions_and_others():
    def refused():
        raise PermissionError(13, "Permission denied", "a.png")

    def interrupted():
        raise KeyboardInterrupt

    def broken():
        raise OSError("(External) a kernel failed")

    assert run_command(refused) == 2
    assert run_command(interrupted) == 130
    assert run_command(lambda: 0) == 0
    with pytest.raises(OSError, match="kernel"):
        run_command(broken)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_printed(capsys):
    def names():
        print(os.fsdecode(b"bad\xff.png"))
        return 0

    assert run_command(names) == 0
    assert capsys.readouterr().out == "bad\\udcff.png\n"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("ResourceExhaustedError: out of memory\non GPU 0")]
)
def test_memory_that_runs_out_is_one_line(error, capsys):
    def run():
        raise error

    assert run_command(run) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: not enough memory: ")


def test_an_error_of_the_program_itself_is_not_hidden():
    def run():
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        run_command(run)


def test_a_missing_paddle_is_one_line(capsys):
    def run():
        raise ModuleNotFoundError("No module named 'paddle'", name="paddle")

    assert run_command(run) == 2
    error = capsys.readouterr().err
    assert "pip install paddlepaddle" in error
    assert error.count("\n") == 1


def test_other_missing_modules_are_not_hidden():
    def run():
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    with pytest.raises(ModuleNotFoundError):
        run_command(run)


def test_signals_that_are_ignored_stay_so():
    """Under nohup, a run outlives its terminal."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with unhandled(signal.SIGTERM), exit_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(SystemExit):
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_a_signal_whose_exception_was_swallowed_still_stops_the_training():
    from ppsr.engine.signals import StopRequest

    with unhandled(signal.SIGTERM), exit_on_signals():
        with suppress(SystemExit):  # as a library that catches everything
            signal.raise_signal(signal.SIGTERM)
        with StopRequest() as stop:
            assert stop.signal == signal.SIGTERM
