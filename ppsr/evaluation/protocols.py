"""Named evaluation protocols: what is measured on which pixels, and where the images are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppsr.degradations.depth import benchmark_lr
from ppsr.degradations.reflash_benchmark import VARIANTS, degrade
from ppsr.errors import ConfigError, did_you_mean
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.registry import METRICS

__all__ = ["PROTOCOLS", "Protocol", "find_protocol", "metric_key"]

# (HR image uint8 H x W x 3, scale, variant, generator, published) -> LR image uint8
Degrade = Callable[[np.ndarray, int, str, np.random.Generator, bool], np.ndarray]


@dataclass(frozen=True)
class Protocol:
    """One way to score.

    Attributes:
        about: one line for the table of protocols.
        color: channels measured by PSNR and SSIM.
        test_y_channel: whether this is luma.
        border: pixels cropped from each side; None: the scale.
        metrics: names in `METRICS`, as `metric_key` gives them; the first one orders the images.
        rounding: rounding of the images before they are compared.
        gt_layout: path of the HR images in the data folder; None if there is no ground truth.
        lq_layout: path of the LR images.
        variants: degradations -> their names in the table.
        make_lq: generates LR images; None if they must be given.
        lq_command: command that creates the LR images.
        has_fixed_script: the released script has a bug that can be fixed (`--lq-script`).
    """

    name: str
    about: str
    color: str
    border: int | None
    scales: tuple[int, ...]
    metrics: tuple[str, ...]
    gt_layout: str | None
    lq_layout: str
    sets: tuple[str, ...]
    test_y_channel: bool = False
    variants: Mapping[str, str] = field(default_factory=dict)
    make_lq: Degrade | None = None
    lq_command: str = ""
    has_fixed_script: bool = False
    rounding: str = "8 bit, half to even"

    def metric_configs(
        self, scale: int, names: Sequence[str] | None, options: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Entries of `METRICS` by `metric_key`, with border and channels of the protocol.

        Args:
            names: any of `METRICS`, in the order of the table; None: those of the protocol.
            options: further constructor arguments by `metric_key`.

        Raises:
            ConfigError: there is no such metric, it needs a ground truth that the protocol lacks, or options
                are for one that is not measured.
        """
        registered = {metric_key(name): name for name in METRICS.names()}
        given = {metric_key(name): name for name in (self.metrics if names is None else names)}
        for key, name in given.items():
            if key not in registered:
                raise ConfigError(f"there is no metric '{name}'; {did_you_mean(key, registered)}")
        for key in options:
            if key not in given:
                raise ConfigError(f"options of '{key}' have no effect: the metrics are {', '.join(given)}")
        border = scale if self.border is None else self.border
        configs: dict[str, dict[str, Any]] = {}
        for key in given:
            component = METRICS.get(registered[key])
            if self.gt_layout is None and not getattr(component, "no_reference", False):
                raise ConfigError(
                    f"metric '{key}' compares with a ground truth, which protocol '{self.name}' lacks"
                )
            shared = {
                "crop_border": 0 if getattr(component, "whole_image", False) else border,
                "test_y_channel": self.test_y_channel,
            }
            taken = inspect.signature(component).parameters
            configs[key] = {
                "name": registered[key],
                **{option: value for option, value in shared.items() if option in taken},
                **options.get(key, {}),
            }
        return configs


def _bicubic_lq(
    gt: np.ndarray, scale: int, variant: str, rng: np.random.Generator, published: bool
) -> np.ndarray:
    return matlab_resize_integers(gt, 1 / scale)


def _reflash_lq(
    gt: np.ndarray, scale: int, variant: str, rng: np.random.Generator, published: bool
) -> np.ndarray:
    return degrade(gt, variant, scale=scale, rng=rng)


def _depth_lq(
    gt: np.ndarray, scale: int, variant: str, rng: np.random.Generator, published: bool
) -> np.ndarray:
    return benchmark_lr(gt if gt.ndim == 2 else gt[..., 0], scale=scale, rng=rng, published=published)


_CLASSIC_SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="classic",
            about="MATLAB bicubic LR, made on the fly or read",
            color="Y of BT.601, not rounded",
            border=None,
            scales=(2, 3, 4, 8),
            test_y_channel=True,
            metrics=("psnr", "ssim"),
            gt_layout="{set}/HR",
            lq_layout="{set}/LR_bicubic/X{scale}",
            sets=_CLASSIC_SETS,
            make_lq=_bicubic_lq,
        ),
        Protocol(
            name="dsr",
            about="DSR-TestData of PaddleDepth: depth maps, gray repeated to three channels",
            color="Y of BT.601 of the repeated gray (1.322 dB above the gray's own PSNR)",
            border=4,
            scales=(4,),
            test_y_channel=True,
            metrics=("psnr", "ssim", "rmse", "mad", "pe"),
            gt_layout="test_HR",
            lq_layout="test_LR_x{scale}",
            sets=("DSR-TestData",),
            make_lq=_depth_lq,
            has_fixed_script=True,
        ),
        Protocol(
            name="reflash",
            about="eight degradations of Reflash Dropout's benchmark; seeded noise",
            color="RGB",
            border=4,
            scales=(4,),
            metrics=("psnr",),
            gt_layout="{set}/HR/x{scale}",
            lq_layout="{set}/LR_degra/{variant}",
            sets=("Set5", "Set14", "B100", "Manga109", "Urban100"),
            variants=VARIANTS,
            make_lq=_reflash_lq,
        ),
        Protocol(
            name="dasr",
            about="DASR's validation sets: type 1 weak, 2 standard, 3 severe; LPIPS of AlexNet by default",
            color="Y of BT.601, not rounded; LPIPS: RGB",
            border=4,
            scales=(4,),
            test_y_channel=True,
            metrics=("psnr", "ssim", "lpips"),
            gt_layout="{set}_valid_HR",
            lq_layout="{set}_valid_{variant}",
            sets=("DIV2K",),
            variants={"type1": "weak", "type2": "standard", "type3": "severe"},
            lq_command="ppsr prepare dasr-valid HR LR --type N",
        ),
        Protocol(
            name="realsr",
            about="real images without ground truth",
            color="Y of BT.601, rounded",
            border=0,
            scales=(1, 2, 3, 4, 8),
            metrics=("niqe",),
            gt_layout=None,
            lq_layout="LR",
            sets=("real",),
        ),
    )
}


def metric_key(name: str) -> str:
    """The name of a metric in tables, files and options.

    Example:
        >>> metric_key("LPIPSMetric"), metric_key("MS-SSIM")
        ('lpips', 'msssim')
    """
    return name.lower().replace("_", "").replace("-", "").removesuffix("metric")


def find_protocol(name: str, scale: int) -> Protocol:
    """Look up a protocol by name.

    Raises:
        ConfigError: unknown protocol or unsupported scale.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol '{name}'; {did_you_mean(name, PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    if scale not in protocol.scales:
        valid = ", ".join(map(str, protocol.scales))
        raise ConfigError(f"protocol '{name}' supports the scales {valid}, got {scale!r}")
    return protocol
