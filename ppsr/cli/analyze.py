"""`ppsr analyze ...`: looking inside networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from ppsr.analysis.inputs import Image, Subject

__all__ = ["register"]

analyze = typer.Typer(help="Look inside networks.", no_args_is_help=True)

Source = Annotated[Path | None, typer.Argument(help="LR image.", metavar="IN")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Folder; by default output/analyze-TOOL.")
]
Configs = Annotated[list[Path] | None, typer.Option("-c", "--config-file", help="Names the network.")]
Loads = Annotated[list[Path] | None, typer.Option("--load", help="Weights; again for a comparison.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="Name in the figures, per network.")]
FromHr = Annotated[bool, typer.Option("--from-hr", help="IN is HR and is shrunk bicubically first.")]
Crop = Annotated[int | None, typer.Option(help="Look at a square of this side in the middle of LR.")]
Names = Annotated[str | None, typer.Option("--layers", help="By commas.")]
ListLayers = Annotated[bool, typer.Option("--list-layers", help="Print the layers and stop.")]
Memory = Annotated[int, typer.Option("--memory", help="MiB that a batch may take.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(analyze, name="analyze")


def _subjects(
    configs: list[Path] | None, loads: list[Path] | None, labels: list[str] | None
) -> list[Subject]:
    from ppsr import accelerate

    accelerate.enable()
    from ppsr.analysis.inputs import load_subjects

    return load_subjects(configs or [], loads or [], labels or [])


def _image(
    source: Path | None,
    subjects: list[Subject],
    *,
    gt: Path | None = None,
    from_hr: bool = False,
    crop: int | None = None,
) -> Image:
    from ppsr.analysis.inputs import load_image

    if source is None:
        raise ConfigError("give an image: ppsr analyze TOOL IN ...")
    return load_image(source, subjects[0], gt=gt, from_hr=from_hr, crop=crop)


def _folder(output: Path | None, tool: str) -> Path:
    """Where the results go; looked at before the computing.

    Raises:
        ConfigError: as `check_folder`.
    """
    from ppsr.evaluation.report import check_folder

    folder = output or Path(f"output/analyze-{tool}")
    check_folder(folder)
    return folder


def _finish(lines: list[str], folder: Path) -> None:
    for line in lines:
        print(line)
    print(f"images in {folder}")


def _print_layers(subjects: list[Subject]) -> None:
    from ppsr.analysis.layers import relative_size

    for subject in subjects:
        layers = subject.layers
        print(f"{subject.label}: {subject.facts['network']} x{subject.facts['scale']}")
        width = max(map(len, layers.maps))
        for name, layer in layers.maps.items():
            mark = "deepest" if name == layers.deepest else "stage" if name in layers.outline else ""
            size = relative_size(layer)
            print(
                f"  {name:<{width}}  {layer.channels:>4} maps  {size:<5}  {layer.kind:<20}  {mark}".rstrip()
            )


def _split(names: str | None) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()] if names else []


@analyze.command("lam")
def local_attribution(
    source: Source = None,
    output: Output = None,
    config_file: Configs = None,
    load: Loads = None,
    label: Labels = None,
    window: Annotated[int, typer.Option(help="Side of the explained window, SR pixels.")] = 16,
    top: Annotated[int | None, typer.Option(help="Its first row; by default in the middle.")] = None,
    left: Annotated[int | None, typer.Option(help="Its first column; by default in the middle.")] = None,
    sigma: Annotated[float, typer.Option(help="Blur at the start of the path, LR pixels.")] = 1.2,
    fold: Annotated[int, typer.Option(help="Steps of the path.")] = 50,
    kernel_size: Annotated[int, typer.Option(help="Side of the blur kernels.")] = 9,
    from_hr: FromHr = False,
    crop: Crop = None,
    memory: Memory = 512,
) -> None:
    """Local attribution map: which pixels a network uses for a window, and how widely they spread (diffusion
    index). Several networks make a comparison sheet."""
    folder = _folder(output, "lam")
    subjects = _subjects(config_file, load, label)
    image = _image(source, subjects, from_hr=from_hr, crop=crop)
    from ppsr.analysis.lam import LamSettings
    from ppsr.analysis.reports import report_lam

    settings = LamSettings(window, top, left, sigma, fold, kernel_size)
    _finish(report_lam(subjects, image, folder, settings, memory_mib=memory), folder)


@analyze.command("csm")
def channel_saliency(
    source: Source = None,
    output: Output = None,
    config_file: Configs = None,
    load: Loads = None,
    layers: Names = None,
    gt: Annotated[Path | None, typer.Option(help="HR image; otherwise the whole network's SR.")] = None,
    from_hr: FromHr = False,
    crop: Crop = None,
    ablation: Annotated[bool, typer.Option(help="Remove channels and measure PSNR.")] = True,
    each_channel: Annotated[
        bool, typer.Option("--each-channel", help="Also images and logs per channel.")
    ] = False,
    list_layers: ListLayers = False,
    memory: Memory = 512,
) -> None:
    """Channel saliency maps of layers (by default the deepest), and what happens to PSNR without channels."""
    folder = _folder(output, "csm")
    subjects = _subjects(config_file, load, None)
    if list_layers:
        _print_layers(subjects)
        return
    image = _image(source, subjects, gt=gt, from_hr=from_hr, crop=crop)
    from ppsr.analysis.reports import report_csm

    folders = [_folder(folder / s.label, "csm") if len(subjects) > 1 else folder for s in subjects]
    for subject, own in zip(subjects, folders, strict=True):
        lines = report_csm(
            subject,
            image,
            own,
            _split(layers),
            ablation=ablation,
            each_channel=each_channel,
            memory_mib=memory,
        )
        _finish(lines, own)


@analyze.command("ddr")
def degradation_representation(
    source: Annotated[Path | None, typer.Argument(help="Folder of HR images.", metavar="FOLDER")] = None,
    output: Output = None,
    config_file: Configs = None,
    load: Loads = None,
    label: Labels = None,
    layer: Annotated[str | None, typer.Option(help="By default the deepest.")] = None,
    degradations: Annotated[
        str | None, typer.Option(help="By commas; the first is SRGA's reference.")
    ] = None,
    count: Annotated[int, typer.Option(help="Patches per degradation.")] = 100,
    side: Annotated[int, typer.Option(help="Of the LR patches.")] = 32,
    perplexity: Annotated[float, typer.Option(help="Of t-SNE.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Of patches, noise and t-SNE.")] = 0,
    list_layers: ListLayers = False,
    memory: Memory = 512,
) -> None:
    """Deep degradation representation: do features tell degradations apart? Two networks, such as one with
    and one without dropout, stand side by side."""
    folder = _folder(output, "ddr")
    subjects = _subjects(config_file, load, label)
    if list_layers:
        _print_layers(subjects)
        return
    from ppsr.analysis.ddr import DEGRADATIONS
    from ppsr.analysis.reports import report_ddr
    from ppsr.imaging.io import list_images

    if source is None:
        raise ConfigError("give a folder of HR images: ppsr analyze ddr FOLDER ...")
    lines = report_ddr(
        subjects,
        list_images(source),
        folder,
        layer=layer,
        degradations=_split(degradations) or DEGRADATIONS,
        count=count,
        side=side,
        perplexity=perplexity,
        seed=seed,
        memory_mib=memory,
    )
    _finish(lines, folder)


@analyze.command("features")
def feature_maps(
    source: Source = None,
    output: Output = None,
    config_file: Configs = None,
    load: Loads = None,
    label: Labels = None,
    layers: Names = None,
    channels: Annotated[int, typer.Option(help="At most so many maps on a sheet.")] = 64,
    from_hr: FromHr = False,
    crop: Crop = None,
    list_layers: ListLayers = False,
) -> None:
    """Feature maps of layers (by default the main stages) as sheets; energy and rank through the depth."""
    folder = _folder(output, "features")
    subjects = _subjects(config_file, load, label)
    if list_layers:
        _print_layers(subjects)
        return
    image = _image(source, subjects, from_hr=from_hr, crop=crop)
    from ppsr.analysis.reports import report_features

    _finish(report_features(subjects, image, folder, _split(layers), channels=channels), folder)
