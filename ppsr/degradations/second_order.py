"""Degradation as a list of random steps; the published list is Real-ESRGAN's of second order.

Wang et al., "Real-ESRGAN", ICCVW 2021, arXiv:2107.10833; used with the same ranges by Reflash Dropout (CVPR
2022, arXiv:2112.12089), Navigating Beyond Dropout (CVPR 2024, arXiv:2402.18929) and Real-DRCT. Differences
from the released code: the order is data, so that another needs no code; whether the second blur acts and
the kind of noise are drawn per image. Only what decides sizes and order can be shared by a batch
(`shared_rng`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from itertools import permutations
from typing import Any

import numpy as np

from ppsr.degradations.codecs import VideoStep, WebPStep
from ppsr.degradations.kernels import KERNEL_SHAPES
from ppsr.degradations.operations import Operation
from ppsr.degradations.steps import (
    BlurStep,
    ImageSizes,
    JpegStep,
    NoiseStep,
    RandomOrder,
    ResizeStep,
    SincStep,
    Sometimes,
    Step,
    UnsharpStep,
)
from ppsr.errors import ConfigError, did_you_mean

__all__ = ["SECOND_ORDER", "build_steps", "draw_operations", "needs_host", "smallest_filtered"]

_KERNELS = {
    "kernel_list": KERNEL_SHAPES,
    "kernel_prob": (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
    "sinc_prob": 0.1,
}

# What all four recipes share; each entry names a step and its options.
SECOND_ORDER: tuple[dict[str, Any], ...] = (
    {"name": "blur", "blur_sigma": (0.2, 3), **_KERNELS},
    {"name": "resize", "resize_prob": (0.2, 0.7, 0.1), "resize_range": (0.15, 1.5)},
    {"name": "noise", "noise_range": (1, 30), "poisson_scale_range": (0.05, 3)},
    {"name": "jpeg", "jpeg_range": (30, 95)},
    {"name": "blur", "blur_sigma": (0.2, 1.5), "blur_prob": 0.8, **_KERNELS},
    {"name": "resize", "relative_to": "lq", "resize_prob": (0.3, 0.4, 0.3), "resize_range": (0.3, 1.2)},
    {"name": "noise", "noise_range": (1, 25), "poisson_scale_range": (0.05, 2.5)},
    {
        "name": "random_order",
        "groups": (
            ({"name": "resize", "relative_to": "lq"}, {"name": "sinc", "final_sinc_prob": 0.8}),
            ({"name": "jpeg", "jpeg_range": (30, 95)},),
        ),
    },
)


_STEPS: dict[str, type] = {
    "blur": BlurStep,
    "jpeg": JpegStep,
    "noise": NoiseStep,
    "random_order": RandomOrder,
    "resize": ResizeStep,
    "sinc": SincStep,
    "unsharp": UnsharpStep,
    "video": VideoStep,
    "webp": WebPStep,
}
_ON_HOST = (VideoStep, WebPStep)


def build_steps(entries: Sequence[Mapping[str, Any]], where: str = "operations") -> tuple[Step, ...]:
    """Make the steps that a configuration lists, each a mapping of `name`, the step's options and `prob`, the
    probability that it acts (1).

    Args:
        entries: the list.
        where: its key, for messages.

    Raises:
        ConfigError: unknown step or option, a missing one, or a value out of its limits, with its place.
    """
    if not isinstance(entries, (list, tuple)):
        raise ConfigError(f"{where}: a list of degradation steps is needed, got {entries!r}")
    return tuple(_build_step(entry, f"{where}.{index}") for index, entry in enumerate(entries))


def _build_step(entry: Mapping[str, Any], where: str) -> Step:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ConfigError(f"{where}: a degradation step is a mapping with the key 'name', got {entry!r}")
    options = {key: value for key, value in entry.items() if key not in ("name", "prob")}
    name = str(entry["name"])
    if name not in _STEPS:
        raise ConfigError(f"{where}: degradation step '{name}' is unknown; {did_you_mean(name, _STEPS)}")
    known = {field.name: field for field in fields(_STEPS[name])}
    for key in options:
        if key not in known:
            valid = (*known, "prob")
            raise ConfigError(f"{where}: {name} has no option '{key}'; {did_you_mean(key, valid)}")
    for key, field in known.items():
        if key not in options and field.default is MISSING:
            raise ConfigError(f"{where}: {name} needs the option '{key}'")
    if name == "random_order":
        groups = options["groups"]
        if not isinstance(groups, (list, tuple)):
            raise ConfigError(f"{where}: groups is a list of lists of steps, got {groups!r}")
        options["groups"] = tuple(build_steps(g, f"{where}.groups.{i}") for i, g in enumerate(groups))
    try:
        step = _STEPS[name](**options)
        return Sometimes(step, entry["prob"]) if entry.get("prob", 1) != 1 else step
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def needs_host(steps: Sequence[Step]) -> bool:
    """Whether a step has no form for batches on a device."""
    inner = [step.step if isinstance(step, Sometimes) else step for step in steps]
    groups = [group for step in inner if isinstance(step, RandomOrder) for group in step.groups]
    return any(isinstance(step, _ON_HOST) for step in inner) or any(map(needs_host, groups))


def draw_operations(
    steps: Sequence[Step],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    scale: int,
    shared_rng: np.random.Generator | None = None,
) -> list[Operation]:
    """The operations that lead from one HR image to its LR version.

    Args:
        steps: made by `build_steps`.
        rng: generator of the image.
        size: height and width of the HR image, multiples of `scale`.
        scale: HR size / LR size.
        shared_rng: generator of sizes and order; generators in equal states give images of one batch equal
            sizes. Default: `rng`.
    """
    sizes = ImageSizes(size, scale)
    shared_rng = rng if shared_rng is None else shared_rng
    return [operation for step in steps for operation in step.draw(rng, shared_rng, sizes)]


def smallest_filtered(steps: Sequence[Step], side: float, lq_side: float) -> float:
    """The smallest side of an image that a filter can meet.

    Args:
        steps: made by `build_steps`.
        side: side of the HR image.
        lq_side: side of the LR image.

    Raises:
        ConfigError: the steps may not end at the size of the LR image.
    """
    _, filtered, at_lq = _walk(steps, side, lq_side, side == lq_side)
    if not at_lq:
        raise ConfigError(
            "the degradation must end at the size of the LR image; "
            "add {name: resize, relative_to: lq} as its last resize"
        )
    return filtered


def _walk(steps: Sequence[Step], side: float, lq_side: float, at_lq: bool) -> tuple[float, float, bool]:
    """After the steps: the smallest side, the smallest that a filter met, whether the size is the LR one."""
    filtered = np.inf
    for step in steps:
        if isinstance(step, Sometimes):
            acted = _walk([step.step], side, lq_side, at_lq)
            side, filtered, at_lq = min(side, acted[0]), min(filtered, acted[1]), at_lq and acted[2]
        elif isinstance(step, RandomOrder):
            orders = [[s for group in order for s in group] for order in permutations(step.groups)]
            walks = [_walk(order, side, lq_side, at_lq) for order in orders]
            side = min(walk[0] for walk in walks)
            filtered = min(filtered, *(walk[1] for walk in walks))
            at_lq = all(walk[2] for walk in walks)
        elif isinstance(step, ResizeStep):
            side = np.floor((lq_side if step.relative_to == "lq" else side) * step.smallest)
            at_lq = step.ends_at_lq
        elif isinstance(step, (BlurStep, SincStep, UnsharpStep)):
            filtered = min(filtered, side)
    return side, filtered, at_lq
