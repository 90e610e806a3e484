"""Adversarial losses and the R1 penalty.

Conventions are BasicSR's (https://github.com/XPixelGroup/BasicSR, Apache-2.0): the weight counts for the
generator only.
R1: Mescheder et al., ICML 2018, arXiv:1801.04406.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import Tensor, nn
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.nn import functional as F

from ppsr import accelerate
from ppsr.errors import ConfigError, did_you_mean
from ppsr.generators.blocks import twice_differentiable
from ppsr.precision import float32_parameters, in_float32

__all__ = ["GANLoss", "r1_penalty"]

_TYPES = ("vanilla", "lsgan", "wgan", "wgan_softplus", "hinge")


@dataclass(kw_only=True, eq=False)
class GANLoss:
    """Logits of any shape, or a list of them with a mean of equal shares -> scalar.

    Args:
        gan_type: "vanilla" (binary cross entropy), "lsgan", "wgan", "wgan_softplus" or "hinge".
        real_label_val: target of real images (vanilla and lsgan).
        fake_label_val: target of generated ones.
        loss_weight: factor in the generator phase; the discriminator's losses are not weighted.
        r1_reg_weight: weight of the R1 penalty on real images (gamma); 0 disables it. Not supported with
            step.to_static, whose graphs have no second derivative.
        net_d_reg_every: steps from one R1 penalty to the next, which then counts that many times.
    """

    gan_type: str = "vanilla"
    real_label_val: float = 1.0
    fake_label_val: float = 0.0
    loss_weight: float = 1.0
    r1_reg_weight: float = 0.0
    net_d_reg_every: int = 16

    def __post_init__(self) -> None:
        if self.net_d_reg_every < 1:
            raise ConfigError(f"net_d_reg_every must be 1 or more, got {self.net_d_reg_every}")
        if self.gan_type not in _TYPES:
            raise ConfigError(f"unknown gan_type '{self.gan_type}'; {did_you_mean(self.gan_type, _TYPES)}")

    def r1_weight(self, step: int) -> float:
        """Factor of `r1_penalty` in a step; 0 where it is not needed."""
        return 0.0 if step % self.net_d_reg_every else self.r1_reg_weight / 2 * self.net_d_reg_every

    @in_float32
    def __call__(
        self, logits: Tensor | Sequence[Tensor], target_is_real: bool, is_disc: bool = False
    ) -> Tensor:
        """Score logits that should look real or generated; `is_disc` in the discriminator's phase."""
        maps = logits if isinstance(logits, (list, tuple)) else [logits]
        loss = sum(self._loss(one, target_is_real, is_disc) for one in maps) / len(maps)
        return loss if is_disc else loss * self.loss_weight

    def _loss(self, logits: Tensor, target_is_real: bool, is_disc: bool) -> Tensor:
        label = self.real_label_val if target_is_real else self.fake_label_val
        against = -logits if target_is_real else logits  # large where the verdict is the wrong one
        if self.gan_type == "vanilla":
            return (F.softplus(logits) - logits * label).mean()
        if self.gan_type == "lsgan":
            return ((logits - label) ** 2).mean()
        if self.gan_type == "wgan_softplus":
            return F.softplus(against).mean()
        if self.gan_type == "hinge":
            # the generator raises the logits of its images, without a margin
            return F.relu(1 + against).mean() if is_disc else -logits.mean()
        return against.mean()


@in_float32
def r1_penalty(net_d: nn.Layer, real: Tensor) -> Tensor:
    """Mean over the batch of the squared norm of the discriminator's gradient at real images.

    Differentiable, so that it can be added to the discriminator's loss (times gamma / 2 in the paper), and in
    float32: squares of small gradients are 0 in float16.

    Args:
        net_d: discriminator; its operators must have second derivatives.
        real: (N, C, H, W).

    Raises:
        ConfigError: a traced discriminator, whose penalty would have no gradient.
    """
    if isinstance(net_d.forward, StaticFunction):
        raise ConfigError(
            "gan_criterion.r1_reg_weight needs second derivatives, which step.to_static has not"
        )
    real = real.detach()
    real.stop_gradient = False
    with accelerate.disabled(), twice_differentiable(), float32_parameters(net_d):
        logits = net_d(real)
        total = sum(one.sum() for one in logits) if isinstance(logits, (list, tuple)) else logits.sum()
        (gradient,) = paddle.grad(total, real, create_graph=True)
    return (gradient * gradient).sum() / real.shape[0]
