"""`ppsr prepare`: data sets. Exit code 1 if some images failed, 3 if no image was usable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ppsr.cli.flags import ConfigFile, Force, Seed, Workers, comma_separated
from ppsr.errors import ConfigError, printable

if TYPE_CHECKING:
    from ppsr.prepare.jobs import Recipe, Summary

app = typer.Typer(
    help="Prepare data sets. Results newer than their images are kept, so an interrupted command can be run "
    "again.",
    no_args_is_help=True,
)

Scale = Annotated[int, typer.Option(min=2, help="Scale factor: HR size / LR size.")]
Images = Annotated[Path, typer.Argument(help="Image folder.")]
Tree = Annotated[Path, typer.Argument(help="Image folder, searched recursively.")]
Target = Annotated[Path, typer.Argument(help="Output folder.")]
ListFile = Annotated[Path, typer.Argument(help="Text file to write.")]
Smallest = Annotated[int, typer.Option(min=1, help="Skip images with a shorter side than this.")]
Verify = Annotated[bool, typer.Option("--verify", help="Decode every image to skip broken ones.")]


def _report(summary: Summary, target: Path) -> None:
    for line in summary.lines(target):
        print(printable(line))
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _make(recipe: Recipe, source: Path, workers: int | None, force: bool) -> None:
    _report(recipe.make(source, workers=workers, force=force), recipe.target)


@app.command()
def samples(
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")] = Path("data/samples"),
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Copy sample images from scikit-image: HR for training, HR and degraded LR for validation."""
    from ppsr.prepare.dasr_valid import DASRValidation
    from ppsr.prepare.samples import make_samples

    done = make_samples(output, workers=workers, force=force)
    if not done.failed:
        lr = output / "val_LRx4"
        degraded = DASRValidation(lr, kind=2).make(output / "val", workers=workers, force=force)
        done.merge(degraded, lr.name)
    _report(done, output)


@app.command()
def subimages(
    source: Tree,
    output: Target,
    size: Annotated[int, typer.Option(min=1, help="Side of a window in pixels.")] = 480,
    step: Annotated[int, typer.Option(min=1, help="Stride of the windows.")] = 240,
    threshold: Annotated[
        int, typer.Option(min=0, help="Remaining pixels that may be dropped at the border.")
    ] = 0,
    mod_crop: Annotated[int, typer.Option(min=1, help="Crop images to a multiple of this first.")] = 1,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Crop large images into overlapping windows, as PNG.

    To crop HR and LR alike, all four numbers of HR must be those of LR times the scale.
    """
    from ppsr.prepare.subimages import SubImages

    _make(SubImages(output, size, step, threshold, mod_crop), source, workers, force)


@app.command()
def bicubic(
    source: Images,
    output: Target,
    scales: Annotated[str, typer.Option(help="Comma-separated scales.")] = "2,3,4",
    mod_crop: Annotated[
        int | None, typer.Option(min=1, help="Crop HR to a multiple of this and write it too.")
    ] = None,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Downscale by MATLAB's bicubic to OUTPUT/LR_bicubic/X<s>/<name>x<s>.png; --mod-crop writes OUTPUT/HR."""
    from ppsr.prepare.bicubic import Bicubic

    numbers = comma_separated("--scales", scales, int) or []
    _make(Bicubic(output, tuple(numbers), mod_crop), source, workers, force)


@app.command()
def multiscale(
    source: Images,
    output: Target,
    factors: Annotated[str, typer.Option(help="Comma-separated sizes relative to the image.")] = (
        "1,0.9,0.8,0.7,0.6"
    ),
    smallest: Smallest = 1,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Resize HR images to several sizes by MATLAB's bicubic: OUTPUT/<name>_<percent>.png."""
    from ppsr.prepare.bicubic import MultiScale

    numbers = comma_separated("--factors", factors, float) or []
    _make(MultiScale(output, tuple(numbers), smallest), source, workers, force)


@app.command("meta-info")
@app.command(
    "imagenet-list",
    help="Write a list of ImageNet images for ImageNetPairedDataset, which enlarges images that are smaller "
    "than the training window; --smallest skips them.",
)
def meta_info(
    folder: Tree,
    output: ListFile,
    form: Annotated[str, typer.Option(help="shape: 'name (h,w,c)'; name: 'name'.")] = "shape",
    smallest: Smallest = 1,
    verify: Verify = False,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Write an image list for the option `meta_info` of a data set."""
    from ppsr.prepare.lists import make_list

    done = make_list(
        folder, output, form=form, smallest=smallest, verify=verify, workers=workers, force=force
    )
    _report(done, output)


@app.command()
def lmdb(
    source: Annotated[
        Path, typer.Argument(help="Image folder, searched recursively; with --verify an LMDB store.")
    ],
    output: Annotated[Path | None, typer.Argument(help="LMDB store to create, NAME.lmdb.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Verify the store SOURCE.")] = False,
    level: Annotated[int, typer.Option(min=0, max=9, help="PNG compression level.")] = 1,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Pack images into an LMDB store in BasicSR's layout, or verify a store."""
    from ppsr.prepare.lmdb_store import make_lmdb, verify_lmdb

    if verify:
        _report(verify_lmdb(source), source)
    elif output is None:
        raise ConfigError("name the store to create: ppsr prepare lmdb FOLDER NAME.lmdb")
    else:
        _report(make_lmdb(source, output, level=level, workers=workers, force=force), output)


@app.command("reflash-benchmark")
def reflash_benchmark(
    source: Images,
    output: Target,
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Create the eight degradations of Reflash Dropout: OUTPUT/HR/x<s>, OUTPUT/LR_degra/<degradation>."""
    from ppsr.prepare.reflash import ReflashBenchmark

    _make(ReflashBenchmark(output, scale, seed), source, workers, force)


@app.command("dasr-valid")
def dasr_valid(
    source: Images,
    output: Target,
    kind: Annotated[int, typer.Option("--type", help="1: weak, 2: standard, 3: severe.")],
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Create a degraded validation set of DASR, with its parameters in OUTPUT/params.json."""
    from ppsr.prepare.dasr_valid import DASRValidation

    _make(DASRValidation(output, kind, scale, seed), source, workers, force)


@app.command("dsr-train")
def dsr_train(
    source: Images,
    output: Target,
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Create training pairs of depth maps with the published noise: data_all_HR_x<s>, data_all_LR_x<s>."""
    from ppsr.prepare.depth import DepthTraining

    _make(DepthTraining(output, scale, seed), source, workers, force)


@app.command("dsr-test")
def dsr_test(
    source: Annotated[Path, typer.Argument(help="Folder of .mat files or raw depth maps.")],
    output: Target,
    lq_script: Annotated[
        str, typer.Option(help="Generate LR as the published script, or with its bug fixed.")
    ] = "published",
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Create test pairs of depth maps: OUTPUT/test_HR, OUTPUT/test_LR_x<s>."""
    from ppsr.prepare.depth import DepthTest

    if lq_script not in ("published", "fixed"):
        raise ConfigError(f"--lq-script must be published or fixed, got '{lq_script}'")
    _make(DepthTest(output, scale, seed, lq_script == "published"), source, workers, force)


@app.command("dsr-crops")
def dsr_crops(
    folder: Annotated[Path, typer.Argument(help="Output folder of `dsr-train`.")],
    scale: Scale = 4,
    size: Annotated[int, typer.Option(min=1, help="Side of HR windows in pixels.")] = 128,
    step: Annotated[int, typer.Option(min=1, help="Stride of HR windows.")] = 64,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Crop the training pairs into windows: data_all_HR_x<s>_sub, data_all_LR_x<s>_sub."""
    from ppsr.prepare.depth import DepthTraining

    pairs = DepthTraining(folder, scale)
    _report(pairs.crop(size=size, step=step, workers=workers, force=force), folder)


@app.command()
def preview(
    config_file: ConfigFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="Image file to write.")] = Path(
        "output/preview.png"
    ),
    index: Annotated[int, typer.Option(min=0, help="Index of the image in dataset.train.")] = 0,
) -> None:
    """Draw what each stage of a config's degradation does to an image."""
    from ppsr.prepare.preview import make_preview

    print(make_preview(config_file, output, index=index))
