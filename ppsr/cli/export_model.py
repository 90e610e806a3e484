"""`tools/export_model.py`: the export of a config's network, with PaddleGAN's flags.

It is no sub-command: `ppsr export` needs no config, and its `-o` names the files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ppsr.cli.export import log_to_console, parse_size, print_verified
from ppsr.cli.flags import ConfigFile, Imports, Overrides, run_alone
from ppsr.errors import ConfigError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_alone(export_model, argv)


def export_model(
    config_file: ConfigFile,
    load: Annotated[str, typer.Option("--load", metavar="FILE", help="Weights.")],
    opt: Overrides = [],  # noqa: B006 - typer reads the default, nobody changes it
    imports: Imports = [],  # noqa: B006
    inputs_size: Annotated[
        str,
        typer.Option("-s", "--inputs_size", metavar="N,C,H,W", help="-1 stands for any size: -s=-1,3,-1,-1."),
    ] = "-1,-1,-1,-1",
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Folder of the files.")] = Path(
        "inference_model"
    ),
    model_name: Annotated[
        str | None, typer.Option("--model_name", help="Name of the files; default: <model>_generator.")
    ] = None,
    export_serving_model: Annotated[
        str, typer.Option("--export_serving_model", help="Paddle Serving's form: not available.")
    ] = "False",
    formats: Annotated[
        str | None,
        typer.Option("--formats", help="paddle, onnx or both; default: onnx only where it is installed."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="Device of the verification; default: a GPU where there is one."),
    ] = None,
) -> None:
    """Export the inference network of a config."""
    from ppsr import accelerate

    if export_serving_model.lower() not in ("false", "0", "no", "none", ""):
        raise ConfigError(
            "Paddle Serving's form is not available: its client has no wheel for the Python versions that "
            "Paddle 3 has; serve the export by `ppsr serve`, or by any runtime that reads ONNX"
        )
    sizes = [text for text in inputs_size.removeprefix("=").split(";") if text]
    if len(sizes) != 1:
        raise ConfigError(f"the inference network has one input; --inputs_size names {len(sizes)}")
    shape = parse_size(sizes[0])
    accelerate.enable()
    from ppsr.config import load_config
    from ppsr.inference import onnx_graph
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export import export_network
    from ppsr.inference.network import load_network

    log_to_console()
    config = load_config(config_file, opt, imports=imports)
    BackendOptions(device="cpu").use_device()
    net = load_network(config_file, load, opt)
    made = export_network(
        net,
        output_dir / (model_name or f"{config['model']['name'].lower()}_generator"),
        formats=(formats or ("paddle" if onnx_graph.missing_packages() else "paddle,onnx")).split(","),
        shape=shape,
        options=BackendOptions(device=device),
    )
    logging.getLogger(__name__).info("exported to %s", made.prefix)
    print_verified(made)
