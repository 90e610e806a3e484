"""Shared options, one-line errors and exit codes of all commands."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ppsr.errors import ConfigError, PpsrError, first_line, printable

logger = logging.getLogger(__name__)

# configs
ConfigFile = Annotated[
    str, typer.Option("-c", "--config-file", metavar="FILE", help="Config file or name of a shipped config.")
]
Overrides = Annotated[
    list[str], typer.Option("-o", "--opt", metavar="KEY=VALUE ...", help="Override config keys.")
]
Imports = Annotated[
    list[str],
    typer.Option("--import", metavar="MODULE", help="Import a module that registers your own components."),
]

# networks
_LOADS = (
    "Weights (a file, a run folder or a name from `ppsr models list`) or an exported network; "
    "repeat it to load generator and predictor from separate files."
)
Loads = Annotated[list[Path], typer.Option(help=_LOADS)]
LoadsOrExport = Annotated[list[Path], typer.Option("--load", "--model-dir", help=_LOADS)]
NetworkLoads = Annotated[
    list[Path],
    typer.Option(
        "--load",
        help="Weights or an exported network; repeat it for several networks. The predictor of CDDNet and "
        "DASR follows its generator.",
    ),
]
NetworkConfig = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config-file", help="Config that defines the network; default: inferred from the weights."
    ),
]

# where and how a network runs
Device = Annotated[
    str | None, typer.Option(help="cpu, gpu or gpu:N; default: gpu if Paddle supports it and finds one.")
]
Backend = Annotated[
    str | None,
    typer.Option(
        help="paddle, inference, onnxruntime, openvino, tensorrt, ncnn, or auto for the fastest correct; "
        "default: auto for an exported network, and for weights if 2.4 or more megapixels are upscaled on a "
        "CPU; else paddle."
    ),
]
Precision = Annotated[
    str, typer.Option(help="fp32, fp16 or bf16, if network, device and backend support it.")
]
Half = Annotated[bool, typer.Option("--half", help="Same as --precision fp16.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Number of CPU threads; default: all cores.")]
MaxMemory = Annotated[
    str | None, typer.Option(help="Memory limit of the process, such as 2GB; default: 70 % of free memory.")
]
SelfEnsemble = Annotated[
    bool, typer.Option("--self-ensemble", help="Average over 8 flips and rotations: 8 times slower.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Allow exported graphs with operators outside the known safe set; they may run code."
    ),
]

# data
ValueRange = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Lowest and highest value of TIFF files of floats.", metavar="LOW HIGH"),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
Workers = Annotated[
    int | None, typer.Option("-j", "--workers", min=1, help="Number of processes; default: one per core.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing results.")]

_SEVERAL = ("-o", "--opt", "--load-partial")


class SeveralValues(TyperCommand):
    """A command whose `-o` takes any number of values, as in PaddleGAN: `-o a=1 b=2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        expanded: list[str] = []
        option = ""  # the one whose values follow
        for index, word in enumerate(args):
            if word in _SEVERAL:
                option = word
                if word == "--load-partial" and (index + 1 == len(args) or args[index + 1].startswith("-")):
                    expanded += [word, ""]  # the flag alone
            elif word.startswith("-") or not option:
                option = ""
                expanded.append(word)
            else:
                expanded += [option, word]
        return super().parse_args(ctx, expanded)


def run_alone(command: Callable[..., None], argv: Sequence[str] | None = None) -> int:
    """Run one command as its own program, such as tools/main.py, and return its exit code."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None)
    app.command(cls=SeveralValues)(command)

    def run() -> int:
        try:
            app(list(sys.argv[1:] if argv is None else argv))
        except SystemExit as ended_with:
            return int(ended_with.code or 0)
        return 0

    return run_command(run)


def log_to_console() -> None:
    """Log to the terminal only, and handle SIGTERM again, which Paddle, imported before, took over."""
    from ppsr.logs import setup_logging

    setup_logging(None)
    handler = signal.getsignal(signal.SIGTERM)  # Python does not see Paddle's
    if isinstance(handler, _Leave) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def comma_separated(option: str, text: str | None, convert: Callable[[str], Any] = str) -> list[Any] | None:
    """Parse the comma-separated values of an option; None stays None.

    Raises:
        ConfigError: an empty entry, or one that is no such number.

    Example:
        >>> comma_separated("--scales", "2, 4", int)
        [2, 4]
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    try:
        if all(parts):
            return [convert(part) for part in parts]
    except ValueError:
        pass
    kind = "names" if convert is str else "numbers"
    raise ConfigError(f"{option} takes comma-separated {kind}, got '{text}'")


class _Leave:
    """A handler that raises SystemExit or KeyboardInterrupt, and keeps the signal in case a library swallows
    that."""

    received: int | None = None

    def __call__(self, number: int, _: object) -> None:
        self.received = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)


@contextmanager
def exit_on_signals(*numbers: int) -> Iterator[_Leave]:
    """Exit with 128 + signal on SIGTERM and SIGHUP, or others, by an exception, so that unfinished files are
    removed.

    Enter it after importing Paddle, which installs its own handlers. Signals that are ignored stay so, as
    SIGHUP under nohup.
    """
    leave = _Leave()
    if threading.current_thread() is not threading.main_thread():  # only there may handlers be set
        yield leave
        return
    numbers = numbers or (signal.SIGTERM, signal.SIGHUP)
    handled = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, leave) for number in handled}
    try:
        yield leave
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_command(run: Callable[[], int], *, name: str = "error") -> int:
    """Run a command and return its exit code; an error that the user can act on is printed as one line.

    Returns:
        The exit code: that of the `PpsrError`, 1 if memory runs out, 2 if the system refuses a file, 130 if
        interrupted.
    """
    # from Paddle, which compiles nothing here
    warnings.filterwarnings("ignore", "No ccache found", UserWarning)
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed, as by services
            setattr(sys, stream, Path(os.devnull).open("w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names need not be printable
        sys.stdout.reconfigure(errors="backslashreplace")
    with exit_on_signals(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as leave:
        try:
            return _run(run, name, leave)
        finally:
            _flush_output()


def _flush_output() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        from ppsr.logs import discard_output

        discard_output(error)
        if not isinstance(error, BrokenPipeError):
            sys.exit(2)


_DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
    "PIL": "Pillow",
    "skimage": "scikit-image",
}


def _unusable_package(error: ImportError) -> str:
    """A package that is missing or broken, and what to install."""
    module = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError):
        return f"{module or 'a package'} cannot be imported: {first_line(error)}; see `ppsr doctor`"
    if module == "paddle":
        return (
            "PaddlePaddle is not installed: pip install paddlepaddle==3.3.1, or a GPU build from "
            "https://www.paddlepaddle.org.cn/install/quick"
        )
    package = _DISTRIBUTIONS.get(module, module)
    return f"the package {package} is not installed: pip install {package}; see `ppsr doctor`"


def _run(run: Callable[[], int], name: str, leave: _Leave) -> int:
    try:
        return run()
    except PpsrError as error:
        print(f"{name}: " + "\n  ".join(map(printable, error.args)), file=sys.stderr)
        return error.exit_code
    except SystemError as error:  # of Paddle's backward pass, where it calls this package
        if not isinstance(error.__cause__, PpsrError):
            raise
        print(f"{name}: {error.__cause__}", file=sys.stderr)
        return error.__cause__.exit_code
    except Exception as error:
        logger.debug("the command failed", exc_info=True)
        if leave.received is not None:  # importing Paddle makes an ImportError of it
            print(f"{name}: interrupted", file=sys.stderr)
            return 128 + leave.received
        if isinstance(error, ImportError) and not (error.name or "").startswith("ppsr"):
            print(f"{name}: {_unusable_package(error)}", file=sys.stderr)
            return 2
        from ppsr.memory import is_out_of_memory  # imports NumPy, which --help does without

        if isinstance(error, OSError) and error.errno is not None:  # Paddle's own errors are OSErrors too
            where = "" if error.filename is None else f"{error.filename}: "
            print(f"{name}: {printable(where)}{error.strerror}", file=sys.stderr)
            return 2
        if is_out_of_memory(error):
            print(f"{name}: not enough memory: {first_line(error)}", file=sys.stderr)
            return 1
        raise
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
