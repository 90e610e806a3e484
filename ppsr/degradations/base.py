"""What degradations are made of: random steps, which draw operations, which act on images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from paddle import Tensor

    from ppsr.degradations.device import TensorDraws

__all__ = ["ImageSizes", "Operation", "Rng", "SizeBounds", "Step"]

Rng = np.random.Generator


class Operation:
    """One change of an image, which holds its choices.

    Numbers that fill a whole image (noise) are drawn when it is applied. A class without `apply_batch` acts
    on the host alone.
    """

    def apply(self, image: np.ndarray, rng: Rng) -> np.ndarray:
        """The changed image, H x W x C float32, perhaps of another size; the input is untouched."""
        raise NotImplementedError

    @staticmethod
    def apply_batch(x: Tensor, operations: Sequence[Any], draws: TensorDraws) -> Tensor:
        """The same for a batch on its device.

        Args:
            operations: N of this class and of one `batch_group`.
        """
        raise NotImplementedError

    def batch_group(self) -> str:
        """Images of a batch whose operations differ in this are processed separately."""
        return ""

    @classmethod
    def has_batch_form(cls) -> bool:
        """Whether the class has `apply_batch`."""
        return cls.apply_batch is not Operation.apply_batch


@dataclass(frozen=True)
class ImageSizes:
    """Sizes that steps refer to: of the HR image, and how much smaller the LR image is."""

    size: tuple[int, int]
    scale: int


class SizeBounds(NamedTuple):
    """Sides of images that steps may lead to, in pixels.

    Attributes:
        side: the smallest.
        lq_side: of the LR image.
        at_lq: whether the side is always that of the LR image.
        filtered: the smallest that a filter has met.
    """

    side: float
    lq_side: float
    at_lq: bool
    filtered: float = np.inf

    def after_filter(self) -> SizeBounds:
        return self._replace(filtered=min(self.filtered, self.side))

    def merged(self, other: SizeBounds) -> SizeBounds:
        """Bounds where either may hold."""
        return SizeBounds(
            min(self.side, other.side),
            self.lq_side,
            self.at_lq and other.at_lq,
            min(self.filtered, other.filtered),
        )


class Step:
    """A random step; its constructor's arguments are its options in a config.

    Attributes:
        is_shared: it decides sizes or order, so whether it acts is decided for a whole batch.
    """

    is_shared: ClassVar[bool] = False

    def draw(self, rng: Rng, shared_rng: Rng, sizes: ImageSizes) -> list[Operation]:
        """Operations with their choices made; as many, of the same kinds, for equal `shared_rng`.

        Args:
            shared_rng: of what decides sizes and order.
        """
        raise NotImplementedError

    def bounds(self, before: SizeBounds) -> SizeBounds:
        """Sizes after the step; one that filters returns `before.after_filter()`."""
        return before

    def inner_steps(self) -> Sequence[Step]:
        """The steps that this one is made of."""
        return ()
