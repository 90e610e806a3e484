"""Dual regression: the SR pictures must lead back to the LR ones.

Guo et al., "Closed-loop Matters: Dual Regression Networks for Single Image Super-Resolution", CVPR 2020,
arXiv:2003.07018; https://github.com/guoyongcs/DRN. PaddleGAN's and PaddleDepth's weighting is the style
`paddledepth`. The adaptation to unpaired LR pictures is the paper's section 3, for which no code was
released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ppsr.criterions.dual_regression import STYLES, drn_losses
from ppsr.errors import ConfigError, DataError
from ppsr.models.base import BaseModel, Batch, Phase, build_net

__all__ = ["DRNModel"]


class DRNModel(BaseModel):
    """A generator of a pyramid of pictures, and one dual network per doubling that leads back down.

    A batch holds `lq` and `gt` in [0, 1], the targets between them as `lq_x2`, `lq_x4` (as many as the
    generator has steps, less one), and optionally `paired` (N): 0 for samples that are real LR pictures
    without ground truth. These count with the cycle alone: dual_0(... dual_{P-1}(SR)) against LR.

    Losses are L1 means in the generator's own range (0..255 as published). The networks are called
    `generator`, `dual_model_0`, `dual_model_1`, ...; give them one optimizer each, or all duals one, by
    `net_names`.

    Args:
        generator: network LR -> list of pictures at x1, x2, ..., scale, with the attribute `scales`.
        dual: constructor arguments of `DRNDual`; by default those that belong to the generator.
        style: "original" or "paddledepth", see `drn_losses`.
        lq_loss_weight: weight of the smaller pictures; by default that of the style.
        dual_loss_weight: weight of the way back.

    Raises:
        ConfigError: a generator without a pyramid, or an unknown style.
    """

    def __init__(
        self,
        *,
        generator: Mapping[str, Any],
        dual: Mapping[str, Any] | None = None,
        style: str = "original",
        lq_loss_weight: float | None = None,
        dual_loss_weight: float = 0.1,
    ) -> None:
        super().__init__()
        if style not in STYLES:
            raise ConfigError(f"model.style must be one of {', '.join(STYLES)}, got {style!r}")
        net: Any = build_net(generator)
        if not hasattr(net, "scales"):
            raise ConfigError(
                f"DRN needs a generator that returns a picture per doubling, such as DRNGenerator; "
                f"{type(net).__name__} does not"
            )
        self.nets["generator"] = net
        self.levels: tuple[int, ...] = net.scales
        for index in range(len(self.levels)):
            own = {"n_feats": net.n_feats, "in_channels": net.n_colors, "out_channels": net.n_colors}
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
        lr = [picture * self.rgb_range for picture in lr]
        hr = batch["gt"] * self.rgb_range
        sr = self.nets["generator"](lr[0])
        batch["sr"] = sr[-1].detach() / self.rgb_range
        flags = batch["paired"].numpy().astype(bool) if "paired" in batch else np.ones(len(hr), bool)
        share = float(flags.mean())
        losses: dict[str, Tensor] = {}
        if share:
            sr_p, lr_p, hr_p = (
                (sr, lr, hr) if share == 1 else (_rows(sr, flags), _rows(lr, flags), _rows([hr], flags)[0])
            )
            back = [dual(picture) for dual, picture in zip(self.duals, sr_p[1:], strict=True)]
            terms = drn_losses(
                sr_p,
                back,
                lr_p,
                hr_p,
                style=self.style,
                lq_loss_weight=self.lq_loss_weight,
                dual_loss_weight=self.dual_loss_weight,
            )
            losses["l_primary"] = terms["primary"] * share
            losses["l_dual"] = (terms["total"] - terms["primary"]) * share
        if share < 1:
            cycle = self.cycle(_rows([sr[-1]], ~flags)[0])
            target = _rows([lr[0]], ~flags)[0]
            losses["l_cycle"] = F.l1_loss(cycle, target) * (self.dual_loss_weight * (1 - share))
        return losses

    def cycle(self, sr: Tensor) -> Tensor:
        """The SR picture led down through all dual networks to the LR size."""
        for dual in reversed(self.duals):
            sr = dual(sr)
        return sr

    @staticmethod
    def _level(batch: Batch, factor: int) -> Tensor:
        name = f"lq_x{factor}"
        if name not in batch:
            raise DataError(
                f"the batch has no '{name}', the target between LR and HR; use the dataset PyramidDataset"
            )
        return batch[name]


def _rows(tensors: Sequence[Tensor], flags: np.ndarray) -> list[Tensor]:
    """The samples that the flags choose."""
    index = paddle.to_tensor(np.flatnonzero(flags))
    return [paddle.index_select(tensor, index, axis=0) for tensor in tensors]
