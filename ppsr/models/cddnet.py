"""Training CDDNet and DASR: a degradation predictor steers the generator and learns with it.

Liang, Zeng, Zhang, "Efficient and Degradation-Adaptive Network for Real-World Image Super-Resolution" (DASR),
ECCV 2022, arXiv:2203.14216; CDDNet, https://github.com/Aries1213/CDDNet. Differences from the released code:
the predictor's targets travel through the training-pair pool together with their images, and the averaged
generator runs without a tape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.cddnet import BlindSR
from ppsr.models.base import Batch, build_net
from ppsr.models.sr import SRModel
from ppsr.models.terms import Entry, slot

__all__ = ["CDDNetModel"]


@dataclass(kw_only=True, eq=False)
class CDDNetModel(SRModel):
    """SRModel with a predictor: `degradation_params` (N, 33) of the batch are its regression target.

    Gradients of the SR losses reach the predictor through the mixing weights. Criterions may also compare
    `params`, the predicted parameters, and `mixing`, the weights.

    Args:
        regression_criterion: the same as an entry of [params, degradation_params].
    """

    predictor: Mapping[str, Any]
    regression_criterion: Entry | None = None
    gan_gt_usm: bool = True

    trained: ClassVar[tuple[str, ...]] = ("generator", "predictor")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nets["predictor"] = build_net(self.predictor)
        experts = getattr(self.nets["generator"], "num_models", None)
        weights = getattr(self.nets["predictor"], "num_networks", experts)
        if experts != weights:
            raise ConfigError(
                f"model.generator.num_models is {experts}, model.predictor.num_networks {weights}; "
                "they must be equal"
            )
        self._blind: BlindSR | None = None

    def slots(self) -> list[Entry | None]:
        own = slot(self.regression_criterion, "l_regression", "params", "degradation_params")
        return [*super().slots(), own]

    def tensor(self, batch: Batch, name: str) -> Tensor:
        if name == "degradation_params" and name not in batch:
            raise ConfigError(
                "dataset.train gives no 'degradation_params' for the regression of the predictor; choose "
                "DASRDataset, or set model.regression_criterion=null"
            )
        return super().tensor(batch, name)

    def forward(self, batch: Batch, net: nn.Layer) -> Tensor:
        if "mixing" not in batch:
            batch["params"], batch["mixing"] = self.nets["predictor"](batch["lq"])
        return net(batch["lq"], batch["mixing"])

    def inference_net(self) -> nn.Layer:
        generator, predictor = self.averaged("generator"), self.averaged("predictor")
        net = self._blind
        if net is None or net.generator is not generator or net.predictor is not predictor:
            net = self._blind = BlindSR(generator=generator, predictor=predictor)
        return net
