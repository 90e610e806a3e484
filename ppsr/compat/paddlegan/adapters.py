"""Adapters for components of ppsr in PaddleGAN's Trainer; see `ppsr.compat.ppgan`."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.sharedctypes import RawArray
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from ppsr.errors import ConfigError
from ppsr.generators.apply import pad_to_multiple
from ppsr.registry import CRITERIONS, DATASETS, DISCRIMINATORS, GENERATORS, METRICS

Options = Mapping[str, Any]


def build_generator(name: str, options: Options) -> nn.Layer:
    """A network that takes images of any size, as PaddleGAN's tests feed them."""
    net = GENERATORS.build({"name": name, **options})
    if getattr(net, "size_multiple", 1) > 1:
        _accept_any_size(net)
    return net


def _accept_any_size(net: nn.Layer) -> None:
    """Pad before and cut after every call, by hooks, which leave names of parameters as they are."""
    sizes: list[tuple[int, int]] = []

    def pad(layer: nn.Layer, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        sizes.append((inputs[0].shape[2], inputs[0].shape[3]))
        return (pad_to_multiple(inputs[0], layer.size_multiple), *inputs[1:])

    def cut(layer: nn.Layer, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        height, width = sizes.pop()
        return output[:, :, : height * layer.scale, : width * layer.scale]

    net.register_forward_pre_hook(pad)
    net.register_forward_post_hook(cut)


def build_discriminator(name: str, options: Options) -> nn.Layer:
    return DISCRIMINATORS.build({"name": name, **options})


class _Pair:
    """A perceptual loss that returns (perceptual, style), each None when it is off, as PaddleGAN unpacks."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def __call__(self, sr: Tensor, gt: Tensor) -> tuple[Tensor | None, Tensor | None]:
        parts = self.loss.parts(sr, gt)
        return parts.get("percep"), parts.get("style")


def build_criterion(name: str, options: Options) -> Any:
    """A loss; one of several parts returns them as PaddleGAN's models expect."""
    loss = CRITERIONS.build({"name": name, **options})
    return _Pair(loss) if hasattr(loss, "parts") else loss


class PpganDataset(paddle.io.Dataset):
    """A data set of ppsr behind plain indices, which is how PaddleGAN asks.

    ppsr draws windows and degradations from (seed, epoch, index); the epoch of an index is how often it was
    asked for. The counts are in memory that loader workers share, so each epoch has windows of its own also
    where PaddleGAN restarts its workers.

    Args:
        rgb_range: factor on all images; PaddleGAN's DRN works in 0..255.
    """

    def __init__(self, dataset: Any, rgb_range: float) -> None:
        super().__init__()
        self.dataset = dataset
        self.rgb_range = rgb_range
        self._visits = RawArray("L", max(1, len(dataset)))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch = self._visits[index]
        self._visits[index] = epoch + 1
        item = {key: self._scaled(value) for key, value in self.dataset[epoch, index].items()}
        if "lq_x2" in item:
            item["lqx2"] = item["lq_x2"]  # what PaddleGAN's DRN calls it
        item.setdefault("lq_path", item.get("gt_path", str(index)))
        return item

    def _scaled(self, value: Any) -> Any:
        is_image = isinstance(value, np.ndarray) and value.ndim == 3
        return value * np.float32(self.rgb_range) if is_image and self.rgb_range != 1 else value


def build_dataset(name: str, options: Options) -> PpganDataset:
    """A data set; the further option `rgb_range` (1) is the largest value of its images.

    Raises:
        ConfigError: a wrong option, or degradation on the device, which PaddleGAN's loader cannot finish.
    """
    own = dict(options)
    rgb_range = float(own.pop("rgb_range", 1))
    dataset = DATASETS.build({"name": name, **own})
    if getattr(dataset, "backend", "host") != "host":
        if (own.get("degradation") or {}).get("backend") is not None:
            raise ConfigError(f"PPSR_{name}: PaddleGAN's loader degrades on the host; set backend: host")
        dataset.backend = "host"
    return PpganDataset(dataset, rgb_range)


class PpganMetric(paddle.metric.Metric):
    """A metric of ppsr that gathers scores as PaddleGAN asks: reset, update, accumulate."""

    def __init__(self, metric: Any, name: str) -> None:
        super().__init__()
        self._metric = metric
        self._title = name
        self.reset()

    def reset(self) -> None:
        """Forget all scores."""
        self.results: list[float] = []

    def update(self, preds: Any, gts: Any, is_seq: bool = False) -> None:
        """Score images H x W x C in 0..255; those of a sequence count as one, their mean."""
        preds, gts = ([x] if isinstance(x, np.ndarray) else x for x in (preds, gts))
        scores = [float(self._metric(sr, gt)) for sr, gt in zip(preds, gts, strict=True)]
        self.results += [float(np.mean(scores))] if is_seq else scores

    def accumulate(self) -> float:
        """Mean over all images, of all processes."""
        total = paddle.to_tensor([sum(self.results), len(self.results)], dtype="float64")
        if paddle.distributed.get_world_size() > 1:
            paddle.distributed.all_reduce(total)
        value, count = total.tolist()
        return value / count if count else 0.0

    def name(self) -> str:
        """Name in the configuration."""
        return self._title


def build_metric(name: str, options: Options) -> PpganMetric:
    """A metric."""
    return PpganMetric(METRICS.build({"name": name, **options}), name)
