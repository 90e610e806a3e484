"""Operations on the images of a batch: those of one kind together, on the device where the batch is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor

from ppsr.degradations.base import Operation
from ppsr.degradations.device import TensorDraws
from ppsr.degradations.operations import Skipped
from ppsr.errors import DataError
from ppsr.memory import device_array

__all__ = ["apply_to_batch"]


def _applied(x: Tensor, operations: Sequence[Operation], draws: TensorDraws) -> Tensor:
    """One operation for each image, those of a kind together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, operation in enumerate(operations):
        groups.setdefault((type(operation).__name__, operation.batch_group()), []).append(index)
    parts, order = [], []
    for _, where in sorted(groups.items()):
        part = x if len(groups) == 1 else paddle.index_select(x, device_array(np.array(where)))
        own = [operations[index] for index in where]
        parts.append(own[0].apply_batch(part, own, draws))
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
    """
    draws = TensorDraws() if draws is None else draws
    if len(operations) != x.shape[0] or len({len(own) for own in operations}) > 1:
        raise DataError(f"{x.shape[0]} images need as many lists of operations, all of one length")
    for together in zip(*operations, strict=True):
        kinds = {type(operation) for operation in together} - {Skipped}
        names = sorted(kind.__name__ for kind in kinds)
        if len(kinds) > 1:
            raise DataError(f"the operations of a batch are of one kind at a time, got {names}")
        if not all(kind.has_batch_form() for kind in kinds):
            raise DataError(f"{names[0]} acts on the host alone; set degradation.backend=host")
        x = _applied(x, together, draws)
    return x
