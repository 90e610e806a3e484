"""Degradations of option files -> ours: Real-ESRGAN's second order, and DASR's three levels.

The option files spread them over two sections (blur kernels with the data set, all else at the top), with
endings for the round or level. Real-ESRGAN: Wang et al., ICCVW 2021, arXiv:2107.10833; DASR: Liang et al.,
ECCV 2022, arXiv:2203.14216.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ppsr.compat.options.draft import Draft, flag, items, number, whole
from ppsr.degradations.dasr import LEVELS, Stage
from ppsr.degradations.steps import BlurStep
from ppsr.errors import ConfigError

__all__ = ["convert_levels", "convert_second_order"]

_DATA = "datasets.train"
_KERNEL_SIZES = "the published data set draws sides 7 to 21 whatever this says; so do we"
_BLUR = ("blur_sigma", "sinc_prob", "kernel_list", "kernel_prob", "betag_range", "betap_range")
_RESIZE = ("resize_prob", "resize_range")
_NOISE = ("noise_range", "poisson_scale_range", "gaussian_noise_prob", "gray_noise_prob")
_SINGLE = ("sinc_prob", "gaussian_noise_prob", "gray_noise_prob")  # all others are lists


def _option(draft: Draft, section: str, key: str, ending: str) -> Any:
    source = f"{section}.{key}{ending}" if section else f"{key}{ending}"
    return draft.read(source, number if key in _SINGLE else items)


def _blur(draft: Draft, ending: str) -> dict[str, Any]:
    step = {key: _option(draft, _DATA, key, ending) for key in _BLUR}
    for key in ("betag_range", "betap_range"):  # all recipes agree on these
        if step[key] == list(getattr(BlurStep, key)):
            del step[key]
    return {"name": "blur", **step}


def _round(draft: Draft, ending: str) -> list[dict[str, Any]]:
    """Blur, resize, noise and JPEG of one round."""
    return [
        _blur(draft, ending),
        {"name": "resize", **{key: _option(draft, "", key, ending) for key in _RESIZE}},
        {"name": "noise", **{key: _option(draft, "", key, ending) for key in _NOISE}},
        {"name": "jpeg", "jpeg_range": _option(draft, "", "jpeg_range", ending)},
    ]


def convert_second_order(draft: Draft) -> None:
    """Write `dataset.train.degradation.operations`, the published order with the file's ranges."""
    first = _round(draft, "")
    blur, resize, noise, jpeg = _round(draft, "2")
    blur["blur_prob"] = draft.read("second_blur_prob", number)
    resize["relative_to"] = "lq"
    sinc = {"name": "sinc", "final_sinc_prob": draft.read(f"{_DATA}.final_sinc_prob", number)}
    shrink = [{"name": "resize", "relative_to": "lq"}, sinc]
    steps = [*first, blur, resize, noise, {"name": "random_order", "groups": [shrink, [jpeg]]}]
    draft.put("dataset.train.degradation.operations", steps, _DATA)
    for ending in ("", "2"):
        draft.explain(f"{_DATA}.blur_kernel_size{ending}", _KERNEL_SIZES)


# Level, number of its round, ending of the keys.
_ROUNDS = (("weak", 0, "_weak1"), ("standard", 0, "_standard1"), ("severe", 0, ""), ("severe", 1, "2"))
_OF_DATA = ("blur_sigma", "kernel_list", "kernel_prob", "betag_range", "betap_range", "sinc_prob")


def convert_levels(draft: Draft) -> None:
    """Write `dataset.train.level_prob`, and of `degradation` what differs from the published ranges."""
    changes: dict[str, dict[str, Any]] = {}
    for level, index, ending in _ROUNDS:
        stages = LEVELS[level].stages
        changed = _changed_stage(draft, stages[index], ending)
        if changed:
            entries = changes.setdefault(level, {}).setdefault("stages", [{} for _ in stages])
            entries[index] = changed
    sinc = draft.read(f"{_DATA}.final_sinc_prob", number, LEVELS["severe"].final_sinc_prob)
    if sinc != LEVELS["severe"].final_sinc_prob:
        changes.setdefault("severe", {})["final_sinc_prob"] = sinc
    if changes:
        draft.put("dataset.train.degradation", changes, _DATA)
    names = draft.read("degree_list", items)
    chances = draft.read("degree_prob", lambda value: [number(entry) for entry in items(value)])
    if len(chances) != len(names):
        raise ConfigError(
            f"{draft.where('degree_prob')}: degree_prob has {len(chances)} values, degree_list {len(names)}"
        )
    unknown = [name for name in names if not str(name).startswith(tuple(LEVELS))]
    if unknown:
        raise ConfigError(f"{draft.where('degree_list')}: the levels {unknown} have no counterpart")
    shares = dict(zip(names, chances, strict=True))
    ours = [sum(v for k, v in shares.items() if str(k).startswith(level)) for level in LEVELS]
    draft.put("dataset.train.level_prob", ours, "degree_prob")
    if draft.has("gt_usm"):
        draft.put("dataset.train.gt_usm", draft.read("gt_usm", flag), "gt_usm")


def _changed_stage(draft: Draft, stage: Stage, ending: str) -> dict[str, Any]:
    changed = {}
    for option in (entry.name for entry in fields(Stage)):
        published = getattr(stage, option)
        if option == "kernel_range":
            value = _kernel_range(draft, ending, published)
        elif option == "blur_prob":
            value = draft.read("second_blur_prob", number, published) if ending == "2" else published
        else:
            key = f"{_DATA}.{option}{ending}" if option in _OF_DATA else f"{option}{ending}"
            value = draft.read(key, number if option in _SINGLE else items, published)
        if value != (list(published) if isinstance(value, list) else published):
            changed[option] = value
    return changed


def _kernel_range(draft: Draft, ending: str, published: Any) -> list[int]:
    smallest = "blur_kernel_size2_minimum" if ending == "2" else f"blur_kernel_size_minimum{ending}"
    return [
        draft.read(f"{_DATA}.{smallest}", whole, published[0]),
        draft.read(f"{_DATA}.blur_kernel_size{ending}", whole, published[1]),
    ]
