"""Dual regression: the SR images must lead back to the LR ones.

Guo et al., "Closed-loop Matters: Dual Regression Networks for Single Image Super-Resolution", CVPR 2020,
arXiv:2003.07018; https://github.com/guoyongcs/DRN. PaddleGAN's and PaddleDepth's weighting is the style
`paddledepth`. The adaptation to unpaired LR images is the paper's section 3, for which no code was
released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddle import Tensor, nn

from ppsr.criterions.dual_regression import STYLES, drn_losses, l1_loss
from ppsr.errors import ConfigError, DataError
from ppsr.models.base import BaseModel, Batch, Phase, build_net
from ppsr.models.terms import build_terms

__all__ = ["DRNModel"]


class DRNModel(BaseModel):
    """A generator of a pyramid of images, and one dual network per doubling that leads back down.

    A batch holds `lq` and `gt` in [0, 1], the targets between them as `lq_x2`, `lq_x4` (as many as the
    generator has steps, less one), and optionally `paired` (N): 0 for samples that are real LR images
    without ground truth. These count with the cycle alone: dual_0(... dual_{P-1}(SR)) against LR.

    Losses are L1 means in the generator's own range (0..255 as published). The networks are called
    `generator`, `dual_model_0`, `dual_model_1`, ...; give them one optimizer each, or all duals one, by
    `net_names`.

    Args:
        generator: network LR -> list of images at x1, x2, ..., scale, with the attribute `scales`.
        dual: constructor arguments of `DRNDual`; by default those that belong to the generator.
        style: "original" or "paddledepth", see `drn_losses`.
        lq_loss_weight: weight of the smaller images; by default that of the style.
        criterions: further losses of `sr` and `gt` in [0, 1], as in `SRModel`; without unpaired samples.

    Raises:
        ConfigError: a generator without a pyramid, an unknown style, or a GANLoss.
    """

    def __init__(
        self,
        *,
        generator: Mapping[str, Any],
        dual: Mapping[str, Any] | None = None,
        style: str = "original",
        lq_loss_weight: float | None = None,
        dual_loss_weight: float = 0.1,
        criterions: Sequence[Mapping[str, Any] | None] = (),
    ) -> None:
        super().__init__()
        self.terms = build_terms(criterions)
        if any(term.adversarial for term in self.terms):
            raise ConfigError("DRN has no discriminator that a GANLoss could score")
        if style not in STYLES:
            raise ConfigError(f"model.style must be one of {', '.join(STYLES)}, got {style!r}")
        net: Any = build_net(generator)
        if not hasattr(net, "scales"):
            raise ConfigError(
                f"DRN needs a generator that returns an image per doubling, such as DRNGenerator; "
                f"{type(net).__name__} does not"
            )
        self.nets["generator"] = net
        self.levels: tuple[int, ...] = net.scales
        for index in range(len(self.levels)):
            own = {"n_feats": net.n_feats, "in_channels": net.num_channels, "out_channels": net.num_channels}
            own |= {"negval": net.negval, **(dual or {})}
            self.nets[f"dual_model_{index}"] = build_net({"name": "DRNDual", **own})
        self.rgb_range = float(net.rgb_range)
        self.style = style
        self.lq_loss_weight = lq_loss_weight
        self.dual_loss_weight = dual_loss_weight

    @property
    def duals(self) -> list[nn.Layer]:
        """The dual networks, from the LR end upwards."""
        return [self.nets[f"dual_model_{index}"] for index in range(len(self.levels))]

    def phases(self) -> list[Phase]:
        return [Phase(tuple(self.nets), self.losses)]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Primary and weighted dual loss over the paired samples, and the cycle over the unpaired ones."""
        lr = [batch["lq"], *(self._level(batch, factor) for factor in self.levels[:-1])]
        lr = [image * self.rgb_range for image in lr]
        hr = batch["gt"] * self.rgb_range
        sr = self.nets["generator"](lr[0])
        back = [dual(image) for dual, image in zip(self.duals, sr[1:], strict=True)]
        paired = batch.get("paired")
        if paired is not None and self.terms:
            raise ConfigError(
                "model.criterions of DRN compare with gt; leave dataset.train.unpaired_folder out"
            )
        terms = drn_losses(
            sr,
            back,
            lr,
            hr,
            style=self.style,
            lq_loss_weight=self.lq_loss_weight,
            dual_loss_weight=self.dual_loss_weight,
            weights=paired,
        )
        losses = {"l_primary": terms["primary"], "l_dual": terms["total"] - terms["primary"]}
        if paired is not None:  # weights, because a choice of samples would need their numbers on the host
            cycle = self.cycle(back[-1])
            losses["l_cycle"] = self.dual_loss_weight * l1_loss(cycle, lr[0], 1 - paired)
        batch["sr"] = sr[-1] / self.rgb_range
        losses |= self.criterion_losses(batch)
        batch["sr"] = batch["sr"].detach()
        return losses

    def cycle(self, back: Tensor) -> Tensor:
        """The output of the last dual network led down through the others to the LR size."""
        for dual in reversed(self.duals[:-1]):
            back = dual(back)
        return back

    @staticmethod
    def _level(batch: Batch, factor: int) -> Tensor:
        name = f"lq_x{factor}"
        if name not in batch:
            raise DataError(
                f"the batch has no '{name}', the target between LR and HR; use the dataset PyramidDataset"
            )
        return batch[name]
