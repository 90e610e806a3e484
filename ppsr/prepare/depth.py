"""Pairs of depth maps for training and testing, instead of PaddleDepth's MATLAB scripts.

https://github.com/PaddlePaddle/PaddleDepth (Depth_super_resolution). All maps are 8-bit gray.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ppsr.degradations.depth import benchmark_lr, benchmark_lr_from_upsampled, lr_of_training, to_png
from ppsr.errors import ConfigError, DataError
from ppsr.imaging.arrays import mod_crop, seeded
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Outcome, Summary, gather_unique, run_jobs, write_missing
from ppsr.prepare.mat_files import read_mat
from ppsr.prepare.records import claim
from ppsr.prepare.subimages import make_subimages

__all__ = ["make_depth_crops", "make_depth_test", "make_depth_training"]

_HR, _LR = "data_all_HR_x{}", "data_all_LR_x{}"
_TEST_HR, _TEST_LR = "test_HR", "test_LR_x{}"
_LARGEST = 1.5  # of a map in [0, 1]; enlarging may overshoot


def _read_depth(path: Path) -> np.ndarray:
    """An 8-bit map; of colour images the first channel, as the scripts take it.

    Raises:
        DataError: not 8 bit.
    """
    image = decode_image(path)
    if image.dtype != np.uint8:
        raise DataError(f"the published noise is defined on 8-bit maps, this has {image.dtype} samples")
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])


def make_depth_training(
    source: str | Path,
    target: str | Path,
    *,
    scale: int = 4,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Write `data_all_HR_x<s>/<name>_x<s>.png` and noisy LR of the same names in `data_all_LR_x<s>`.

    Args:
        source: HR depth maps.
        target: folder of both.
        scale: HR size / LR size.
        seed: of the noise, together with the name.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: the target was made with another seed or source, or is the source.
        DataError: no images.
    """
    target, images = Path(target), gather_unique(source, partial(_name, scale=scale))
    _claim(target, "dsr-train", {"seed": seed}, source=source, layout=(_HR, _LR), scale=scale)
    job = partial(_training_pair, target=target, scale=scale, seed=seed, force=force)
    return run_jobs(job, images, title="depth training", root=source, workers=workers)


def _name(path: Path, scale: int) -> str:
    return f"{path.stem.removesuffix(f'_x{scale}')}_x{scale}.png"


def _folders(target: Path, layout: tuple[str, str], scale: int) -> tuple[Path, Path]:
    """Of HR and of LR."""
    hr, lr = (target / folder.format(scale) for folder in layout)
    return hr, lr


def _claim(
    target: Path, command: str, options: dict, *, source: str | Path, layout: tuple[str, str], scale: int
) -> None:
    claim(
        target,
        f"{command} x{scale}",
        options,
        source=source,
        outputs=_folders(target, layout, scale),
    )


def _outputs(target: Path, layout: tuple[str, str], path: Path, scale: int) -> tuple[Path, Path]:
    hr, lr = (folder / _name(path, scale) for folder in _folders(target, layout, scale))
    return hr, lr


def _training_pair(path: Path, *, target: Path, scale: int, seed: int, force: bool) -> Outcome:
    hr, lr = _outputs(target, (_HR, _LR), path, scale)
    if not force and hr.exists() and lr.exists():
        return Outcome(present=2)
    depth = mod_crop(_read_depth(path), scale)
    if not depth.size:
        return Outcome(skipped=f"is smaller than {scale} pixels")
    small = lr_of_training(depth, scale=scale, rng=seeded(seed, "training", path.stem))
    return write_missing([(hr, depth), (lr, small)], force=force)


def make_depth_test(
    source: str | Path,
    target: str | Path,
    *,
    scale: int = 4,
    published: bool = True,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Write `test_HR/<name>_x<s>.png` and `test_LR_x<s>/<name>_x<s>.png`.

    From `.mat` files with `im_gt_y` and `im_b_y` this gives the published images; from raw depth maps the
    noise is drawn here, so that scores are close to published ones, not equal.

    Args:
        source: folder of .mat files, or of depth maps.
        target: folder of both.
        scale: HR size / LR size.
        published: shrink as the released script really does (bilinear), not as it intends (cubic).
        seed: of the noise, together with the name; .mat files hold theirs.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: the target was made with other options or of another source, or is the source.
        DataError: neither .mat files nor images.
    """
    source, target = Path(source), Path(target)
    files = sorted(source.glob("[!.]*.mat")) or gather_unique(source, partial(_name, scale=scale))
    options = {"published": published, "seed": seed}
    _claim(target, "dsr-test", options, source=source, layout=(_TEST_HR, _TEST_LR), scale=scale)
    job = partial(_test_pair, target=target, scale=scale, published=published, seed=seed, force=force)
    return run_jobs(job, files, title="depth test", root=source, workers=workers)


def _test_pair(path: Path, *, target: Path, scale: int, published: bool, seed: int, force: bool) -> Outcome:
    outputs = _outputs(target, (_TEST_HR, _TEST_LR), path, scale)
    if not force and all(file.exists() for file in outputs):
        return Outcome(present=2)
    if path.suffix == ".mat":
        gt, upsampled = _read_mat(path, scale)
        images = to_png(gt), benchmark_lr_from_upsampled(upsampled, scale=scale, published=published)
    else:
        depth = mod_crop(_read_depth(path), scale)
        if not depth.size:
            return Outcome(skipped=f"is smaller than {scale} pixels")
        rng = seeded(seed, "", path.stem)
        images = depth, benchmark_lr(depth, scale=scale, rng=rng, published=published)
    return write_missing(zip(outputs, images, strict=True), force=force)


def _read_mat(path: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """`im_gt_y` and `im_b_y`, h x w in [0, 1].

    Raises:
        DataError: unreadable, or the variables are missing, do not fit together or are not in [0, 1].
    """
    variables = read_mat(path, ("im_gt_y", "im_b_y"))
    gt, upsampled = (variables[name] for name in ("im_gt_y", "im_b_y"))
    if gt.dtype.kind != "f" or upsampled.dtype.kind != "f" or gt.shape != upsampled.shape:
        raise DataError(
            f"{path}: im_gt_y is {gt.dtype} {gt.shape}, im_b_y {upsampled.dtype} {upsampled.shape}; both "
            "must be h x w numbers with a fraction"
        )
    if min(gt.shape) < scale:
        raise DataError(f"{path}: {gt.shape} is smaller than {scale} pixels")
    largest = max(float(np.abs(values).max()) for values in (gt, upsampled))
    if not largest <= _LARGEST:
        raise DataError(f"{path}: depth must lie in [0, 1], the largest is {largest:g}")
    return gt, upsampled


def make_depth_crops(
    folder: str | Path,
    *,
    scale: int = 4,
    size: int = 128,
    step: int = 64,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Cut the pairs of `make_depth_training` into windows: `data_all_HR_x<s>_sub`, `data_all_LR_x<s>_sub`.

    Args:
        folder: target of `make_depth_training`.
        scale: HR size / LR size.
        size: side of HR windows, a multiple of `scale`.
        step: distance of HR windows, a multiple of `scale`.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: size or step does not fit the scale.
        DataError: the pairs are not there.
    """
    if size % scale or step % scale:
        raise ConfigError(f"size {size} and step {step} must be multiples of the scale {scale}")
    summary = Summary()
    for source, factor in zip(_folders(Path(folder), (_HR, _LR), scale), (1, scale), strict=True):
        target = source.with_name(f"{source.name}_sub")
        part = make_subimages(
            source, target, size=size // factor, step=step // factor, workers=workers, force=force
        )
        summary.merge(part, source.name)
    return summary
