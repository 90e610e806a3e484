"""`ppsr evaluate`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from ppsr.engine.distributed import Group
    from ppsr.inference.backends.exported import BackendOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate_pictures)


def evaluate_pictures(
    protocol: Annotated[str, typer.Option(help="classic, dsr, reflash, dasr or realsr.")] = "classic",
    scale: Annotated[int, typer.Option(help="HR size / LR size.")] = 4,
    gt: Annotated[str | None, typer.Option(help="HR pictures: a folder or a pattern.")] = None,
    sr: Annotated[str | None, typer.Option(help="Finished SR pictures.")] = None,
    lq: Annotated[str | None, typer.Option(help="LR pictures; otherwise made from HR.")] = None,
    data: Annotated[str | None, typer.Option(help="Folder of the protocol's sets, instead of --gt.")] = None,
    sets: Annotated[str | None, typer.Option(help="Sets of --data, by commas.")] = None,
    name: Annotated[str | None, typer.Option(help="The set's name in the report.")] = None,
    load: Annotated[Path | None, typer.Option(help="Weights of the network to score.")] = None,
    config_file: Annotated[
        Path | None, typer.Option("-c", "--config-file", help="Names the network.")
    ] = None,
    bicubic: Annotated[bool, typer.Option("--bicubic", help="Score bicubic enlargement.")] = False,
    metrics: Annotated[str | None, typer.Option(help="Those wanted, by commas.")] = None,
    definition: Annotated[
        str | None, typer.Option(help="Of rmse, mad, pe: safe (default) or published.")
    ] = None,
    lr: Annotated[
        str, typer.Option(help="LR made here, as the script does or means: published, intended.")
    ] = ("published"),
    lpips_net: Annotated[str | None, typer.Option(help="Network of lpips: alex (default) or vgg.")] = None,
    lpips_weights: Annotated[
        Path | None, typer.Option(help="torchvision's file of the lpips network: AlexNet or VGG16.")
    ] = None,
    niqe_parameters: Annotated[Path | None, typer.Option(help="niqe_pris_params.npz.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of noise in LR pictures made here.")] = 0,
    tile: Annotated[
        int, typer.Option(min=0, help="Side of the tiles in LR pixels; 0: whole images, as published scores.")
    ] = 0,
    device: Annotated[
        str | None, typer.Option(help="cpu, gpu or gpu:N; default: a GPU where Paddle has one.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the report.")] = None,
    grid: Annotated[bool, typer.Option(help="Draw the best and the worst picture.")] = True,
) -> None:
    """Score a network, bicubic enlargement or finished pictures by a named protocol.

    Exit code 1 when some pictures have no score, 3 when none has."""
    from ppsr import accelerate
    from ppsr.inference.backends.exported import BackendOptions

    place = BackendOptions(device=device)
    group = _ranks(place)
    accelerate.enable()
    from ppsr.evaluation.evaluate import evaluate
    from ppsr.evaluation.protocols import find_protocol
    from ppsr.evaluation.report import check_folder, metric_lines, write_report

    folder = output or Path("output") / f"evaluate-{protocol}-x{scale}"
    check_folder(folder)
    wanted = _parts("--metrics", metrics)
    options = _metric_options(
        wanted or find_protocol(protocol, scale).metrics,
        ("--definition", ("rmse", "mad", "pe"), "definition", definition),
        ("--lpips-net", ("lpips",), "net", lpips_net),
        ("--lpips-weights", ("lpips",), "weights", lpips_weights),
        ("--niqe-parameters", ("niqe",), "parameters", niqe_parameters),
    )
    result = evaluate(
        protocol,
        scale=scale,
        gt=gt,
        sr=sr,
        lq=lq,
        data=data,
        sets=_parts("--sets", sets),
        name=name,
        use_bicubic=bicubic,
        config_file=config_file,
        load=load,
        metrics=wanted,
        metric_options=options,
        lr_of_script=lr,
        seed=seed,
        tile=tile,
        group=group,
    )
    if not result.is_main:
        return
    for line in metric_lines(result):
        print(line)
    write_report(result, folder, grid=grid)
    print(f"report in {folder}")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _parts(option: str, text: str | None) -> list[str] | None:
    """What stands between commas, without blanks; None where the option is not given."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise ConfigError(f"{option} is names with commas between them, got {text!r}")
    return parts


def _metric_options(
    measured: Iterable[str], *given: tuple[str, tuple[str, ...], str, Any]
) -> dict[str, dict[str, Any]]:
    """Constructor arguments by metric, of (option, metrics that take it, argument, value or None).

    Raises:
        ConfigError: an option is given that no measured metric takes.
    """
    measured = list(measured)
    options: dict[str, dict[str, Any]] = {}
    for option, takers, argument, value in given:
        if value is None:
            continue
        affected = [name for name in takers if name in measured]
        if not affected:
            raise ConfigError(f"{option} is for {', '.join(takers)}; measured here: {', '.join(measured)}")
        for name in affected:
            options.setdefault(name, {})[argument] = value
    return options


def _ranks(place: BackendOptions) -> Group | None:
    """The processes of `paddle.distributed.launch`, if it started this one, on their devices."""
    place.use_device()
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
        return None
    from ppsr.engine.distributed import start_distributed

    return start_distributed(place.device or ("gpu" if place.on_gpu else "cpu"))
