"""The benchmark of Reflash Dropout: eight degradations of a set, with seeded noise.

Kong et al., "Reflash Dropout in Image Super-Resolution", CVPR 2022, arXiv:2112.12089.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ppsr.degradations.reflash_benchmark import VARIANTS, degrade
from ppsr.imaging.arrays import mod_crop, seeded
from ppsr.imaging.io import decode_image
from ppsr.prepare.jobs import Outcome, Summary, gather_unique, run_jobs, write_missing
from ppsr.prepare.records import claim

__all__ = ["make_reflash_benchmark"]


def make_reflash_benchmark(
    source: str | Path,
    target: str | Path,
    *,
    scale: int = 4,
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Write `<target>/HR/x<scale>/<name>.png` and `<target>/LR_degra/<variant>/<name>.png`.

    The noise follows from (seed, variant, name) alone, so every machine makes the same images, and `ppsr
    evaluate --protocol reflash` makes them too where they are not there. HR is not written into its own
    source, `<target>/HR`, where every data set would read it twice; the protocol then reads HR there.

    Args:
        source: HR images; sub-folders are not searched.
        target: folder of the set.
        scale: HR size / LR size.
        seed: of the noise.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: the target was made with another scale, seed or source, or is the source.
        DataError: no images.
    """
    target = Path(target)
    images = gather_unique(source)
    hr = target / "HR" / f"x{scale}"
    outputs = [target / "LR_degra"]
    hr_folder = None if hr.resolve().is_relative_to(Path(source).resolve()) else hr
    if hr_folder:
        outputs.append(hr_folder)
    options = {"scale": scale, "seed": seed}
    claim(target, "reflash-benchmark", options, source=source, outputs=outputs)
    job = partial(_degrade, target=target, hr_folder=hr_folder, scale=scale, seed=seed, force=force)
    return run_jobs(job, images, title="reflash benchmark", root=source, workers=workers)


def _degrade(
    path: Path, *, target: Path, hr_folder: Path | None, scale: int, seed: int, force: bool
) -> Outcome:
    files = {variant: target / "LR_degra" / variant / f"{path.stem}.png" for variant in VARIANTS}
    hr = [] if hr_folder is None else [hr_folder / f"{path.stem}.png"]
    if not force and all(file.exists() for file in [*hr, *files.values()]):
        return Outcome(present=len(files) + len(hr))
    image = decode_image(path)
    if image.dtype != np.uint8:
        return Outcome(failed=f"8-bit images are needed, this has {image.dtype} samples")
    if min(image.shape[:2]) < scale:
        return Outcome(skipped=f"{image.shape[1]} x {image.shape[0]} is too small")
    image = mod_crop(image, scale)
    degraded = (
        (file, degrade(image, variant, scale=scale, rng=seeded(seed, variant, path.stem)))
        for variant, file in files.items()
    )
    return write_missing([*((file, image) for file in hr), *degraded], force=force)
