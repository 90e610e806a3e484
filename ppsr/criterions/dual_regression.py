"""Losses of dual regression: the SR pyramid against its targets, and the way back against the LR pyramid.

Guo et al., CVPR 2020, arXiv:2003.07018. PaddleGAN and PaddleDepth weigh the terms differently from the
original code; both styles are kept, because published weights exist for both.
"""

from __future__ import annotations

from collections.abc import Sequence

from paddle import Tensor

from ppsr.errors import ConfigError
from ppsr.precision import in_float32

__all__ = ["STYLES", "drn_losses", "l1_loss"]

STYLES = ("original", "paddledepth")


@in_float32
def l1_loss(x: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean absolute difference of images (N, C, H, W), each times its weight if there are weights (N)."""
    difference = (x - target).abs()
    return difference.mean() if weights is None else (difference.mean(axis=[1, 2, 3]) * weights).mean()


@in_float32
def drn_losses(
    sr: Sequence[Tensor],
    back: Sequence[Tensor],
    lr: Sequence[Tensor],
    hr: Tensor,
    *,
    style: str = "original",
    lq_loss_weight: float | None = None,
    dual_loss_weight: float = 0.1,
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """Primary, dual and total loss; L1 means in the unit of the images.

    Args:
        sr: the generator's images at x1, x2, ..., the full scale (P + 1 of them).
        back: `dual_i(sr[i + 1])` for i = 0..P-1.
        lr: the targets of the smaller images: LR, LR x2, ... (P of them).
        hr: the target of the last image.
        style: "original": all of `back` counts `dual_loss_weight`; "paddledepth": its first term counts 1,
            the others `dual_loss_weight`.
        lq_loss_weight: weight of the smaller images in the primary loss; default 1 (original) or 0.1
            (paddledepth).
        weights: factor (N) on every sample, 0 for those without targets.

    Raises:
        ConfigError: an unknown style, or lists of unequal lengths.
    """
    if style not in STYLES:
        raise ConfigError(f"dual regression: style must be 'original' or 'paddledepth', got {style!r}")
    if not len(sr) - 1 == len(back) == len(lr):
        raise ConfigError(
            f"dual regression: {len(sr)} SR images need {len(sr) - 1} LR targets and dual outputs, "
            f"got {len(lr)} and {len(back)}"
        )
    if lq_loss_weight is None:
        lq_loss_weight = 1.0 if style == "original" else 0.1
    primary = l1_loss(sr[-1], hr, weights)
    for image, target in zip(sr[:-1], lr, strict=True):
        primary = primary + lq_loss_weight * l1_loss(image, target, weights)
    first, *others = (l1_loss(image, target, weights) for image, target in zip(back, lr, strict=True))
    if style == "original":
        dual = sum(others, first)
        return {"primary": primary, "dual": dual, "total": primary + dual_loss_weight * dual}
    dual = first + dual_loss_weight * sum(others) if others else first
    return {"primary": primary, "dual": dual, "total": primary + dual}
