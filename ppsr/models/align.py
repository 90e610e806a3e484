"""Simple-Align: any generator, regularised by aligning the features of two degraded views of each picture.

Wang et al., CVPR 2024, arXiv:2402.18929; https://github.com/Dreamzz5/Simple-Align. The released code switches
the regulariser on by the substring `reg` in the experiment's name and reads an attribute of one network; here
it is a model of its own, and the feature any layer's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError, DataError
from ppsr.generators.taps import capture, find_layer
from ppsr.models.base import Batch, build_criterion
from ppsr.models.sr import SRModel

__all__ = ["AlignModel"]


class AlignModel(SRModel):
    """SRModel on batches with a second view, `lq_view2`, of the same window of `gt`.

    Both views go through the generator as one batch, and every loss of SRModel counts both. A training-pair
    pool keeps the views of a picture together; the published settings use none (`queue_size: 0`).

    Args:
        generator: any LR -> SR network.
        feature_layer: name of the layer whose output is aligned; `feat_last` of MSRResNet and RRDBNet is the
            published one. See `ppsr analyze features --list-layers`.
        align_criterion: AlignmentLoss.
        feature_axis: axis of the channels in that output: 1 for maps (N, C, H, W), -1 for tokens.
        align_start: steps without alignment at the beginning (0 as published).
        align_warmup: steps over which its weight then rises linearly (0 as published).
        discriminator: see SRModel.
        pixel_criterion: see SRModel.
        perceptual_criterion: see SRModel.
        artifact_criterion: see SRModel.
        gan_criterion: see SRModel.
        l1_gt_usm: see SRModel.
        percep_gt_usm: see SRModel.
        gan_gt_usm: see SRModel.
        net_d_iters: see SRModel.
        net_d_init_iters: see SRModel.

    Raises:
        ConfigError: the generator has no such layer; in a step, no gradient goes back from it.
    """

    def __init__(
        self,
        *,
        generator: Mapping[str, Any],
        feature_layer: str,
        align_criterion: Mapping[str, Any],
        feature_axis: int = 1,
        align_start: int = 0,
        align_warmup: int = 0,
        discriminator: Mapping[str, Any] | None = None,
        pixel_criterion: Mapping[str, Any] | None = None,
        perceptual_criterion: Mapping[str, Any] | None = None,
        artifact_criterion: Mapping[str, Any] | None = None,
        gan_criterion: Mapping[str, Any] | None = None,
        l1_gt_usm: bool = True,
        percep_gt_usm: bool = True,
        gan_gt_usm: bool = False,
        net_d_iters: int = 1,
        net_d_init_iters: int = 0,
    ) -> None:
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            pixel_criterion=pixel_criterion,
            perceptual_criterion=perceptual_criterion,
            artifact_criterion=artifact_criterion,
            gan_criterion=gan_criterion,
            l1_gt_usm=l1_gt_usm,
            percep_gt_usm=percep_gt_usm,
            gan_gt_usm=gan_gt_usm,
            net_d_iters=net_d_iters,
            net_d_init_iters=net_d_init_iters,
        )
        find_layer(self.nets["generator"], feature_layer)
        if feature_axis not in (1, -1):
            raise ConfigError(f"feature_axis must be 1 (maps) or -1 (tokens), got {feature_axis}")
        self.feature_layer = feature_layer
        self.feature_axis = feature_axis
        self.align_start = align_start
        self.align_warmup = align_warmup
        self.align_criterion = build_criterion(align_criterion)

    def prepare(self, batch: Batch) -> Batch:
        """Stack the views: (B, ...) first, (B, ...) second, and each target twice."""
        if "lq_view2" not in batch:
            raise DataError("the batch has no second view; set `views: 2` in dataset.train")
        batch = super().prepare(batch)
        targets = [name for name in ("gt", "gt_usm") if name in batch]
        stacked = Batch({name: paddle.concat([batch[name]] * 2) for name in targets})
        stacked["lq"] = paddle.concat([batch["lq"], batch["lq_view2"]])
        return stacked

    def forward(self, batch: Batch, net: nn.Layer) -> Tensor:
        if net is not self.nets["generator"]:
            return super().forward(batch, net)
        with capture(net, [self.feature_layer]) as outputs:
            sr = super().forward(batch, net)
        feature = outputs[self.feature_layer]
        if not isinstance(feature, paddle.Tensor):
            raise ConfigError("step.to_static hides a network's layers: AlignModel cannot train with it")
        if paddle.is_grad_enabled() and feature.stop_gradient:
            raise ConfigError(
                f"no gradient goes back from feature_layer '{self.feature_layer}': it is frozen, or in what "
                "model.generator.use_checkpoint computes again; switch that off or take another layer"
            )
        batch["feature"] = feature
        return sr

    def generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().generator_losses(batch)
        weight = self.align_weight()
        if losses and weight:
            feature = batch["feature"].astype("float32")
            channels = self.feature_axis % feature.ndim
            pooled = feature.mean(axis=[axis for axis in range(1, feature.ndim) if axis != channels])
            view1, view2 = pooled.chunk(2, axis=0)
            losses |= {k: weight * v for k, v in self.align_criterion(view1, view2).items()}
        return losses

    def align_weight(self) -> float:
        """Factor on the alignment at the present step: 0 before its start, rising to 1 over the warm-up."""
        done = self.step - self.align_start
        if done < 0:
            return 0.0
        return min(1.0, (done + 1) / (self.align_warmup + 1))
