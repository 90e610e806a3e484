"""Degradations of option files -> ours: Real-ESRGAN's second order, and DASR's three levels.

The option files spread them over two sections (blur kernels with the data set, all else at the top), with
suffixes for the stage or level. Real-ESRGAN: Wang et al., ICCVW 2021, arXiv:2107.10833; DASR: Liang et al.,
ECCV 2022, arXiv:2203.14216.
"""

from __future__ import annotations

from typing import Any

from ppsr.compat.options.source import Source
from ppsr.degradations.dasr import LEVELS, Stage
from ppsr.errors import ConfigError

_DATA = "datasets.train"
_STEPS = {
    "blur": ("blur_sigma", "sinc_prob", "kernel_list", "kernel_prob", "betag_range", "betap_range"),
    "resize": ("resize_prob", "resize_range"),
    "noise": ("noise_range", "poisson_scale_range", "gaussian_noise_prob", "gray_noise_prob"),
    "jpeg": ("jpeg_range",),
}


def _option(options: Source, key: str, suffix: str, *default: Any) -> Any:
    section = f"{_DATA}." if key in _STEPS["blur"] else ""
    kind = "number" if key in ("sinc_prob", "gaussian_noise_prob", "gray_noise_prob") else "list"
    return options.read(f"{section}{key}{suffix}", *default, kind=kind)


def _stage(options: Source, suffix: str) -> list[dict[str, Any]]:
    """Blur, resize, noise and JPEG of one stage."""
    return [
        {"name": name, **{key: _option(options, key, suffix) for key in keys}}
        for name, keys in _STEPS.items()
    ]


def convert_second_order(options: Source) -> None:
    """Write `dataset.train.degradation.operations`, the published order with the file's ranges."""
    blur, resize, noise, jpeg = _stage(options, "2")
    blur["blur_prob"] = options.read("second_blur_prob")
    resize["relative_to"] = "lq"
    sinc = {"name": "sinc", "final_sinc_prob": options.read(f"{_DATA}.final_sinc_prob")}
    shrink = [{"name": "resize", "relative_to": "lq"}, sinc]
    last = {"name": "random_order", "groups": [shrink, [jpeg]]}
    steps = [*_stage(options, ""), blur, resize, noise, last]
    options.put("dataset.train.degradation.operations", steps, _DATA)


# Level, index of its stage, suffix of the keys.
_STAGES = (("weak", 0, "_weak1"), ("standard", 0, "_standard1"), ("severe", 0, ""), ("severe", 1, "2"))


def convert_levels(options: Source) -> None:
    """Write `dataset.train.level_prob`, and of `degradation` what differs from the published ranges."""
    changes: dict[str, dict[str, Any]] = {}
    for level, index, suffix in _STAGES:
        stages = LEVELS[level].stages
        if changed := _changed_stage(options, stages[index], suffix):
            changes.setdefault(level, {"stages": [{} for _ in stages]})["stages"][index] = changed
    published = LEVELS["severe"].final_sinc_prob
    sinc = options.read(f"{_DATA}.final_sinc_prob", published)
    if sinc != published:
        changes.setdefault("severe", {})["final_sinc_prob"] = sinc
    if changes:
        options.put("dataset.train.degradation", changes, _DATA)
    names = [str(name) for name in options.read("degree_list", kind="list")]
    chances = options.read("degree_prob", kind="list")
    if len(chances) != len(names) or not all(isinstance(chance, (int, float)) for chance in chances):
        raise ConfigError(
            f"{options.where('degree_prob')}: 'degree_prob' is {chances!r}: a number for each of the "
            f"{len(names)} entries of degree_list is needed"
        )
    if unknown := [name for name in names if not name.startswith(tuple(LEVELS))]:
        raise ConfigError(f"{options.where('degree_list')}: the levels {unknown} have no counterpart")
    shares = list(zip(names, chances, strict=True))
    ours = [sum(share for name, share in shares if name.startswith(level)) for level in LEVELS]
    options.put("dataset.train.level_prob", ours, "degree_prob")
    options.move({"gt_usm": "dataset.train.gt_usm"})


def _changed_stage(options: Source, stage: Stage, suffix: str) -> dict[str, Any]:
    changed = {}
    for option, published in stage.options.items():
        if option == "kernel_range":
            smallest = "blur_kernel_size2_minimum" if suffix == "2" else f"blur_kernel_size_minimum{suffix}"
            keys = (smallest, f"blur_kernel_size{suffix}")
            value = [options.read(f"{_DATA}.{k}", usual) for k, usual in zip(keys, published, strict=True)]
        elif option == "blur_prob":
            value = options.read("second_blur_prob", published) if suffix == "2" else published
        else:
            value = _option(options, option, suffix, published)
        if value != published and value != list(published if isinstance(published, tuple) else ()):
            changed[option] = value
    return changed
