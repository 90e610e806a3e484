"""`ppsr compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ppsr.cli.flags import Backend, Device, NetworkConfig, NetworkLoads, Trust, log_to_console
from ppsr.errors import ConfigError, printable


def compare(
    image: Annotated[Path, typer.Argument(help="LR image.", metavar="IMAGE")],
    load: NetworkLoads,
    config_file: NetworkConfig = None,
    gt: Annotated[Path | None, typer.Option(help="HR image to show next to the results.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Output folder; default: output/compare-IMAGE.")
    ] = None,
    crops: Annotated[int, typer.Option(min=1, help="Number of crops on the sheet.")] = 3,
    crop_size: Annotated[int, typer.Option(min=16, help="Side of a crop in output pixels.")] = 128,
    backend: Backend = None,
    device: Device = None,
    trust: Trust = False,
) -> None:
    """Compare networks on an image: a sheet of the crops that differ most, and a page with a slider."""
    from ppsr import accelerate

    accelerate.enable()
    from ppsr.evaluation.compare import write_comparison
    from ppsr.evaluation.evaluate import network_labels
    from ppsr.evaluation.report import check_folder, unused_folder
    from ppsr.imaging.arrays import mod_crop
    from ppsr.imaging.io import read_own, to_rgb, to_uint8
    from ppsr.imaging.resize import matlab_resize
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.network import load_source, split_networks
    from ppsr.inference.progress import progress_bar
    from ppsr.inference.upscaler import Upscaler

    log_to_console()
    folder = output or unused_folder(Path("output") / f"compare-{image.stem}")
    check_folder(folder)
    options = BackendOptions(device=device, trust=trust)
    options.use_device()
    lq = to_uint8(to_rgb(read_own(image)))
    networks = split_networks(load)
    hr = None if gt is None else to_uint8(to_rgb(read_own(gt)))
    upscalers = {
        label: Upscaler(load_source(config_file, files), backend=backend, options=options)
        for label, files in zip(network_labels(networks), networks, strict=True)
    }
    scales = {label: upscaler.scale for label, upscaler in upscalers.items()}
    if len(set(scales.values())) != 1:
        listed = ", ".join(f"{label}: x{scale}" for label, scale in scales.items())
        raise ConfigError(f"networks to compare must have the same scale, got {listed}")
    scale = next(iter(scales.values()))
    images = {"bicubic": to_uint8(matlab_resize(lq.astype("float32") / 255, scale))}
    with progress_bar() as show:
        for index, (label, upscaler) in enumerate(upscalers.items()):
            show(label, image.name, index, len(networks))
            images[label] = upscaler(lq)
    if hr is not None:
        images["HR"] = mod_crop(hr, scale)
    for path in write_comparison(images, folder, title=image.name, crops=crops, side=crop_size):
        print(printable(path))
