"""`ppsr prepare ...`: making data sets. Exit code 1 when some images failed, 3 when nothing came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from ppsr.prepare.jobs import Recipe, Summary

__all__ = ["register"]

Number = TypeVar("Number", int, float)

prepare = typer.Typer(
    help="Make data sets. What is already there stays, so an interrupted command is simply run again.",
    no_args_is_help=True,
)

Force = Annotated[bool, typer.Option("--force", help="Write again what is already there.")]
Workers = Annotated[
    int | None, typer.Option("-j", "--workers", min=1, help="Processes; by default one per core.")
]
Scale = Annotated[int, typer.Option(min=2, help="HR size / LR size.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all draws, together with an image's name.")]
Images = Annotated[Path, typer.Argument(help="Folder of images.")]
Tree = Annotated[Path, typer.Argument(help="Images, searched recursively.")]
Target = Annotated[Path, typer.Argument(help="Folder of the results.")]
ListFile = Annotated[Path, typer.Argument(help="Text file to write.")]
Smallest = Annotated[int, typer.Option(min=1, help="Leave out images with a shorter side.")]
Verify = Annotated[bool, typer.Option("--verify", help="Decode every image, to leave out broken ones.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(prepare, name="prepare")


def _report(summary: Summary, target: Path) -> None:
    for line in summary.lines(target):
        print(line)
    if summary.exit_code:
        raise typer.Exit(summary.exit_code)


def _make(recipe: Recipe, source: Path, workers: int | None, force: bool) -> None:
    _report(recipe.make(source, workers=workers, force=force), recipe.target)


def _listed(text: str, number: Callable[[str], Number], what: str) -> list[Number]:
    """Numbers that an option gives by commas."""
    from ppsr.errors import ConfigError

    try:
        return [number(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{what}, got '{text}'") from None


@prepare.command()
def samples(
    output: Annotated[Path, typer.Option("-o", help="Folder of the results.")] = Path("data/samples"),
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Real images that come with scikit-image: HR for training and validation, and degraded LR for
    validation."""
    from ppsr.prepare.dasr_valid import DASRValidation
    from ppsr.prepare.samples import make_samples

    done = make_samples(output, workers=workers, force=force)
    if not done.failed:
        lr = output / "val_LRx4"
        degraded = DASRValidation(lr, kind=2).make(output / "val", workers=workers, force=force)
        done.merge(degraded, lr.name)
    _report(done, output)


@prepare.command()
def subimages(
    source: Tree,
    output: Target,
    size: Annotated[int, typer.Option(min=1, help="Side of a window.")] = 480,
    step: Annotated[int, typer.Option(min=1, help="Distance of windows.")] = 240,
    threshold: Annotated[int, typer.Option(min=0, help="Remaining pixels that are given up.")] = 0,
    mod_crop: Annotated[int, typer.Option(min=1, help="First cut images to multiples of this.")] = 1,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Overlapping windows of large images, as PNG.

    Windows of HR and LR show the same places where all four numbers of HR are those of LR times the scale."""
    from ppsr.prepare.subimages import SubImages

    _make(SubImages(output, size, step, threshold, mod_crop), source, workers, force)


@prepare.command()
def bicubic(
    source: Images,
    output: Target,
    scales: Annotated[str, typer.Option(help="HR size / LR size, by commas.")] = "2,3,4",
    mod_crop: Annotated[
        int | None, typer.Option(min=1, help="Cut HR to multiples of this, and write it too.")
    ] = None,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """LR by MATLAB's bicubic: OUTPUT/LR_bicubic/X<s>/<name>x<s>.png, with --mod-crop also OUTPUT/HR."""
    from ppsr.prepare.bicubic import Bicubic

    numbers = _listed(scales, int, "--scales are whole numbers by commas")
    _make(Bicubic(output, tuple(numbers), mod_crop), source, workers, force)


@prepare.command()
def multiscale(
    source: Images,
    output: Target,
    factors: Annotated[str, typer.Option(help="Sizes relative to the image, by commas.")] = (
        "1,0.9,0.8,0.7,0.6"
    ),
    smallest: Smallest = 1,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """HR images in several sizes, by MATLAB's bicubic: OUTPUT/<name>_<percent>.png."""
    from ppsr.prepare.bicubic import MultiScale

    numbers = _listed(factors, float, "--factors are numbers by commas")
    _make(MultiScale(output, tuple(numbers), smallest), source, workers, force)


@prepare.command("meta-info")
def meta_info(
    folder: Tree,
    output: ListFile,
    form: Annotated[str, typer.Option(help="shape: 'name (h,w,c)'; name: 'name'.")] = "shape",
    smallest: Smallest = 1,
    verify: Verify = False,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """List of images for `meta_info` of a dataset, in either published form."""
    from ppsr.prepare.lists import make_list

    done = make_list(
        folder, output, form=form, smallest=smallest, verify=verify, workers=workers, force=force
    )
    _report(done, output)


@prepare.command("imagenet-list")
def imagenet_list(
    folder: Tree,
    output: ListFile,
    smallest: Smallest = 1,
    verify: Verify = False,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """List of ImageNet images ('n01440764/n01440764_10026.JPEG (h,w,c)'), for ImageNetPairedDataset.

    Smaller images than the training window are enlarged by the dataset; --smallest leaves them out."""
    from ppsr.prepare.lists import make_list

    done = make_list(folder, output, smallest=smallest, verify=verify, workers=workers, force=force)
    _report(done, output)


@prepare.command()
def lmdb(
    source: Annotated[Path, typer.Argument(help="Images, searched recursively, or with --verify a store.")],
    output: Annotated[Path | None, typer.Argument(help="Store to make, NAME.lmdb.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the store SOURCE.")] = False,
    level: Annotated[int, typer.Option(min=0, max=9, help="PNG compression.")] = 1,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Pack images into an LMDB store in BasicSR's layout, or verify one."""
    from ppsr.errors import ConfigError
    from ppsr.prepare.lmdb_store import make_lmdb, verify_lmdb

    if verify:
        _report(verify_lmdb(source), source)
    elif output is None:
        raise ConfigError("give the store to make: ppsr prepare lmdb FOLDER NAME.lmdb")
    else:
        _report(make_lmdb(source, output, level=level, workers=workers, force=force), output)


@prepare.command("reflash-benchmark")
def reflash_benchmark(
    source: Images,
    output: Target,
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """The eight degradations of Reflash Dropout: OUTPUT/HR/x<s> and OUTPUT/LR_degra/<degradation>."""
    from ppsr.prepare.reflash import ReflashBenchmark

    _make(ReflashBenchmark(output, scale, seed), source, workers, force)


@prepare.command("dasr-valid")
def dasr_valid(
    source: Images,
    output: Target,
    kind: Annotated[int, typer.Option("--type", help="1 weak, 2 standard, 3 severe.")],
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Degraded validation set of DASR, reproducible from the seed and the names; parameters in
    OUTPUT/params.json."""
    from ppsr.prepare.dasr_valid import DASRValidation

    _make(DASRValidation(output, kind, scale, seed), source, workers, force)


@prepare.command("dsr-train")
def dsr_train(
    source: Images,
    output: Target,
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Training pairs of depth maps with the published noise: OUTPUT/data_all_HR_x<s> and
    data_all_LR_x<s>."""
    from ppsr.prepare.depth import DepthTraining

    _make(DepthTraining(output, scale, seed), source, workers, force)


@prepare.command("dsr-test")
def dsr_test(
    source: Annotated[Path, typer.Argument(help="Folder of .mat files, or of raw depth maps.")],
    output: Target,
    lr: Annotated[str, typer.Option(help="As the script does or means: published, intended.")] = "published",
    scale: Scale = 4,
    seed: Seed = 0,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Test pairs of depth maps: OUTPUT/test_HR and OUTPUT/test_LR_x<s>."""
    from ppsr.errors import ConfigError
    from ppsr.prepare.depth import DepthTest

    if lr not in ("published", "intended"):
        raise ConfigError(f"--lr is published or intended, got '{lr}'")
    _make(DepthTest(output, scale, seed, lr == "published"), source, workers, force)


@prepare.command("dsr-crops")
def dsr_crops(
    folder: Annotated[Path, typer.Argument(help="OUTPUT of `dsr-train`.")],
    scale: Scale = 4,
    size: Annotated[int, typer.Option(min=1, help="Side of HR windows.")] = 128,
    step: Annotated[int, typer.Option(min=1, help="Distance of HR windows.")] = 64,
    workers: Workers = None,
    force: Force = False,
) -> None:
    """Windows of the training pairs: data_all_HR_x<s>_sub and data_all_LR_x<s>_sub."""
    from ppsr.prepare.depth import DepthTraining

    pairs = DepthTraining(folder, scale)
    _report(pairs.crop(size=size, step=step, workers=workers, force=force), folder)


@prepare.command()
def preview(
    config_file: Annotated[Path, typer.Option("-c", "--config-file")],
    output: Annotated[Path, typer.Option("-o")] = Path("output/preview.png"),
    index: Annotated[int, typer.Option(help="Which image of dataset.train.")] = 0,
) -> None:
    """A contact sheet of what each stage of the degradation does to an image."""
    from ppsr.prepare.preview import make_preview

    print(make_preview(config_file, output, index=index))
