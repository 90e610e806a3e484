"""`ppsr evaluate`."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ppsr.cli.flags import Trust
from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from ppsr.engine.distributed import Group
    from ppsr.evaluation.evaluate import Evaluation
    from ppsr.inference.backends.exported import BackendOptions

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate_images)


def evaluate_images(
    protocol: Annotated[str, typer.Option(help="classic, dsr, reflash, dasr or realsr.")] = "classic",
    scale: Annotated[int, typer.Option(help="HR size / LR size.")] = 4,
    gt: Annotated[str | None, typer.Option(help="HR images: a folder or a pattern.")] = None,
    sr: Annotated[str | None, typer.Option(help="Finished SR images.")] = None,
    lq: Annotated[str | None, typer.Option(help="LR images; otherwise made from HR.")] = None,
    data: Annotated[str | None, typer.Option(help="Folder of the protocol's sets, instead of --gt.")] = None,
    sets: Annotated[str | None, typer.Option(help="Sets of --data, by commas.")] = None,
    name: Annotated[str | None, typer.Option(help="The set's name in the report.")] = None,
    load: Annotated[
        list[Path] | None,
        typer.Option(
            help="Weights or an exported network to score; repeat it for several networks, and for the "
            "predictor of CDDNet and DASR."
        ),
    ] = None,
    config_file: Annotated[
        Path | None, typer.Option("-c", "--config-file", help="Names the network.")
    ] = None,
    bicubic: Annotated[
        bool | None,
        typer.Option(
            "--bicubic/--no-bicubic", help="Score bicubic enlargement; beside networks it is, unless told."
        ),
    ] = None,
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
    seed: Annotated[int, typer.Option(min=0, help="Of noise in LR images made here.")] = 0,
    tile: Annotated[
        int, typer.Option(min=0, help="Side of the tiles in LR pixels; 0: whole images, as published scores.")
    ] = 0,
    backend: Annotated[
        str | None, typer.Option(help="paddle (default), inference, onnxruntime, openvino, tensorrt or auto.")
    ] = None,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="Mean over 8 flips and turns: 8 times slower.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu, gpu or gpu:N; default: a GPU where Paddle has one.")
    ] = None,
    trust: Trust = False,
    images: Annotated[bool, typer.Option("--images", help="Print a row for every image too.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the report, for several networks of a folder each; default: a new one in output.",
        ),
    ] = None,
    grid: Annotated[bool, typer.Option(help="Draw the best and the worst image.")] = True,
) -> None:
    """Score networks, bicubic enlargement or finished images by a named protocol.

    Exit code 1 when some images have no score, 3 when none has."""
    from ppsr import accelerate
    from ppsr.inference.backends.exported import BackendOptions

    place = BackendOptions(device=device, trust=trust)
    group = _ranks(place)
    accelerate.enable()
    from ppsr.engine.loggers import setup_logging
    from ppsr.evaluation.console import table_lines
    from ppsr.evaluation.evaluate import evaluate
    from ppsr.evaluation.protocols import find_protocol
    from ppsr.evaluation.report import check_folder, write_report
    from ppsr.inference.network import split_networks

    setup_logging(None)
    chosen = find_protocol(protocol, scale)
    check_folder(output or Path("output"))
    wanted = _parts("--metrics", metrics)
    options = _metric_options(
        wanted or chosen.metrics,
        ("--definition", ("rmse", "mad", "pe"), "definition", definition),
        ("--lpips-net", ("lpips",), "net", lpips_net),
        ("--lpips-weights", ("lpips",), "weights", lpips_weights),
        ("--niqe-parameters", ("niqe",), "parameters", niqe_parameters),
    )
    networks = split_networks(load or [])
    if config_file is not None and not networks:
        raise ConfigError(f"{config_file} names a network without weights; give them by --load")
    score = partial(
        evaluate,
        protocol,
        scale=scale,
        gt=gt,
        lq=lq,
        data=data,
        sets=_parts("--sets", sets),
        name=name,
        metrics=wanted,
        metric_options=options,
        lr_of_script=lr,
        seed=seed,
        group=group,
    )
    network_options: dict[str, Any] = {"tile": tile, "backend": backend, "self_ensemble": self_ensemble}
    labels = _distinct(networks)
    results: list[Evaluation] = []
    with _Bar() as bar:
        if bicubic or (bicubic is None and networks and sr is None and chosen.gt_layout is not None):
            alone = {} if networks else network_options  # which are refused then
            results.append(score(use_bicubic=True, sr=sr, on_image=bar("bicubic"), **alone))
        for files, label in zip(networks, labels, strict=True):
            network: dict[str, Any] = {"config_file": config_file, "load": files, "options": place}
            result = score(sr=sr, on_image=bar(label), **network, **network_options)
            result.method = label
            results.append(result)
        if not results:
            results.append(score(sr=sr, on_image=bar("finished"), **network_options))
    if not results[0].is_main:
        return
    for line in table_lines(results, images=images):
        print(line)
    reported = [result for result in results if len(results) == 1 or result.method != "bicubic"]
    for result, folder in zip(reported, _folders(output, reported), strict=True):
        write_report(result, folder, grid=grid)
        print(f"report in {folder}")
    code = max((result.exit_code for result in results), default=0)
    if code:
        raise typer.Exit(code)


class _Bar:
    """A line of progress on a terminal, and nothing elsewhere."""

    def __enter__(self) -> Callable[[str], Callable[[str, int, int], None]]:
        from tqdm import tqdm

        self._bar = tqdm(disable=None, leave=False)
        return lambda method: partial(self._show, method)

    def _show(self, method: str, name: str, done: int, count: int) -> None:
        self._bar.set_description_str(f"{method} on {name}", refresh=False)
        self._bar.total = count
        self._bar.n = done
        self._bar.refresh()

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _folders(output: Path | None, results: Sequence[Evaluation]) -> list[Path]:
    """Where the reports go: named by the methods, and none on top of an earlier one, unless it was named."""
    names = [re.sub(r"[^\w.+-]+", "_", result.method).strip("_") for result in results]
    if output is not None:
        folders = [output] if len(results) == 1 else [output / name for name in names]
        for folder in folders:
            if (folder / "metrics.json").exists():
                print(f"the earlier report in {folder} is replaced")
        return folders
    first = results[0]
    start = f"evaluate-{first.protocol.name}-x{first.scale}"
    return [_unused(Path("output") / f"{start}-{name}") for name in names]


def _distinct(networks: Sequence[Sequence[Path]]) -> list[str]:
    """Names of networks; equal ones with the folders of their files."""
    from ppsr.evaluation.evaluate import network_name

    names = [network_name(files) for files in networks]
    return [
        f"{files[0].absolute().parent.name}/{name}" if names.count(name) > 1 else name
        for name, files in zip(names, networks, strict=True)
    ]


def _unused(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, ... that holds no report."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(place for place in (folder, *itertools.islice(numbered, 9999)) if not place.exists())


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
