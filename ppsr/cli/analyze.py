"""`ppsr analyze`: methods that look inside networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ppsr.cli.flags import comma_separated, log_to_console
from ppsr.errors import ConfigError, printable

if TYPE_CHECKING:
    from ppsr.analysis.inputs import AnalyzedNetwork, Image

app = typer.Typer(help="Analyze what networks use and represent.", no_args_is_help=True)

Source = Annotated[Path | None, typer.Argument(help="LR image.", metavar="IN")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Output folder; default: output/analyze-COMMAND.")
]
Configs = Annotated[
    list[Path],
    typer.Option("-c", "--config-file", help="Config that defines the network; once or per --load."),
]
Loads = Annotated[list[Path], typer.Option("--load", help="Weights; repeat it to compare networks.")]
Labels = Annotated[list[str], typer.Option("--label", help="Label in the figures; one per network.")]
FromHr = Annotated[bool, typer.Option("--from-hr", help="IN is an HR image; downscale it bicubically first.")]
Crop = Annotated[int | None, typer.Option(help="Centre-crop the LR image to this size.")]
Names = Annotated[str | None, typer.Option("--layers", help="Comma-separated layers.")]
ListLayers = Annotated[bool, typer.Option("--list-layers", help="Print the layers and exit.")]
Memory = Annotated[int, typer.Option("--memory", help="Memory limit of a batch in MiB.")]


def _begin(
    tool: str,
    output: Path | None,
    configs: list[Path],
    loads: list[Path],
    labels: Sequence[str] = (),
    list_layers: bool = False,
) -> tuple[Path, list[AnalyzedNetwork]]:
    """The output folder and the networks, or their layers and the end of the command."""
    from ppsr import accelerate
    from ppsr.evaluation.report import check_folder

    folder = output or Path(f"output/analyze-{tool}")
    check_folder(folder)  # before anything is computed
    accelerate.enable()
    from ppsr.analysis.inputs import load_networks

    log_to_console()
    networks = load_networks(configs, loads, labels)
    if list_layers:
        _print_layers(networks)
        raise typer.Exit()
    return folder, networks


def _image(source: Path | None, networks: list[AnalyzedNetwork], **options: Any) -> Image:
    from ppsr.analysis.inputs import load_image

    if source is None:
        raise ConfigError("give an image: ppsr analyze COMMAND IN ...")
    return load_image(source, networks[0], **options)


def _finish(lines: list[str], folder: Path) -> None:
    for line in lines:
        print(printable(line))
    print(f"results in {folder}")


def _print_layers(networks: list[AnalyzedNetwork]) -> None:
    from ppsr.analysis.layers import relative_size

    for network in networks:
        layers = network.layers
        print(f"{network.label}: {network.origin['network']} x{network.origin['scale']}")
        width = max(map(len, layers.maps))
        for name, layer in layers.maps.items():
            mark = "deepest" if name == layers.deepest else "stage" if name in layers.outline else ""
            size = relative_size(layer)
            print(
                f"  {name:<{width}}  {layer.channels:>4} maps  {size:<5}  {layer.kind:<20}  {mark}".rstrip()
            )


@app.command("lam")
def local_attribution(
    source: Source = None,
    output: Output = None,
    config_file: Configs = [],
    load: Loads = [],
    label: Labels = [],
    window: Annotated[int, typer.Option(help="Side of the explained window in SR pixels.")] = 16,
    top: Annotated[int | None, typer.Option(help="First row of the window; default: centred.")] = None,
    left: Annotated[int | None, typer.Option(help="First column of the window; default: centred.")] = None,
    sigma: Annotated[float, typer.Option(help="Blur at the start of the path in LR pixels.")] = 1.2,
    fold: Annotated[int, typer.Option(help="Number of steps of the path.")] = 50,
    kernel_size: Annotated[int, typer.Option(help="Size of the blur kernels.")] = 9,
    from_hr: FromHr = False,
    crop: Crop = None,
    memory: Memory = 512,
) -> None:
    """Local attribution map (LAM): which pixels a network uses for a window, and their diffusion index.

    Several networks are drawn on one sheet.
    """
    folder, networks = _begin("lam", output, config_file, load, label)
    image = _image(source, networks, from_hr=from_hr, crop=crop)
    from ppsr.analysis.lam import LamSettings
    from ppsr.analysis.reports import report_lam
    from ppsr.inference.progress import progress_bar

    settings = LamSettings(window, top, left, sigma, fold, kernel_size)
    with progress_bar() as show:
        lines = report_lam(networks, image, folder, settings, memory_mib=memory, show=show)
    _finish(lines, folder)


@app.command("csm")
def channel_saliency(
    source: Source = None,
    output: Output = None,
    config_file: Configs = [],
    load: Loads = [],
    layers: Names = None,
    gt: Annotated[
        Path | None,
        typer.Option(help="HR image to compare with; default: the SR image of the whole network."),
    ] = None,
    from_hr: FromHr = False,
    crop: Crop = None,
    ablation: Annotated[bool, typer.Option(help="Measure PSNR without each channel.")] = True,
    list_layers: ListLayers = False,
    memory: Memory = 512,
) -> None:
    """Channel saliency maps (CSM) of layers, by default the deepest, and PSNR without channels."""
    folder, networks = _begin("csm", output, config_file, load, list_layers=list_layers)
    image = _image(source, networks, gt=gt, from_hr=from_hr, crop=crop)
    from ppsr.analysis.reports import report_csm
    from ppsr.evaluation.report import check_folder
    from ppsr.inference.progress import progress_bar

    folders = [folder / network.label if len(networks) > 1 else folder for network in networks]
    for own in folders:
        check_folder(own)
    for network, own in zip(networks, folders, strict=True):
        with progress_bar() as show:
            lines = report_csm(
                network,
                image,
                own,
                comma_separated("--layers", layers) or [],
                ablation=ablation,
                memory_mib=memory,
                show=show,
            )
        _finish(lines, own)


@app.command("ddr")
def degradation_representation(
    source: Annotated[Path | None, typer.Argument(help="Folder of HR images.", metavar="FOLDER")] = None,
    output: Output = None,
    config_file: Configs = [],
    load: Loads = [],
    label: Labels = [],
    layer: Annotated[str | None, typer.Option(help="Layer; default: the deepest.")] = None,
    degradations: Annotated[str | None, typer.Option(help="Comma-separated degradations.")] = None,
    count: Annotated[int, typer.Option(help="Number of patches per degradation.")] = 100,
    side: Annotated[int, typer.Option(help="Side of the LR patches.")] = 32,
    perplexity: Annotated[float, typer.Option(help="Perplexity of t-SNE.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    list_layers: ListLayers = False,
    memory: Memory = 512,
) -> None:
    """Deep degradation representation (DDR): whether features separate degradations.

    Several networks, such as one with and one without dropout, are drawn side by side.
    """
    folder, networks = _begin("ddr", output, config_file, load, label, list_layers)
    from ppsr.analysis.ddr import DEGRADATIONS
    from ppsr.analysis.reports import report_ddr
    from ppsr.imaging.pairing import find_images
    from ppsr.inference.progress import progress_bar

    if source is None:
        raise ConfigError("give a folder of HR images: ppsr analyze ddr FOLDER ...")
    with progress_bar() as show:
        lines = report_ddr(
            networks,
            find_images(source),
            folder,
            layer=layer,
            degradations=comma_separated("--degradations", degradations) or DEGRADATIONS,
            count=count,
            side=side,
            perplexity=perplexity,
            seed=seed,
            memory_mib=memory,
            show=show,
        )
    _finish(lines, folder)


@app.command("features")
def feature_maps(
    source: Source = None,
    output: Output = None,
    config_file: Configs = [],
    load: Loads = [],
    label: Labels = [],
    layers: Names = None,
    channels: Annotated[int, typer.Option(help="Maximum number of maps per sheet.")] = 64,
    from_hr: FromHr = False,
    crop: Crop = None,
    list_layers: ListLayers = False,
) -> None:
    """Feature maps of layers, by default the main stages, with energy and effective rank over depth."""
    folder, networks = _begin("features", output, config_file, load, label, list_layers)
    image = _image(source, networks, from_hr=from_hr, crop=crop)
    from ppsr.analysis.reports import report_features
    from ppsr.inference.progress import progress_bar

    names = comma_separated("--layers", layers) or []
    with progress_bar() as show:
        lines = report_features(networks, image, folder, names, channels=channels, show=show)
    _finish(lines, folder)
