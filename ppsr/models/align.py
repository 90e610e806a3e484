"""Simple-Align: any generator, regularised by aligning the features of two degraded views of each image.

Wang et al., CVPR 2024, arXiv:2402.18929; https://github.com/Dreamzz5/Simple-Align. The released code switches
the regulariser on by the substring `reg` in the experiment's name and reads an attribute of one network; here
it is a model, and the feature any layer's output.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from ppsr.errors import ConfigError, DataError
from ppsr.models.base import Batch
from ppsr.models.sr import SRModel
from ppsr.models.terms import Entry, slot

__all__ = ["AlignModel"]


@dataclass(kw_only=True, eq=False)
class AlignModel(SRModel):
    """SRModel on batches with a second view, `lq_view2`, of the same window of `gt`.

    Both views go through the generator as one batch, and every loss of SRModel counts both. Criterions may
    also compare `view1` and `view2` (B, C), the feature of each view, averaged over its positions. A
    training-pair pool keeps the views of an image together; the published settings use none
    (`queue_size: 0`).

    Args:
        feature_layer: name of the layer whose output is aligned; `feat_last` of MSRResNet and RRDBNet is the
            published one. See `ppsr analyze features --list-layers`.
        align_criterion: the same as an entry of [view1, view2]; AlignmentLoss as published.
        feature_axis: axis of the channels in that output: 1 for maps (N, C, H, W), -1 for tokens.
        align_start: steps without alignment at the beginning (0 as published).
        align_warmup: steps over which its weight then rises linearly (0 as published).

    Raises:
        ConfigError: the generator has no such layer; in a step, no gradient goes back from it.
    """

    feature_layer: str
    align_criterion: Entry | None = None
    feature_axis: int = 1
    align_start: int = 0
    align_warmup: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feature_axis not in (1, -1):
            raise ConfigError(f"feature_axis must be 1 (maps) or -1 (tokens), got {self.feature_axis}")

    def slots(self) -> list[Entry | None]:
        times = {"start": self.align_start, "warmup": self.align_warmup}
        return [*super().slots(), slot(self.align_criterion, "l_align", "view1", "view2", **times)]

    def prepare(self, batch: Batch) -> Batch:
        """Stack the views: (B, ...) first, (B, ...) second, and each target twice."""
        if "lq_view2" not in batch:
            raise DataError("the batch has no second view; set `views: 2` in dataset.train")
        batch = super().prepare(batch)
        targets = [name for name in ("gt", "gt_usm") if name in batch]
        stacked = Batch({name: paddle.concat([batch[name]] * 2) for name in targets})
        stacked["lq"] = paddle.concat([batch["lq"], batch["lq_view2"]])
        return stacked

    def compared_layers(self, prefix: str) -> list[str]:
        own = {self.feature_layer} if prefix == "generator." else set()
        return sorted(own | set(super().compared_layers(prefix)))

    def tensor(self, batch: Batch, name: str) -> Tensor:
        if name in ("view1", "view2") and name not in batch:
            feature = batch[f"generator.{self.feature_layer}"]
            channels = self.feature_axis % feature.ndim
            positions = [axis for axis in range(1, feature.ndim) if axis != channels]
            pooled = feature.astype("float32").mean(axis=positions)
            batch["view1"], batch["view2"] = pooled.chunk(2, axis=0)
        return super().tensor(batch, name)
