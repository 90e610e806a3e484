"""What a user sees when the system refuses a file, and when a name cannot be printed."""

import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ppsr import cli
from ppsr.cli.flags import exit_on_signals, run_command
from ppsr.errors import ConfigError
from ppsr.logs import setup_logging
from ppsr.weights.weight_file import write_state
from tests.cli.signals import unhandled
from tests.command import run_ppsr
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
    ("arguments", "name"),
    [
        (["export", "--load", "net.pdparams", "-o", "file/net"], "file"),
        (["convert", "net.pdparams", "file/net.pth"], "file"),
        (["convert", "net.pdparams", "/proc/x.pth"], "/proc/x.pth: "),
        (["export", "--load", "net.pdparams", "-o", "/proc/x"], "/proc/x: "),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line_with_its_name(
    place, arguments, name, monkeypatch, capsys
):
    if name != "file" and not Path("/proc/self").is_dir():
        pytest.skip("needs a folder that takes no files")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["ppsr", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ppsr: {name}") and error.count("\n") == 1


EVIL, SHOWN = "a\n\x1b[31mb\u2028.png", r"a\n\x1b[31mb\u2028.png"


def _raising(error):
    def run():
        raise error

    return run


MEMORY = "error: not enough memory: "


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError(f"{EVIL} is wrong"), 2, f"error: {SHOWN} is wrong\n"),
        (ConfigError("wrong:", EVIL, "more"), 2, f"error: wrong:\n  {SHOWN}\n  more\n"),
        (PermissionError(13, "Permission denied", EVIL), 2, f"error: {SHOWN}: Permission denied\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (MemoryError(), 1, MEMORY + "no details\n"),
        (RuntimeError("ResourceExhaustedError: out of memory\non GPU 0"), 1, MEMORY),
        (ModuleNotFoundError("", name="paddle"), 2, "error: PaddlePaddle is not installed: pip install "),
        (
            ModuleNotFoundError("", name="cv2"),
            2,
            "error: the package opencv-python-headless is not installed",
        ),
        (ImportError("libGL.so.1: none", name="cv2"), 2, "error: cv2 cannot be imported: libGL.so.1: none"),
    ],
)
def test_what_a_user_can_act_on_is_one_line_with_an_exit_code(error, code, line, capsys):
    assert run_command(_raising(error)) == code
    shown = capsys.readouterr().err
    assert shown.startswith(line)
    assert shown.count("\n") == max(1, len(error.args) if isinstance(error, ConfigError) else 1)


@pytest.mark.parametrize(
    "error",
    [OSError("(External) a kernel"), RuntimeError("a mistake"), ModuleNotFoundError("", name="ppsr.nowhere")],
)
def test_mistakes_of_the_program_are_not_hidden(error):
    with pytest.raises(type(error)):
        run_command(_raising(error))


def test_names_with_control_characters_are_logged_in_one_line(capsys):
    setup_logging(None)
    logging.getLogger("ppsr.x").warning("%s: skipped", EVIL)
    assert capsys.readouterr().out.partition(" ppsr.x ")[2] == f"WARNING: {SHOWN}: skipped\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_printed(capsys):
    def names():
        print(os.fsdecode(b"bad\xff.png"))
        return 0

    assert run_command(names) == 0
    assert capsys.readouterr().out == "bad\\udcff.png\n"


def _with_output(code, output, folder):
    """Run Python code, whose standard output is buffered, and close the output."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    try:
        return subprocess.run(
            command, check=False, stdout=output, stderr=subprocess.PIPE, cwd=folder, env=env
        )
    finally:
        os.close(output)


def _without_reader():
    read, write = os.pipe()
    os.close(read)
    return write


def _full_disk():
    return os.open("/dev/full", os.O_WRONLY)


_FULL = b"the standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize(("output", "said"), [(_without_reader, b""), (_full_disk, _FULL)])
@pytest.mark.parametrize("bar", ["contextlib.nullcontext", "ppsr.inference.progress.progress_bar"])
def test_a_log_outlives_its_output(tmp_path, output, said, bar):
    code = (
        "import contextlib, logging, os, pathlib, ppsr.logs, ppsr.inference.progress\n"
        "ppsr.logs.setup_logging(pathlib.Path('.'))\n"
        f"with {bar}():\n"
        "    [logging.getLogger('ppsr.x').info('%d %s', n, os.fsdecode(b'\\xff')) for n in range(3)]"
    )
    result = _with_output(code, output(), tmp_path)
    assert (result.returncode, result.stderr) == (0, said)
    assert (tmp_path / "log.txt").read_text().splitlines()[2].endswith("INFO: 2 \\udcff")


def test_an_error_behind_paddle_backward_pass_is_one_line(capsys):
    def run() -> int:
        raise SystemError("<built-in function run_backward> returned a result") from ConfigError("no")

    assert run_command(run) == 2
    assert capsys.readouterr().err == "error: no\n"


def test_a_full_disk_is_reported_once_by_the_log_and_names_other_files(tmp_path):
    code = (
        "import logging, pathlib, resource, signal, ppsr.files, ppsr.logs;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60));"
        "ppsr.logs.setup_logging(pathlib.Path('.'));"
        "[logging.getLogger('ppsr.x').info('line %d', n) for n in range(5)];"
        "ppsr.files.atomic_write('result', b'1' * 99)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout.count("line ") == 5
    assert result.stderr.count("log.txt cannot be written: File too large") == 1
    assert "Logging error" not in result.stderr
    assert "File too large: 'result'" in result.stderr


@pytest.mark.parametrize(("output", "code", "said"), [(_without_reader, 0, b""), (_full_disk, 2, _FULL)])
def test_output_that_is_lost_at_the_end_is_told_unless_nobody_reads_it(tmp_path, output, code, said):
    run = "import sys; from ppsr.cli.flags import run_command; sys.exit(run_command(lambda: print(1) or 0))"
    result = _with_output(run, output(), tmp_path)
    assert (result.returncode, result.stderr) == (code, said)


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


def test_an_interruption_that_an_import_swallowed_is_one(capsys: pytest.CaptureFixture) -> None:
    """As importing Paddle's library does."""

    def run() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None
        return 0

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        assert run_command(run) == 130
        assert capsys.readouterr().err == "error: interrupted\n"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)


def test_output_that_is_closed_is_left_out(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run_command(lambda: 0 * (sys.stdout.write("a") + sys.stderr.write("b"))) == 0


@pytest.mark.slow
def test_a_terminated_command_ends_without_a_page_of_paddle(tmp_path):
    """Paddle handles SIGTERM from its import on."""
    program = (
        "import os, signal, sys\n"
        "from ppsr.cli.flags import log_to_console, run_command\n"
        "def run():\n"
        "    import paddle\n"
        "    log_to_console()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return 0\n"
        "sys.exit(run_command(run))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 143 and "Error Message Summary" not in done.stdout + done.stderr


def test_an_option_of_a_conversion_without_a_value_is_refused(place, monkeypatch):
    monkeypatch.chdir(place)
    done = run_ppsr("convert", "net.pdparams", "x.pth", "-o", "scale")
    assert "-o takes KEY=VALUE, got 'scale'" in str(done.exception)
