"""`tools/inference.py`: an exported network on the test set of a config, with PaddleGAN's flags."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppsr.cli.flags import TRUST, add_overrides, ended
from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from ppsr.inference.backends.exported import BackendOptions

__all__ = ["main"]

# PaddleGAN's --run_mode: backend and precision
_RUN_MODES = {
    "auto": ("auto", "fp32"),
    "fluid": ("inference", "fp32"),
    "paddle": ("inference", "fp32"),
    "trt_fp32": ("tensorrt", "fp32"),
    "trt_fp16": ("tensorrt", "fp16"),
}


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """PaddleGAN's flags, and --backend, --precision, --cpu_threads."""
    parser = argparse.ArgumentParser(description="Run an exported network on the test set of a config.")
    add = parser.add_argument
    add("--model_path", required=True, metavar="PREFIX", help="the exported files without suffixes")
    add("--model_type", help="name of the folder below --output_path; default: the network's name")
    add("-c", "--config-file", required=True, metavar="FILE", help="YAML configuration with dataset.test")
    add_overrides(parser)
    add("--output_path", default="infer_output", help="folder of the results")
    add("--device", help="cpu, gpu or gpu:N; default: gpu where Paddle has one")
    add("--run_mode", choices=list(_RUN_MODES), default="auto", help="PaddleGAN's name of a backend")
    add("--backend", help="auto, inference, onnxruntime, openvino or tensorrt; wins over --run_mode")
    add("--precision", help="fp32, fp16 or bf16; wins over --run_mode")
    add("--trust", action="store_true", help=TRUST)
    add("--cpu_threads", type=int, help="default: all cores")
    add("--batch_size", type=int, default=1, help="neighbouring pictures of one size that run together")
    add("--seed", type=int, help="accepted for PaddleGAN's scripts; nothing is random here")
    add("--trt_min_shape", type=int, default=1, help="smallest side of a TensorRT engine")
    add("--trt_max_shape", type=int, default=1280, help="largest side")
    add("--trt_opt_shape", type=int, default=640, help="usual side")
    add("--min_subgraph_size", type=int, default=3, help="operations that TensorRT must join at least")
    add("--use_dynamic_shape", default="True", help="accepted; the export states whether its sizes are open")
    add("--trt_calib_mode", default="False", help="int8 calibration: not available")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return ended(partial(_run, parse_arguments(argv)))


def _run(arguments: argparse.Namespace) -> int:
    from ppsr import accelerate
    from ppsr.config import check_config, load_config

    config = load_config(arguments.config_file, arguments.opt, imports=arguments.imports)
    experiment = check_config(config)
    if len(experiment.dataset.test_sections) != 1:
        given = ", ".join(experiment.dataset.test_sections) or "nothing"
        raise ConfigError(f"{config.path}: 'dataset.test' must be one set of images; it holds {given}")
    accelerate.enable(arguments.cpu_threads)
    from ppsr.engine.evaluator import section_folders
    from ppsr.engine.loader import build_dataset
    from ppsr.engine.loggers import setup_logging
    from ppsr.engine.validation import build_metrics
    from ppsr.evaluation.datasets import evaluate_backend
    from ppsr.evaluation.report import set_to_json
    from ppsr.files import atomic_write
    from ppsr.inference.backends.choose import open_backend

    setup_logging(None)
    name, options = _backend_options(arguments)
    backend = open_backend(arguments.model_path, name, options)
    (section,) = experiment.dataset.test_sections.values()
    dataset, _ = build_dataset(section, "dataset.test")
    folder = Path(arguments.output_path) / (arguments.model_type or backend.facts.network)
    result = evaluate_backend(
        backend,
        dataset,
        build_metrics(experiment),
        batch_size=arguments.batch_size,
        save_folder=folder,
        folders=section_folders(section),
    )
    score = result.pictures
    lines = [f"Metric {key}: {value:.4f}" for key, value in score.means.items()]
    atomic_write(folder / "metric.txt", "".join(f"{line}\n" for line in lines))
    report = {"backend": backend.name, "seconds": result.seconds, **set_to_json(score)}
    atomic_write(folder / "metrics.json", json.dumps(report, indent=1, allow_nan=False))
    print("\n".join(lines))
    print(
        f"{len(score.rows)} of {len(dataset)} pictures on {backend.name} in {result.seconds:.3f} s: {folder}"
    )
    return score.exit_code


def _backend_options(arguments: argparse.Namespace) -> tuple[str, BackendOptions]:
    from ppsr.inference.backends.exported import BackendOptions

    if arguments.trt_calib_mode.lower() not in ("false", "0", "no"):
        raise ConfigError("int8 calibration is not available; use --run_mode trt_fp16 or trt_fp32")
    if arguments.batch_size < 1:
        raise ConfigError(f"--batch_size must be at least 1, got {arguments.batch_size}")
    name, precision = _RUN_MODES[arguments.run_mode]
    options = BackendOptions(
        device=arguments.device,
        precision=arguments.precision or precision,
        threads=arguments.cpu_threads,
        trust=arguments.trust,
        min_side=arguments.trt_min_shape,
        opt_side=arguments.trt_opt_shape,
        max_side=arguments.trt_max_shape,
        max_batch=arguments.batch_size,
        min_subgraph=arguments.min_subgraph_size,
    )
    return arguments.backend or name, options
