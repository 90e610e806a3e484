"""Operations on the images of a batch: those of one kind together, on the device where the batch is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from ppsr.degradations.device import TensorDraws, filter2d, gaussian_noise, interpolate, jpeg, poisson_noise
from ppsr.degradations.operations import Blur, Jpeg, Noise, Operation, Resize, Skipped
from ppsr.errors import DataError
from ppsr.memory import device_array

__all__ = ["apply_to_batch"]


def _blurred(x: Tensor, operations: Sequence[Blur], draws: TensorDraws) -> Tensor:
    return filter2d(x, np.stack([operation.kernel for operation in operations]))


def _resized(x: Tensor, operations: Sequence[Resize], draws: TensorDraws) -> Tensor:
    if len(set(operations)) > 1:
        raise DataError("the images of a batch are resized alike; draw their factors from a common generator")
    first = operations[0]
    return interpolate(x, mode=first.mode, scale=first.scale, size=first.size)


def _noisy(x: Tensor, operations: Sequence[Noise], draws: TensorDraws) -> Tensor:
    """Noise of one kind, clipped to [0, 1]."""
    level = np.array([operation.level for operation in operations])
    gray = np.array([operation.gray for operation in operations])
    if operations[0].kind == "gaussian":
        noise = gaussian_noise(x, sigma=level, gray=gray, draws=draws)
    else:
        noise = poisson_noise(x, scale=level, gray=gray, draws=draws)
    return paddle.clip(x + noise, 0, 1)


def _jpegged(x: Tensor, operations: Sequence[Jpeg], draws: TensorDraws) -> Tensor:
    quality = np.array([operation.quality for operation in operations])
    return jpeg(paddle.clip(x, 0, 1), quality, operations[0].subsampling)


_BATCHED: dict[type, Callable[[Tensor, Any, TensorDraws], Tensor]] = {
    Blur: _blurred,
    Jpeg: _jpegged,
    Noise: _noisy,
    Resize: _resized,
    Skipped: lambda x, operations, draws: x,
}
_GROUP: dict[type, Callable[[Any], str]] = {
    Jpeg: lambda operation: operation.subsampling,
    Noise: lambda operation: operation.kind,
}


def _applied(x: Tensor, operations: Sequence[Operation], draws: TensorDraws) -> Tensor:
    """One operation for each image, those of a kind together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, operation in enumerate(operations):
        kind = type(operation)
        group = _GROUP[kind](operation) if kind in _GROUP else ""
        groups.setdefault((kind.__name__, group), []).append(index)
    parts, order = [], []
    for _, where in sorted(groups.items()):
        part = x if len(groups) == 1 else paddle.index_select(x, device_array(np.array(where)))
        own = [operations[index] for index in where]
        parts.append(_BATCHED[type(own[0])](part, own, draws))
        order += where
    if len(parts) == 1:
        return parts[0]
    return paddle.index_select(paddle.concat(parts), device_array(np.argsort(order)))


def apply_to_batch(
    x: Tensor, operations: Sequence[Sequence[Operation]], draws: TensorDraws | None = None
) -> Tensor:
    """Apply each image's operations, those of the same place in their lists together.

    Args:
        x: (N, C, H, W) in [0, 1].
        operations: N lists of the same kinds in the same order; resizes are equal in all.
        draws: random tensors of the noise; default: Paddle's generator.

    Raises:
        DataError: the lists do not go together.
    """
    draws = TensorDraws() if draws is None else draws
    if len(operations) != x.shape[0] or len({len(own) for own in operations}) > 1:
        raise DataError(f"{x.shape[0]} images need as many lists of operations, all of one length")
    for together in zip(*operations, strict=True):
        kinds = {type(operation) for operation in together} - {Skipped}
        if len(kinds) > 1 or not kinds <= set(_BATCHED):
            names = sorted(kind.__name__ for kind in kinds)
            raise DataError(f"the operations of a batch are of one kind at a time, got {names}")
        x = _applied(x, together, draws)
    return x
