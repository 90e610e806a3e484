"""`ppsr evaluate`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ppsr.cli.flags import (
    Backend,
    Device,
    NetworkConfig,
    NetworkLoads,
    Seed,
    SelfEnsemble,
    Trust,
    ValueRange,
    comma_separated,
    log_to_console,
)
from ppsr.errors import ConfigError, printable

if TYPE_CHECKING:
    from ppsr.engine.distributed import Group
    from ppsr.evaluation.evaluate import Evaluation
    from ppsr.inference.backends.exported import BackendOptions


def evaluate_images(
    protocol: Annotated[str, typer.Option(help="classic, dsr, reflash, dasr or realsr.")] = "classic",
    scale: Annotated[int, typer.Option(min=1, help="Scale factor: HR size / LR size.")] = 4,
    gt: Annotated[str | None, typer.Option(help="HR images: folder, pattern or file.")] = None,
    sr: Annotated[
        list[str],
        typer.Option(help="SR images to score: folder, pattern or file; repeat it for several methods."),
    ] = [],
    lq: Annotated[str | None, typer.Option(help="LR images; default: generated from HR.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder with the protocol's test sets, instead of --gt.")
    ] = None,
    sets: Annotated[str | None, typer.Option(help="Comma-separated test sets of --data.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the test set in the report.")] = None,
    load: NetworkLoads = [],
    config_file: NetworkConfig = None,
    bicubic: Annotated[
        bool | None, typer.Option("--bicubic/--no-bicubic", help="Score bicubic; default: with networks.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: psnr, ssim, msssim, lpips, dists, niqe, rmse, mad, pe or one of your own; "
            "default: those of the protocol."
        ),
    ] = None,
    definition: Annotated[
        str | None, typer.Option(help="Variant of RMSE, MAD and PE: safe (default) or published.")
    ] = None,
    lq_script: Annotated[
        str, typer.Option(help="How dsr generates LR: as the published script, or with its bug fixed.")
    ] = "published",
    lpips_net: Annotated[str | None, typer.Option(help="Network of LPIPS: alex (default) or vgg.")] = None,
    lpips_weights: Annotated[
        Path | None, typer.Option(help="Weights of the LPIPS network: torchvision's AlexNet or VGG16 file.")
    ] = None,
    niqe_parameters: Annotated[
        Path | None, typer.Option(help="Parameters of NIQE: BasicSR's niqe_pris_params.npz.")
    ] = None,
    value_range: ValueRange = None,
    seed: Seed = 0,
    tile: Annotated[int, typer.Option(min=0, help="Tile size in LR pixels; 0: whole images.")] = 0,
    backend: Backend = None,
    self_ensemble: SelfEnsemble = False,
    device: Device = None,
    trust: Trust = False,
    images: Annotated[bool, typer.Option("--images", help="Print a row for every image.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Report folder, with a subfolder for each of several methods; default: new.",
        ),
    ] = None,
    grid: Annotated[bool, typer.Option(help="Draw the best and the worst image.")] = True,
) -> None:
    """Score networks, bicubic interpolation or SR images with a named protocol.

    Exit code 1 if some images have no score, 3 if none has.
    """
    from ppsr import accelerate
    from ppsr.inference.backends.exported import BackendOptions

    place = BackendOptions(device=device, trust=trust)
    group = _ranks(place)
    accelerate.enable()
    from ppsr.evaluation.evaluate import check_scale, evaluate, network_labels
    from ppsr.evaluation.protocols import find_protocol, metric_key
    from ppsr.evaluation.report import check_folder, table_lines
    from ppsr.imaging.pairing import find_images
    from ppsr.inference.network import load_source, split_networks
    from ppsr.inference.upscaler import Upscaler

    log_to_console()
    chosen = find_protocol(protocol, scale)
    check_folder(output or Path("output"))
    wanted = comma_separated("--metrics", metrics)
    options = _metric_options(
        map(metric_key, wanted or chosen.metrics),
        ("--definition", ("rmse", "mad", "pe"), "definition", definition),
        ("--lpips-net", ("lpips",), "net", lpips_net),
        ("--lpips-weights", ("lpips",), "weights", lpips_weights),
        ("--niqe-parameters", ("niqe",), "parameters", niqe_parameters),
    )
    networks = split_networks(load)
    if config_file is not None and not networks:
        raise ConfigError(f"{config_file} defines a network without weights; add --load")
    if not networks and (tile or backend or self_ensemble):
        raise ConfigError("--tile, --backend and --self-ensemble have no effect without a network (--load)")
    score = partial(
        evaluate,
        protocol=protocol,
        scale=scale,
        gt=gt,
        lq=lq,
        data=data,
        sets=comma_separated("--sets", sets),
        name=name,
        metrics=wanted,
        metric_options=options,
        lq_script=lq_script,
        seed=seed,
        value_range=value_range,
        group=group,
    )
    for finished in sr:  # before the first one is scored
        if "{variant}" not in finished:
            find_images(finished, recursive=True)
    # label in the table, and what is scored
    methods: list[tuple[str, dict[str, Any]]] = [(finished, {"sr": finished}) for finished in sr]
    if bicubic or (bicubic is None and networks and chosen.gt_layout is not None):
        methods.append(("bicubic", {"method": "bicubic"}))
    for files, label in zip(networks, network_labels(networks), strict=True):
        network = load_source(config_file, files)
        upscaler = Upscaler(network, backend=backend, options=place, tile=tile, self_ensemble=self_ensemble)
        check_scale(label, upscaler, scale)  # before the first one is scored
        methods.append((label, {"method": upscaler}))
    results, reports = _scored(score, methods or [("", {})], output, f"{chosen.name}-x{scale}", grid=grid)
    if not results[0].is_main:
        return
    if len({len(result.sets) for result in results}) > 1:
        raise ConfigError("the methods have images of different degradations; score each alone")
    for line in (*table_lines(results, images=images), *reports):
        print(printable(line))
    code = max((result.exit_code for result in results), default=0)
    if code:
        raise typer.Exit(code)


def _scored(
    score: Callable[..., Evaluation],
    methods: Sequence[tuple[str, dict[str, Any]]],
    output: Path | None,
    protocol: str,
    *,
    grid: bool,
) -> tuple[list[Evaluation], list[str]]:
    """Score methods one after the other; a report is written at once, as later ones may fail.

    Returns:
        The scores, and where the reports are.
    """
    from ppsr.evaluation.report import write_report
    from ppsr.inference.progress import progress_bar

    # beside networks, bicubic interpolation is in the table only
    reported = [label for label, _ in methods if len(methods) == 1 or label != "bicubic"]
    results: list[Evaluation] = []
    reports: list[str] = []
    with progress_bar() as show:
        for label, scored in methods:
            result = score(**scored, on_image=partial(show, label))
            result.method = label
            results.append(result)
            if result.is_main and label in reported:
                folder, line = _report_folder(output, protocol, reported, len(reports))
                write_report(result, folder, grid=grid)
                reports.append(line)
    return results, reports


def _report_folder(
    output: Path | None, protocol: str, methods: Sequence[str], index: int
) -> tuple[Path, str]:
    """The report folder of a method, and the line to print; only the folder of --output is overwritten."""
    from ppsr.evaluation.report import unused_folder

    names = [re.sub(r"[^\w.+-]+", "_", method).strip("_") for method in methods]
    name, repeated = names[index], names[:index].count(names[index])
    name += f"-{repeated + 1}" if repeated else ""
    if output is None:
        folder = unused_folder(Path("output") / f"evaluate-{protocol}-{name}")
    else:
        folder = output if len(methods) == 1 else output / name
    earlier = (folder / "metrics.json").exists()
    return folder, f"report in {folder}{', overwriting an earlier one' if earlier else ''}"


def _metric_options(
    measured: Iterable[str], *given: tuple[str, tuple[str, ...], str, Any]
) -> dict[str, dict[str, Any]]:
    """Constructor arguments by metric, of (option, metrics that take it, argument, value or None)."""
    measured = list(measured)
    options: dict[str, dict[str, Any]] = {}
    for option, takers, argument, value in given:
        if value is None:
            continue
        affected = [name for name in takers if name in measured]
        if not affected:
            raise ConfigError(
                f"{option} applies to {', '.join(takers)}, but the metrics are {', '.join(measured)}"
            )
        for name in affected:
            options.setdefault(name, {})[argument] = value
    return options


def _ranks(place: BackendOptions) -> Group | None:
    """The processes that `paddle.distributed.launch` started, each on its device; None: only this one."""
    place.use_device()
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
        return None
    from ppsr.engine.distributed import start_distributed

    return start_distributed(place.device or ("gpu" if place.on_gpu else "cpu"))
