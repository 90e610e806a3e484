"""Super-resolution with any generator: pixel, perceptual, artifact and adversarial losses, each optional.

With a pixel loss alone this is the PSNR-oriented recipe of SRResNet, RRDB, SwinIR, HAT and DRCT; with all of
them it is Real-ESRGAN's (Wang et al., ICCVW 2021, arXiv:2107.10833), as Real-DRCT-GAN uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
from paddle import Tensor, nn

from ppsr.criterions.gan import GANLoss, r1_penalty
from ppsr.errors import ConfigError
from ppsr.generators.apply import apply_generator
from ppsr.imaging.luma import luma
from ppsr.models.base import BaseModel, Batch, Phase, build_criterion, build_discriminator, build_net

__all__ = ["SRModel"]


class SRModel(BaseModel):
    """One generator, trained by the losses that the configuration names.

    A batch holds `lq` and `gt` (N, C, H, W) in [0, 1], and `gt_usm` where the degradation sharpens its
    target.

    Args:
        generator: LR -> SR network.
        discriminator: needed with `gan_criterion`.
        pixel_criterion: SR against GT.
        perceptual_criterion: SR against GT in feature space.
        artifact_criterion: LDL; needs averaged parameters (`ema`).
        gan_criterion: adversarial loss, a GANLoss; its `loss_weight` counts for the generator only.
        l1_gt_usm: whether the pixel loss uses the sharpened target.
        percep_gt_usm: the same for the perceptual loss.
        gan_gt_usm: the same for what the discriminator is shown as real.
        net_d_iters: discriminator steps per generator step.
        net_d_init_iters: steps in which only the discriminator learns.
    """

    trained: tuple[str, ...] = ("generator",)

    def __init__(
        self,
        *,
        generator: Mapping[str, Any],
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
        super().__init__()
        if (discriminator is None) != (gan_criterion is None):
            raise ConfigError(
                "a GAN recipe needs both model.discriminator and model.gan_criterion, or neither"
            )
        self.nets["generator"] = build_net(generator)
        if discriminator is not None:
            self.nets["discriminator"] = build_discriminator(discriminator)
        self.pixel_criterion = build_criterion(pixel_criterion)
        self.perceptual_criterion = build_criterion(perceptual_criterion)
        self.artifact_criterion = build_criterion(artifact_criterion)
        self.gan_criterion = build_criterion(gan_criterion)
        if not any((pixel_criterion, perceptual_criterion, gan_criterion)):
            raise ConfigError("the model has no loss; give at least model.pixel_criterion")
        if gan_criterion is not None and not isinstance(self.gan_criterion, GANLoss):
            raise ConfigError(f"model.gan_criterion must be a GANLoss, got {gan_criterion['name']}")
        if net_d_iters < 1 or net_d_init_iters < 0:
            raise ConfigError(
                "net_d_iters must be 1 or more and net_d_init_iters 0 or more, "
                f"got {net_d_iters} and {net_d_init_iters}"
            )
        self.l1_gt_usm = l1_gt_usm
        self.percep_gt_usm = percep_gt_usm
        self.gan_gt_usm = gan_gt_usm
        self.net_d_iters = net_d_iters
        self.net_d_init_iters = net_d_init_iters

    def prepare(self, batch: Batch) -> Batch:
        """A network for luma learns from Y of YCbCr alone."""
        if getattr(self.nets["generator"], "luma", False):
            for name in ("lq", "lq_view2", "gt", "gt_usm"):
                if name in batch and batch[name].shape[1] == 3:
                    batch[name] = luma(batch[name], paddle.to_tensor)
        return batch

    def phases(self) -> list[Phase]:
        phases = [Phase(self.trained, self.generator_losses)]
        if "discriminator" in self.nets:
            phases.append(Phase(("discriminator",), self.discriminator_losses))
        return phases

    def forward(self, batch: Batch, net: nn.Layer) -> Tensor:
        """SR picture by one generator (the trained or the averaged one)."""
        return apply_generator(net, batch["lq"])

    @staticmethod
    def target(batch: Batch, sharpened: bool) -> Tensor:
        """The ground truth, sharpened where that is wanted and present."""
        return batch["gt_usm"] if sharpened and "gt_usm" in batch else batch["gt"]

    def generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the generator phase; leaves the detached SR picture in the batch."""
        if self.step % self.net_d_iters or self.step < self.net_d_init_iters:
            with paddle.no_grad():
                batch["sr"] = self.forward(batch, self.nets["generator"])
            return {}
        sr = self.forward(batch, self.nets["generator"])
        losses = {}
        if self.pixel_criterion is not None:
            losses["l_pix"] = self.pixel_criterion(sr, self.target(batch, self.l1_gt_usm))
        if self.perceptual_criterion is not None:
            losses["l_percep"] = self.perceptual_criterion(sr, self.target(batch, self.percep_gt_usm))
        if self.artifact_criterion is not None:
            losses["l_g_artifacts"] = self._artifacts(batch, sr)
        if self.gan_criterion is not None:
            losses["l_g_gan"] = self.gan_criterion(self.nets["discriminator"](sr), True, is_disc=False)
        batch["sr"] = sr.detach()
        return losses

    def _artifacts(self, batch: Batch, sr: Tensor) -> Tensor:
        if "generator" not in self.ema:
            raise ConfigError(
                "artifact_criterion compares with averaged parameters; add `ema: {decay: 0.999}`"
            )
        with paddle.no_grad():
            averaged = self.forward(batch, self.ema["generator"])
        return self.artifact_criterion(sr, self.target(batch, self.l1_gt_usm), averaged)

    def discriminator_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the discriminator phase on the real and the generated picture."""
        net = self.nets["discriminator"]
        target = self.target(batch, self.gan_gt_usm)
        real = net(target)
        fake = net(batch["sr"])
        batch.logs = {"out_d_real": real.mean(), "out_d_fake": fake.mean()}
        losses = {
            "l_d_real": self.gan_criterion(real, True, is_disc=True),
            "l_d_fake": self.gan_criterion(fake, False, is_disc=True),
        }
        weight = self.gan_criterion.r1_weight(self.step)
        if weight:
            losses["l_d_r1"] = r1_penalty(net, target) * weight
        return losses
