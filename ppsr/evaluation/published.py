"""Published scores, to show how far an own one is. Each has its source; none was measured here.

Only numbers that were checked against a release page or a second source are listed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "PUBLISHED",
    "Difference",
    "Reference",
    "canonical_set",
    "differences",
    "method_names",
    "references",
]


@dataclass(frozen=True)
class Reference:
    """Scores of one method on one set."""

    protocol: str
    dataset: str
    scale: int
    method: str
    scores: dict[str, float]
    source: str
    variant: str = ""
    comparable: bool = True  # whether its metrics are those of the protocol


class Difference(NamedTuple):
    """An own score beside a published one; `difference` is own minus published, None where the two are not
    comparable."""

    method: str
    metric: str
    published: float
    difference: float | None
    source: str


_LITERATURE = "the bicubic column of the x2, x3, x4 tables of the literature"
_DRN = "DRN's and DRC's release pages"
_GAN = "PaddleGAN's documentation, drns_x4"
_SWINIR = "SwinIR's paper, arXiv:2108.10257, table 2 (trained on DF2K)"
_LIGHT = "SwinIR's paper, arXiv:2108.10257, table 3 (trained on DIV2K)"
_T91 = "its paper, as github.com/yjn870 cites it (trained on T91)"
_HAT = "HAT's release page"
_HAT_PAPER = "HAT's paper, arXiv:2205.04437 (trained on DF2K)"
_DRCT = "DRCT's release page"
_DEPTH = "PaddleDepth's release page"
_REFLASH = "headline figure of Reflash Dropout (its set is not printed, taken as Set5)"

_CLASSIC = [
    *[
        Reference("classic", "Set5", scale, "bicubic", {"psnr": value}, _LITERATURE)
        for scale, value in ((2, 33.66), (3, 30.39), (4, 28.42))
    ],
    *[
        Reference("classic", "Set5", scale, "FSRCNN", {"psnr": value}, _T91)
        for scale, value in ((2, 36.94), (3, 33.06), (4, 30.55))
    ],
    Reference("classic", "Set5", 3, "ESPCN", {"psnr": 32.55}, _T91),
    Reference("classic", "Set5", 4, "DRN-S", {"psnr": 32.68}, _DRN),
    Reference("classic", "Set5", 4, "DRN-L", {"psnr": 32.74}, _DRN),
    Reference("classic", "Set5", 8, "DRN-S", {"psnr": 27.41}, _DRN),
    Reference("classic", "Set5", 8, "DRN-L", {"psnr": 27.43}, _DRN),
    Reference("classic", "Set5", 4, "DRN-S (PaddleGAN)", {"psnr": 32.6684, "ssim": 0.8999}, _GAN),
    Reference("classic", "Set14", 4, "DRN-S (PaddleGAN)", {"psnr": 28.9037, "ssim": 0.7885}, _GAN),
]


_SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")


def _x4(method: str, source: str, *psnr: float) -> Iterator[Reference]:
    for dataset, value in zip(_SETS, psnr, strict=True):
        yield Reference("classic", dataset, 4, method, {"psnr": value}, source)


def _pairs(method: str, scale: int, source: str, *scores: tuple[float, float]) -> Iterator[Reference]:
    """PSNR and SSIM of the five sets."""
    for dataset, (psnr, ssim) in zip(_SETS, scores, strict=True):
        yield Reference("classic", dataset, scale, method, {"psnr": psnr, "ssim": ssim}, source)


_ATTENTION = [
    *_pairs(
        "SwinIR",
        2,
        _SWINIR,
        (38.42, 0.9623),
        (34.46, 0.9250),
        (32.53, 0.9041),
        (33.81, 0.9427),
        (39.92, 0.9797),
    ),
    *_pairs(
        "SwinIR",
        3,
        _SWINIR,
        (34.97, 0.9318),
        (30.93, 0.8534),
        (29.46, 0.8145),
        (29.75, 0.8826),
        (35.12, 0.9537),
    ),
    *_pairs(
        "SwinIR",
        4,
        _SWINIR,
        (32.92, 0.9044),
        (29.09, 0.7950),
        (27.92, 0.7489),
        (27.45, 0.8254),
        (32.03, 0.9260),
    ),
    *_pairs(
        "IMDN",
        2,
        _LIGHT,
        (38.00, 0.9605),
        (33.63, 0.9177),
        (32.19, 0.8996),
        (32.17, 0.9283),
        (38.88, 0.9774),
    ),
    *_pairs(
        "IMDN",
        3,
        _LIGHT,
        (34.36, 0.9270),
        (30.32, 0.8417),
        (29.09, 0.8046),
        (28.17, 0.8519),
        (33.61, 0.9445),
    ),
    *_pairs(
        "IMDN",
        4,
        _LIGHT,
        (32.21, 0.8948),
        (28.58, 0.7811),
        (27.56, 0.7353),
        (26.04, 0.7838),
        (30.45, 0.9075),
    ),
    *_pairs(
        "HAT",
        2,
        _HAT_PAPER,
        (38.63, 0.9630),
        (34.86, 0.9274),
        (32.62, 0.9053),
        (34.45, 0.9466),
        (40.26, 0.9809),
    ),
    *_x4("HAT-S", _HAT, 32.92, 29.15, 27.97, 27.87, 32.35),
    *_pairs(
        "HAT",
        4,
        _HAT_PAPER,
        (33.04, 0.9056),
        (29.23, 0.7973),
        (28.00, 0.7517),
        (27.97, 0.8368),
        (32.48, 0.9292),
    ),
    *_x4("HAT-L (ImageNet)", _HAT, 33.30, 29.47, 28.09, 28.60, 33.09),
    *_x4("DRCT", _DRCT, 33.11, 29.35, 28.18, 28.06, 32.59),
    *_x4("DRCT-L (ImageNet)", _DRCT, 33.37, 29.54, 28.16, 28.70, 33.14),
]

_DEPTH_ROWS = [
    Reference(
        "dsr",
        "DSR-TestData",
        4,
        method,
        dict(zip(("psnr", "ssim", "rmse", "mad"), scores, strict=True)),
        _DEPTH + note,
        comparable=not note,
    )
    for method, scores, note in (
        ("WAFP-Net", (42.0344, 0.9834, 2.5561, 0.9246), ""),
        ("PMBANet", (41.0418, 0.9825, 2.4728, 0.6278), " (PSNR not on Y, so not comparable)"),
        ("RCAN", (42.5297, 0.9850, 2.4401, 0.6685), ""),
        ("DRN-S", (42.4906, 0.9850, 2.4634, 0.6506), ""),
    )
]

_REFLASH_ROWS = [
    Reference("reflash", "Set5", 4, method, {"psnr": value}, _REFLASH, variant)
    for method, values in (
        ("Real-SRResNet", (24.89, 24.76, 23.75, 23.70)),
        ("Real-SRResNet + dropout 0.7", (25.67, 25.34, 24.14, 24.06)),
        ("Real-RRDB", (25.21, 25.14, 24.01, 23.86)),
        ("Real-RRDB + dropout 0.5", (26.05, 26.09, 24.64, 24.32)),
    )
    for variant, value in zip(
        ("bicubic", "blur2_bicubic", "bicubic_noise20", "bicubic_jepg50"), values, strict=True
    )
]

PUBLISHED = (*_CLASSIC, *_ATTENTION, *_DEPTH_ROWS, *_REFLASH_ROWS)

_ALIASES = {"bsd100": "B100", "bsds100": "B100"}
_ALIASES_OF_METHODS = {"SwinIR-M": "SwinIR"}
_SET_SIZES = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}


def canonical_set(name: str) -> str:
    """A set's name as the table spells it, whatever the case of letters."""
    known = {reference.dataset.lower(): reference.dataset for reference in PUBLISHED}
    return _ALIASES.get(name.lower()) or known.get(name.lower(), name)


def references(protocol: str, dataset: str, scale: int, variant: str = "") -> list[Reference]:
    """Published scores that an evaluation compares with."""
    wanted = (protocol, canonical_set(dataset), scale, variant)
    return [r for r in PUBLISHED if (r.protocol, r.dataset, r.scale, r.variant) == wanted]


def differences(
    protocol: str,
    dataset: str,
    scale: int,
    variant: str,
    means: Mapping[str, float],
    *,
    methods: Collection[str],
    count: int,
) -> list[Difference]:
    """Published scores of a set beside own means.

    They are comparable where the same method was scored on the whole set. Another method's score is there for
    reference: a difference to it says nothing about either.

    Args:
        protocol: name.
        dataset: name of the set.
        scale: of the evaluation.
        variant: degradation, or "".
        means: metric -> own value.
        methods: names under which the scored method was published; see `method_names`.
        count: images that were scored.
    """
    found = []
    complete = _SET_SIZES.get(canonical_set(dataset), count) == count
    for r in references(protocol, dataset, scale, variant):
        same = r.comparable and complete and _base(r.method) in methods
        found += [
            Difference(r.method, metric, value, means[metric] - value if same else None, r.source)
            for metric, value in r.scores.items()
            if metric in means
        ]
    return found


def _base(method: str) -> str:
    """A method without notes on its training: `HAT-L (ImageNet)`, `Real-RRDB + dropout 0.5`."""
    return method.partition(" (")[0].partition(" + ")[0]


def method_names(network: str, scale: int, parameters: int) -> set[str]:
    """Names under which a network was published, found by its class, scale and number of parameters.

    Example:
        >>> method_names("RRDBNet", 4, 16_697_987)
        {'Real-RRDB'}
    """
    from ppsr.generators.variants import VARIANTS

    names = {
        variant.name.rpartition("_x")[0]
        for variant in VARIANTS
        if (variant.generator, variant.scale, variant.parameters) == (network, scale, parameters)
    }
    return {_ALIASES_OF_METHODS.get(name, name) for name in names}
