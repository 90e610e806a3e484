"""Training CDDNet and DASR: a degradation predictor steers the generator and learns with it.

Liang, Zeng, Zhang, "Efficient and Degradation-Adaptive Network for Real-World Image Super-Resolution" (DASR),
ECCV 2022, arXiv:2203.14216; CDDNet, https://github.com/Aries1213/CDDNet. Differences from the released code:
the predictor's targets travel through the training-pair pool together with their pictures, and the averaged
generator runs without a tape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.cddnet import BlindSR
from ppsr.models.base import Batch, build_criterion, build_net
from ppsr.models.sr import SRModel

__all__ = ["CDDNetModel"]


class CDDNetModel(SRModel):
    """SRModel with a predictor: `degradation_params` (N, 33) of the batch are its regression target.

    Gradients of the SR losses reach the predictor through the mixing weights.

    Args:
        predictor: network lq -> (parameters, mixing weights).
        regression_criterion: predicted against true degradation parameters.
    """

    trained = ("generator", "predictor")

    def __init__(
        self,
        *,
        generator: Mapping[str, Any],
        predictor: Mapping[str, Any],
        discriminator: Mapping[str, Any] | None = None,
        pixel_criterion: Mapping[str, Any] | None = None,
        regression_criterion: Mapping[str, Any] | None = None,
        perceptual_criterion: Mapping[str, Any] | None = None,
        artifact_criterion: Mapping[str, Any] | None = None,
        gan_criterion: Mapping[str, Any] | None = None,
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
            gan_gt_usm=True,
            net_d_iters=net_d_iters,
            net_d_init_iters=net_d_init_iters,
        )
        self.nets["predictor"] = build_net(predictor)
        experts = getattr(self.nets["generator"], "num_models", None)
        weights = getattr(self.nets["predictor"], "num_networks", experts)
        if experts != weights:
            raise ConfigError(
                f"model.generator.num_models is {experts}, model.predictor.num_networks {weights}; "
                "they must be equal"
            )
        self.regression_criterion = build_criterion(regression_criterion)
        self._blind: BlindSR | None = None

    def forward(self, batch: Batch, net: nn.Layer) -> Tensor:
        if "mixing" not in batch:
            batch["params"], batch["mixing"] = self.nets["predictor"](batch["lq"])
        return net(batch["lq"], batch["mixing"])

    def generator_losses(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().generator_losses(batch)
        if losses and self.regression_criterion is not None:
            losses["l_regression"] = self.regression_criterion(batch["params"], batch["degradation_params"])
        return losses

    def inference_net(self) -> nn.Layer:
        generator, predictor = self.averaged("generator"), self.averaged("predictor")
        net = self._blind
        if net is None or net.generator is not generator or net.predictor is not predictor:
            net = self._blind = BlindSR(generator=generator, predictor=predictor)
        return net
