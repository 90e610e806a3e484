"""HR images in several sizes, as FSRCNN's and ESRGAN's training sets hold them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ppsr.errors import ConfigError
from ppsr.imaging.io import decode_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.prepare.jobs import Outcome, Summary, gather_unique, run_jobs, write_missing
from ppsr.prepare.records import claim

__all__ = ["make_multiscale"]


def make_multiscale(
    source: str | Path,
    target: str | Path,
    *,
    factors: Sequence[float],
    smallest: int = 1,
    workers: int | None = None,
    force: bool = False,
) -> Summary:
    """Write `<target>/<name>_<percent>.png` for every factor, by MATLAB's bicubic.

    Args:
        source: HR images; sub-folders are not searched.
        target: folder of the set.
        factors: sizes relative to the image, above 0 to 1, in whole percent.
        smallest: leave out results with a shorter side.
        workers: processes.
        force: write again what is already there.

    Raises:
        ConfigError: other factors, or the target is the source, or was made with others.
        DataError: no images.
    """
    target = Path(target)
    percents = [round(100 * factor) for factor in factors]
    whole = all(abs(100 * f - p) < 1e-6 for f, p in zip(factors, percents, strict=True))
    if not percents or not whole or min(percents) < 1 or max(percents) > 100:
        raise ConfigError(f"factors are whole percents above 0 to 1, such as 1,0.9,0.8; got {list(factors)}")
    images = gather_unique(source)
    claim(target, "multiscale", {"factors": percents, "smallest": smallest}, source=source, outputs=[target])
    job = partial(_shrink, target=target, percents=tuple(percents), smallest=smallest, force=force)
    return run_jobs(job, images, title="multiscale", root=source, workers=workers)


def _shrink(path: Path, *, target: Path, percents: Sequence[int], smallest: int, force: bool) -> Outcome:
    outputs = {percent: target / f"{path.stem}_{percent}.png" for percent in percents}
    if not force and all(file.exists() for file in outputs.values()):
        return Outcome(present=len(outputs))
    image = decode_image(path)
    fitting = {p: file for p, file in outputs.items() if min(image.shape[:2]) * p >= 100 * smallest}
    if not fitting:
        return Outcome(skipped=f"{image.shape[1]} x {image.shape[0]} is too small")
    return write_missing(
        [(file, matlab_resize_integers(image, percent / 100)) for percent, file in fitting.items()],
        force=force,
    )
