"""`ppsr export`, `ppsr backends`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppsr.cli.flags import Trust
from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from ppsr.inference.benchmark import BackendResult
    from ppsr.inference.exported import Export

__all__ = ["parse_size", "print_verified", "register"]

Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, gpu or gpu:N for the backends; default: a GPU where Paddle and the backend have one."
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Of the CPU; default: all cores.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export")(export)
    app.command("backends")(backends)


def export(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Path of the files without suffixes.", metavar="PREFIX")
    ],
    load: Annotated[
        list[Path],
        typer.Option(help="Weights, of any kind; twice where generator and predictor are two files."),
    ] = [],  # noqa: B006 - typer reads the default, nobody changes it
    config_file: Annotated[
        Path | None,
        typer.Option("-c", "--config-file", help="Names the network; otherwise the weights tell."),
    ] = None,
    formats: Annotated[str, typer.Option(help="Of paddle and onnx.")] = "paddle,onnx",
    size: Annotated[str, typer.Option(help="N,C,H,W of the input; -1 stands for any.")] = "-1,-1,-1,-1",
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Export a network for Paddle Inference, ONNX Runtime, OpenVINO and TensorRT.

    Every backend that is installed is compared with the network first; nothing is written when one differs.
    """
    from ppsr import accelerate

    accelerate.enable(threads)
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export import export_network
    from ppsr.inference.network import load_network

    log_to_console()
    options = BackendOptions(device=device, threads=threads)
    BackendOptions(device="cpu").use_device()  # the reference is computed there; backends have their own
    net = load_network(config_file, load)
    made = export_network(net, output, formats=formats.split(","), shape=parse_size(size), options=options)
    print_verified(made)


def backends(
    prefix: Annotated[Path, typer.Argument(help="An exported network.", metavar="PREFIX")],
    device: Device = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or bf16.")] = "fp32",
    threads: Threads = None,
    trust: Trust = False,
) -> None:
    """Compare and time the backends of this machine on an exported network.

    Exit code 3 when none is right.
    """
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.benchmark import benchmark_backends
    from ppsr.inference.exported import Export

    log_to_console()
    options = BackendOptions(device=device, precision=precision, threads=threads, trust=trust)
    export = Export(prefix)
    results = benchmark_backends(export, options)
    _print_results(export, results)
    if not any(result.passed for result in results):
        raise typer.Exit(3)


def parse_size(text: str) -> list[int | None]:
    """`1,3,-1,-1` as numbers, with None for -1.

    Raises:
        ConfigError: not four whole numbers, or a size below 1 that is not -1.
    """
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if len(sizes) != 4 or any(size < 1 and size != -1 for size in sizes):
        raise ConfigError(f"an input size is N,C,H,W with -1 for any, such as -1,3,-1,-1; got '{text}'")
    return [None if size == -1 else size for size in sizes]


def log_to_console() -> None:
    from ppsr.engine.loggers import setup_logging

    setup_logging(None)


def _print_results(export: Export, results: Sequence[BackendResult]) -> None:
    """A line per file and per backend."""
    info = export.info
    print(f"{info.network} x{info.scale}: {', '.join(export.entries['files'])} at {export.prefix}")
    for r in results:
        if r.passed:
            print(f"  {r.backend:<12} error {r.error:.1e}  {r.psnr:6.1f} dB  {r.seconds:.4f} s")
        else:
            print(f"  {r.backend:<12} failed: {r.reason}")


def print_verified(export: Export) -> None:
    from ppsr.inference.benchmark import BackendResult

    _print_results(export, [BackendResult(**entry) for entry in export.entries["verified"]])
