"""`ppsr infer` and `tools/inference.py`: run an exported network on the test set of a config."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppsr.cli.flags import ConfigFile, Device, Imports, Overrides, Trust, log_to_console, run_alone
from ppsr.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from ppsr.config.loader import Config
    from ppsr.inference.backends.exported import BackendOptions

# PaddleGAN's --run_mode: backend and precision
_RUN_MODES = {
    "auto": ("auto", "fp32"),
    "fluid": ("inference", "fp32"),
    "paddle": ("inference", "fp32"),
    "trt_fp32": ("tensorrt", "fp32"),
    "trt_fp16": ("tensorrt", "fp16"),
}


RunMode = Enum("RunMode", {name: name for name in _RUN_MODES}, type=str)  # type: ignore[misc]


def infer(
    config_file: ConfigFile,
    model_path: Annotated[
        Path, typer.Option("--model_path", metavar="PREFIX", help="Path of an exported network.")
    ],
    opt: Overrides = [],
    imports: Imports = [],
    model_type: Annotated[
        str | None, typer.Option("--model_type", help="Subfolder of the output; default: the network's name.")
    ] = None,
    output_path: Annotated[Path, typer.Option("--output_path", help="Output folder.")] = Path("infer_output"),
    device: Device = None,
    run_mode: Annotated[
        RunMode, typer.Option("--run_mode", help="PaddleGAN's name for a backend and its precision.")
    ] = RunMode["auto"],
    backend: Annotated[
        str | None,
        typer.Option(help="auto, inference, onnxruntime, openvino, tensorrt or ncnn; overrides --run_mode."),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16; overrides --run_mode.")] = None,
    trust: Trust = False,
    cpu_threads: Annotated[
        int | None, typer.Option("--cpu_threads", min=1, help="Number of CPU threads; default: all cores.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch_size", min=1, help="Largest batch of a TensorRT engine.")
    ] = 1,
    trt_min_shape: Annotated[
        int, typer.Option("--trt_min_shape", help="Smallest input side of a TensorRT engine.")
    ] = 1,
    trt_max_shape: Annotated[
        int, typer.Option("--trt_max_shape", help="Largest input side of a TensorRT engine.")
    ] = 1280,
    trt_opt_shape: Annotated[
        int, typer.Option("--trt_opt_shape", help="Input side to optimise a TensorRT engine for.")
    ] = 640,
    min_subgraph_size: Annotated[
        int, typer.Option("--min_subgraph_size", help="Smallest subgraph that TensorRT takes over.")
    ] = 3,
    seed: Annotated[int | None, typer.Option(help="No effect; accepted for PaddleGAN's scripts.")] = None,
    use_dynamic_shape: Annotated[
        str, typer.Option("--use_dynamic_shape", help="No effect; accepted for PaddleGAN's scripts.")
    ] = "True",
) -> None:
    """Run an exported network on the test set of a config, with PaddleGAN's flags."""
    from ppsr import accelerate
    from ppsr.inference.backends.exported import BackendOptions

    name, usual = _RUN_MODES[run_mode.value]
    options = BackendOptions(
        device=device,
        precision=precision or usual,
        threads=cpu_threads,
        trust=trust,
        min_side=trt_min_shape,
        opt_side=trt_opt_shape,
        max_side=trt_max_shape,
        max_batch=batch_size,
        min_subgraph=min_subgraph_size,
    )
    accelerate.enable(cpu_threads)
    from ppsr.config import load_config

    config = load_config(config_file, opt, imports=imports)
    raise typer.Exit(_run(config, model_path, backend or name, options, output_path, model_type))


def main(argv: Sequence[str] | None = None) -> int:
    """`tools/inference.py`; returns the exit code."""
    return run_alone(infer, argv)


def _run(
    config: Config,
    model_path: Path,
    name: str,
    options: BackendOptions,
    output_path: Path,
    model_type: str | None,
) -> int:
    from ppsr.config import check_config

    experiment = check_config(config)
    if len(experiment.dataset.test_sections) != 1:
        given = ", ".join(experiment.dataset.test_sections) or "nothing"
        raise ConfigError(f"{config.path}: 'dataset.test' must be one test set, got {given}")
    from ppsr.engine.evaluator import DatasetImages, score_dataset, section_folders
    from ppsr.engine.loader import build_dataset
    from ppsr.engine.validation import build_metrics
    from ppsr.evaluation.report import set_to_json
    from ppsr.files import atomic_write
    from ppsr.inference.backends.base import apply_backend
    from ppsr.inference.backends.select import open_backend

    log_to_console()
    backend = open_backend(str(model_path), name, options)
    (section,) = experiment.dataset.test_sections.values()
    dataset, _ = build_dataset(section, "dataset.test")
    folder = output_path / (model_type or backend.info.network)
    seconds = 0.0

    def enlarge(lq: np.ndarray) -> np.ndarray:
        nonlocal seconds
        started = time.perf_counter()
        sr = apply_backend(backend, lq[None])[0]
        seconds += time.perf_counter() - started
        return sr

    folders = section_folders(section)
    images = DatasetImages(enlarge, dataset, backend.info.scale, save_folder=folder, folders=folders)
    score = score_dataset(images, build_metrics(experiment))
    lines = [f"Metric {key}: {value:.4f}" for key, value in score.means.items()]
    atomic_write(folder / "metric.txt", "".join(f"{line}\n" for line in lines))
    report = {"backend": backend.name, "seconds": seconds, **set_to_json(score)}
    atomic_write(folder / "metrics.json", json.dumps(report, indent=1, allow_nan=False))
    print("\n".join(lines))
    print(f"{len(score.rows)} of {len(dataset)} images on {backend.name} in {seconds:.3f} s: {folder}")
    return score.exit_code
