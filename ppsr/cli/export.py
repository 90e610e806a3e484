"""`ppsr export`, `ppsr backends`, and tools/export_model.py, which has PaddleGAN's flags."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppsr.cli.flags import (
    ConfigFile,
    Device,
    Imports,
    Loads,
    NetworkConfig,
    Overrides,
    Precision,
    Threads,
    Trust,
    comma_separated,
    log_to_console,
    run_alone,
)
from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from paddle import nn

    from ppsr.inference.backends.benchmark import BackendResult
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export.artifact import Export


def export(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Path of the files without suffix.", metavar="PREFIX")
    ],
    load: Loads = [],
    config_file: NetworkConfig = None,
    formats: Annotated[str, typer.Option(help="Comma-separated: paddle, onnx, ncnn.")] = "paddle,onnx",
    size: Annotated[str, typer.Option(help="Input size N,C,H,W; -1: any size.")] = "-1,-1,-1,-1",
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Export a network for Paddle Inference, ONNX Runtime, OpenVINO and TensorRT.

    The output of every installed backend is compared with the network first; nothing is written if one
    differs.
    """
    from ppsr import accelerate

    shape, names = parse_shape(size), comma_separated("--formats", formats) or []
    accelerate.enable(threads)
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export.artifact import without_suffix
    from ppsr.inference.export.writer import check_formats
    from ppsr.inference.network import load_network

    log_to_console()
    check_formats(names)
    output = without_suffix(output)
    options = BackendOptions(device=device, threads=threads)
    BackendOptions(device="cpu").use_device()  # for the reference; backends choose their own
    _export(load_network(config_file, load), output, names, shape, options)


def backends(
    prefix: Annotated[Path, typer.Argument(help="Path of an exported network.", metavar="PREFIX")],
    device: Device = None,
    precision: Precision = "fp32",
    threads: Threads = None,
    trust: Trust = False,
) -> None:
    """Compare and time the installed backends on an exported network.

    Exit code 3 if no backend is correct.
    """
    from ppsr.inference.backends.benchmark import benchmark_backends
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export.artifact import Export
    from ppsr.inference.progress import progress_bar

    log_to_console()
    options = BackendOptions(device=device, precision=precision, threads=threads, trust=trust)
    exported = Export(prefix)
    with progress_bar() as show:
        results = benchmark_backends(exported, options, on_step=partial(show, "compare"))
    _print_results(exported, results)
    if not any(result.passed for result in results):
        raise typer.Exit(3)


def export_model(
    config_file: ConfigFile,
    load: Annotated[str, typer.Option(metavar="FILE", help="Weights.")],
    opt: Overrides = [],
    imports: Imports = [],
    inputs_size: Annotated[
        str, typer.Option("-s", "--inputs_size", metavar="N,C,H,W", help="Input size; -1: any. -s=-1,3,-1,-1")
    ] = "-1,-1,-1,-1",
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Output folder.")] = Path(
        "inference_model"
    ),
    model_name: Annotated[
        str | None, typer.Option("--model_name", help="Name of the files; default: <model>_generator.")
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(help="Comma-separated: paddle, onnx, ncnn; default: all but ncnn, as installed."),
    ] = None,
    device: Device = None,
) -> None:
    """Export the inference network of a config."""
    from ppsr import accelerate

    sizes = [text for text in inputs_size.removeprefix("=").split(";") if text]
    if len(sizes) != 1:
        raise ConfigError(f"the inference network has one input, but --inputs_size names {len(sizes)}")
    shape, names = parse_shape(sizes[0]), comma_separated("--formats", formats)
    accelerate.enable()
    from ppsr.config import load_config
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export import onnx_graph
    from ppsr.inference.export.writer import check_formats
    from ppsr.inference.network import load_network

    log_to_console()
    names = names or (["paddle"] if onnx_graph.missing_packages() else ["paddle", "onnx"])
    check_formats(names)
    config = load_config(config_file, opt, imports=imports)
    BackendOptions(device="cpu").use_device()
    prefix = output_dir / (model_name or f"{config['model']['name'].lower()}_generator")
    net = load_network(config_file, load, opt)
    _export(net, prefix, names, shape, BackendOptions(device=device))


def main(argv: Sequence[str] | None = None) -> int:
    """`tools/export_model.py`; returns the exit code."""
    return run_alone(export_model, argv)


def _export(
    net: nn.Layer, prefix: Path, formats: list[str], shape: list[int | None], options: BackendOptions
) -> None:
    from ppsr.inference.backends.benchmark import BackendResult
    from ppsr.inference.export.writer import export_network
    from ppsr.inference.progress import progress_bar

    with progress_bar() as show:
        made = export_network(net, prefix, formats=formats, shape=shape, options=options, show=show)
    _print_results(made, [BackendResult(**entry) for entry in made.entries["verified"]])


def parse_shape(text: str) -> list[int | None]:
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


def _print_results(export: Export, results: Sequence[BackendResult]) -> None:
    info = export.info
    print(f"{info.network} x{info.scale}: {', '.join(export.entries['files'])} at {export.prefix}")
    for r in results:
        if r.passed:
            print(f"  {r.backend:<12} error {r.error:.1e}  {r.psnr:6.1f} dB  {r.seconds:.4f} s")
        else:
            print(f"  {r.backend:<12} failed: {r.reason}")
