"""Training algorithms of ppsr under PaddleGAN's Trainer; importable after `load_ppgan`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import paddle
from ppgan.models.base_model import BaseModel
from ppgan.utils.visual import tensor2img

from ppsr.engine.step import TrainStep
from ppsr.errors import ConfigError
from ppsr.generators.apply import evaluating, super_resolve
from ppsr.models.base import Batch
from ppsr.registry import MODELS
from ppsr.solver.schedules import Schedule


class _TheirSchedule(Schedule):
    """The present rate of a scheduler that PaddleGAN's Trainer steps."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(learning_rate=scheduler.base_lr)
        self.scheduler = scheduler

    def rate(self, step: int) -> float:
        return float(self.scheduler())


class PpganModel(BaseModel):
    """An algorithm of ppsr: its phases, done by ppsr's own step, with PaddleGAN's optimizers and schedule.

    Raises:
        ConfigError: several processes; PaddleGAN wraps networks so that the algorithm cannot reach them.
    """

    def __init__(self, algorithm: Any, seed: int) -> None:
        super().__init__()
        if paddle.distributed.ParallelEnv().nranks > 1:
            raise ConfigError(
                f"{type(algorithm).__name__} trains on one card under PaddleGAN's Trainer; on several, by "
                "ppsr's tools/main.py"
            )
        self.algorithm = algorithm
        self.nets = algorithm.nets
        self.seed = seed
        self.iteration = 0

    def setup_optimizers(self, lr: Any, cfg: Mapping[str, Any]) -> Any:
        """Build PaddleGAN's optimizers; the step sets their rate from PaddleGAN's schedule."""
        optimizers = super().setup_optimizers(float(lr()), cfg)
        sections = {"optim": cfg} if cfg.get("name") else cfg
        self.trainer = TrainStep(
            model=self.algorithm,
            optimizers={name: (optimizers[name], tuple(sections[name]["net_names"])) for name in optimizers},
            schedules=dict.fromkeys(optimizers, _TheirSchedule(lr)),
        )
        return optimizers

    def setup_input(self, input: Mapping[str, Any]) -> None:
        """Take a batch of `PpganDataset` or of PaddleGAN's SRDataset, images in [0, 1]."""
        self.batch = Batch(input)
        self.image_paths = input["lq_path"]
        self.visual_items.update({name: input[name] for name in ("lq", "gt") if name in input})

    def forward(self) -> None:
        """Nothing: phases compute what they need."""

    def train_iter(self, optims: Any = None) -> None:
        """One step of the algorithm."""
        self.losses.update(self.trainer.run([self.batch], self.iteration, self.seed))
        self.iteration += 1
        if "sr" in self.batch:
            self.visual_items["output"] = self.batch["sr"]

    def test_iter(self, metrics: Mapping[str, Any] | None = None) -> None:
        """Upscale a batch and hand the images to the metrics."""
        net = self.algorithm.inference_net()
        with evaluating(net):
            output = super_resolve(net, self.batch["lq"])
        self.visual_items["output"] = output
        for metric in (metrics or {}).values():
            images, targets = (
                [tensor2img(image, (0.0, 1.0)) for image in batch] for batch in (output, self.batch["gt"])
            )
            metric.update(images, targets)


def build_model(name: str, options: Mapping[str, Any]) -> PpganModel:
    """An algorithm; the further option `seed` (0) is that of the networks' draws."""
    own = dict(options)
    seed = int(own.pop("seed", 0))
    own.pop("max_eval_steps", None)  # PaddleGAN's Trainer reads it from this section
    return PpganModel(MODELS.build({"name": name, **own}), seed)
