"""Super-resolution with any generator and any criterions, with or without a discriminator.

With a pixel loss alone this is the PSNR-oriented recipe of SRResNet, RRDB, SwinIR, HAT and DRCT; with pixel,
perceptual and adversarial losses it is Real-ESRGAN's (Wang et al., ICCVW 2021, arXiv:2107.10833), as
Real-DRCT-GAN uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn

from ppsr.criterions.gan import GANLoss, r1_penalty
from ppsr.errors import ConfigError
from ppsr.generators.apply import apply_generator, capture, find_layer, input_channels
from ppsr.imaging.luma import luma
from ppsr.memory import device_array
from ppsr.models.base import BaseModel, Batch, Phase, build_net
from ppsr.models.terms import Entry, Teacher, Term, build_terms, slot
from ppsr.registry import DISCRIMINATORS

__all__ = ["SRModel"]


@dataclass(kw_only=True, eq=False)
class SRModel(BaseModel):
    """One generator, trained by the losses that the configuration names.

    A batch holds `lq` and `gt` (N, C, H, W) in [0, 1], and `gt_usm` where the degradation sharpens its
    target. Criterions compare these, and

    * `sr`, `averaged` and `teacher`: the SR images of the generator, of its average and of the teacher;
    * `generator.LAYER` and `teacher.LAYER`: outputs of inner layers, such as `generator.conv_body`; see
      `ppsr analyze features --list-layers`.

    Options are fields, so that a subclass only lists its own.

    Args:
        generator: its name and options.
        discriminator: its name and options; needed with a GANLoss only.
        teacher: a generator's name and options, and `weights`; it learns nothing.
        criterions: losses, each a criterion's name and options with the keys of `CriterionOptions`. One may
            be a GANLoss, of [generated, real]; its `loss_weight` counts for the generator only.
        pixel_criterion: the same as an entry of [sr, gt_usm].
        perceptual_criterion: the same as an entry of [sr, gt_usm].
        artifact_criterion: the same as an entry of [sr, gt_usm, averaged]; needs `ema`.
        gan_criterion: the same as an entry of [sr, gt].
        l1_gt_usm: false compares `pixel_criterion` and `artifact_criterion` with `gt`.
        percep_gt_usm: false compares `perceptual_criterion` with `gt`.
        gan_gt_usm: true shows the discriminator `gt_usm` as real.
        net_d_iters: discriminator steps per generator step.
        net_d_init_iters: steps in which only the discriminator learns.

    Raises:
        ConfigError: no loss, a GANLoss without a discriminator, a discriminator without a GANLoss, or two of
            them.

    Example:
        >>> SRModel(generator={"name": "MSRResNet"}, criterions=[{"name": "L1Loss"}, {"name": "LPIPSLoss"}])
    """

    generator: Mapping[str, Any]
    discriminator: Mapping[str, Any] | None = None
    teacher: Mapping[str, Any] | None = None
    criterions: Sequence[Entry | None] = ()
    pixel_criterion: Entry | None = None
    perceptual_criterion: Entry | None = None
    artifact_criterion: Entry | None = None
    gan_criterion: Entry | None = None
    l1_gt_usm: bool = True
    percep_gt_usm: bool = True
    gan_gt_usm: bool = False
    net_d_iters: int = 1
    net_d_init_iters: int = 0

    trained: ClassVar[tuple[str, ...]] = ("generator",)

    def __post_init__(self) -> None:
        super().__init__()
        if self.net_d_iters < 1 or self.net_d_init_iters < 0:
            raise ConfigError(
                "net_d_iters must be 1 or more and net_d_init_iters 0 or more, "
                f"got {self.net_d_iters} and {self.net_d_init_iters}"
            )
        self.nets["generator"] = build_net(self.generator)
        if self.discriminator is not None:
            self.nets["discriminator"] = build_net(self.discriminator, DISCRIMINATORS)
            shown = input_channels(self.nets["generator"])
            taken = getattr(self.nets["discriminator"], "num_channels", shown)
            if shown != taken:
                raise ConfigError(
                    f"model.discriminator takes {taken} channels, but the images have the {shown} of "
                    "model.generator; give both the same"
                )
        self.terms = build_terms([*self.slots(), *self.criterions])
        self._check_terms()
        self.layers = self.compared_layers("generator.")
        for name in self.layers:
            find_layer(self.nets["generator"], name)
        self.taught: Teacher | None = None
        if self.teacher is not None:
            scale = self.nets["generator"].scale
            self.taught = Teacher(self.teacher, layers=self.compared_layers("teacher."), scale=scale)

    def compared_layers(self, prefix: str) -> list[str]:
        """The layers of a network that criterions name."""
        names = {name for term in self.terms for name in term.of if name.startswith(prefix)}
        return sorted(name.removeprefix(prefix) for name in names)

    def slots(self) -> list[Entry | None]:
        """The fixed places for criterions as entries of the list, in the order of the log."""
        pixel, features, real = (
            "gt_usm" if sharp else "gt" for sharp in (self.l1_gt_usm, self.percep_gt_usm, self.gan_gt_usm)
        )
        return [
            slot(self.pixel_criterion, "l_pix", "sr", pixel),
            slot(self.perceptual_criterion, "l_percep", "sr", features),
            slot(self.artifact_criterion, "l_g_artifacts", "sr", pixel, "averaged"),
            slot(self.gan_criterion, "l_g_gan", "sr", real),
        ]

    def _check_terms(self) -> None:
        if not self.terms:
            raise ConfigError("the model has no loss; give at least one entry of model.criterions")
        if self.gan_criterion is not None and not any(term.adversarial for term in self.terms):
            raise ConfigError(f"model.gan_criterion must be a GANLoss, got {self.gan_criterion['name']}")
        adversarial = [term for term in self.terms if term.adversarial]
        if (self.discriminator is not None) != bool(adversarial):
            raise ConfigError("a GAN recipe needs both model.discriminator and a GANLoss, or neither")
        if len(adversarial) > 1:
            raise ConfigError(f"a model has one GANLoss, got {len(adversarial)}")
        if adversarial and len(adversarial[0].of) != 2:
            raise ConfigError(
                "the `of` of a GANLoss names the generated and the real images, such as [sr, gt]; "
                f"got {list(adversarial[0].of)}"
            )

    def prepare(self, batch: Batch) -> Batch:
        """A network for luma learns from Y of YCbCr alone."""
        if getattr(self.nets["generator"], "luma", False):
            for name in ("lq", "lq_view2", "gt", "gt_usm"):
                if name in batch and batch[name].shape[1] == 3:
                    batch[name] = luma(batch[name], device_array)
        return batch

    def phases(self) -> list[Phase]:
        phases = [Phase(self.trained, self.generator_losses)]
        if "discriminator" in self.nets:
            phases.append(Phase(("discriminator",), self.discriminator_losses))
        return phases

    def forward(self, batch: Batch, net: nn.Layer) -> Tensor:
        """SR image by one generator (the trained or the averaged one)."""
        return apply_generator(net, batch["lq"])

    def tensor(self, batch: Batch, name: str) -> Tensor:
        if name == "averaged" and name not in batch:
            if "generator" not in self.ema:
                raise ConfigError("'averaged' needs averaged parameters; add `ema: {decay: 0.999}`")
            with paddle.no_grad():
                batch[name] = self.forward(batch, self.ema["generator"])
        if name.partition(".")[0] == "teacher" and name not in batch:
            if self.taught is None:
                raise ConfigError(f"'{name}' needs a network to learn from: model.teacher")
            batch |= self.taught(batch["lq"])
        return super().tensor(batch, name)

    def generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the generator phase; leaves the detached SR image in the batch."""
        if self.step % self.net_d_iters or self.step < self.net_d_init_iters:
            with paddle.no_grad():
                batch["sr"] = self.forward(batch, self.nets["generator"])
            return {}
        net = self.nets["generator"]
        with capture(net, self.layers) as outputs:
            batch["sr"] = self.forward(batch, net)
        batch |= {f"generator.{name}": _with_gradient(name, outputs[name]) for name in self.layers}
        losses = self.criterion_losses(batch)
        batch["sr"] = batch["sr"].detach()
        for name in self.layers:  # the discriminator's phase needs no features
            del batch[f"generator.{name}"]
        return losses

    def term_losses(self, term: Term, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        if not term.adversarial:
            return super().term_losses(term, tensors)
        value = term.criterion(self.nets["discriminator"](tensors[0]), True, is_disc=False)
        return {term.label: term.factor(self.step) * value}

    def discriminator_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of the discriminator phase on the real and the generated image."""
        net = self.nets["discriminator"]
        (term,) = (term for term in self.terms if term.adversarial)
        criterion: GANLoss = term.criterion
        generated, target = (self.tensor(batch, name) for name in term.of)
        real = net(target)
        fake = net(generated.detach())
        batch.logs = {"out_d_real": _mean(real), "out_d_fake": _mean(fake)}
        losses = {
            "l_d_real": criterion(real, True, is_disc=True),
            "l_d_fake": criterion(fake, False, is_disc=True),
        }
        weight = criterion.r1_weight(self.step)
        if weight:
            losses["l_d_r1"] = r1_penalty(net, target) * weight
        return losses


def _with_gradient(name: str, feature: Any) -> Tensor:
    """The output of a generator's layer."""
    if not isinstance(feature, paddle.Tensor):
        raise ConfigError("step.to_static hides a network's layers: criterions cannot compare their outputs")
    if feature.stop_gradient:
        raise ConfigError(
            f"no gradient goes back from the layer '{name}': it is frozen, or in what "
            "model.generator.use_checkpoint computes again; switch that off or take another layer"
        )
    return feature


def _mean(logits: Tensor | Sequence[Tensor]) -> Tensor:
    """The mean of logits, over all maps where a discriminator gives several."""
    maps = [logits] if isinstance(logits, Tensor) else logits
    return paddle.add_n([one.mean() for one in maps]) / len(maps)
