"""Degradation as a list of random steps; the published list is Real-ESRGAN's of second order.

Wang et al., "Real-ESRGAN", ICCVW 2021, arXiv:2107.10833; used with the same ranges by Reflash Dropout (CVPR
2022, arXiv:2112.12089), Navigating Beyond Dropout (CVPR 2024, arXiv:2402.18929) and Real-DRCT. Differences
from the released code: the order is data, so that another needs no code; whether the second blur acts and
the kind of noise are drawn per image. Only what decides sizes and order can be shared by a batch
(`shared_rng`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ppsr.degradations.base import ImageSizes, Operation, SizeBounds, Step
from ppsr.degradations.kernels import KERNEL_SHAPES
from ppsr.degradations.steps import RandomOrder, Sometimes, bounds_after
from ppsr.errors import ConfigError
from ppsr.registry import DEGRADATION_STEPS, check_arguments

__all__ = ["SECOND_ORDER", "build_steps", "draw_operations", "host_operations", "smallest_filtered"]

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


def build_steps(entries: Sequence[Mapping[str, Any]], where: str = "operations") -> tuple[Step, ...]:
    """Make the steps that a configuration lists, each a mapping of `name`, the step's options and `prob`, the
    probability that it acts (1).
    """
    if not isinstance(entries, (list, tuple)):
        raise ConfigError(f"{where}: a list of degradation steps is needed, got {entries!r}")
    return tuple(_build_step(entry, f"{where}.{index}") for index, entry in enumerate(entries))


def _build_step(entry: Mapping[str, Any], where: str) -> Step:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ConfigError(f"{where}: a degradation step must be a mapping with the key 'name', got {entry!r}")
    name = str(entry["name"])
    options = {key: value for key, value in entry.items() if key not in ("name", "prob")}
    try:
        component = DEGRADATION_STEPS.get(name)
        fault = check_arguments(component, options, name, others=["prob"])
        if fault is not None:
            raise ConfigError(fault[1])
        if component is RandomOrder:
            options["groups"] = _build_groups(options["groups"])
        step = component(**options)
        sometimes = Sometimes(step, entry.get("prob", 1))  # which checks it
        return step if sometimes.prob == 1 else sometimes
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from None


def _build_groups(groups: Any) -> tuple[tuple[Step, ...], ...]:
    if not isinstance(groups, (list, tuple)):
        raise ConfigError(f"groups must be a list of lists of steps, got {groups!r}")
    return tuple(build_steps(group, f"groups.{index}") for index, group in enumerate(groups))


def host_operations(steps: Sequence[Step], sizes: ImageSizes) -> list[str]:
    """Names of the operations of the steps that have no form for batches on a device."""
    rng = np.random.default_rng(0)
    drawn = [operation for step in _leaves(steps) for operation in step.draw(rng, rng, sizes)]
    return sorted({type(operation).__name__ for operation in drawn if not operation.has_batch_form()})


def _leaves(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        inner = step.inner_steps()
        yield from _leaves(inner) if inner else [step]


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
        size: height and width of the HR image, multiples of `scale`.
        shared_rng: generator of sizes and order; generators in equal states give images of one batch equal
            sizes. Default: `rng`.
    """
    sizes = ImageSizes(size, scale)
    shared_rng = rng if shared_rng is None else shared_rng
    return [operation for step in steps for operation in step.draw(rng, shared_rng, sizes)]


def smallest_filtered(steps: Sequence[Step], side: float, lq_side: float) -> float:
    """The smallest side of an image that a filter can meet.

    Raises:
        ConfigError: the steps may not end at the size of the LR image.
    """
    bounds = bounds_after(steps, SizeBounds(side, lq_side, at_lq=side == lq_side))
    if not bounds.at_lq:
        raise ConfigError(
            "the degradation must end at the size of the LR image; "
            "add {name: resize, relative_to: lq} as its last resize"
        )
    return bounds.filtered
