"""Published scores to compare measured ones with, read from published.csv.

The file lists only numbers that were checked against a release page or a second source, with their source.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ppsr.evaluation.evaluate import Evaluation
    from ppsr.metrics.scoring import SetScore


_METRICS = ("psnr", "ssim", "rmse", "mad")


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
    """A published score and the measured one minus it; None where the two are not comparable."""

    method: str
    metric: str
    published: float
    difference: float | None
    source: str


def _read() -> Iterator[Reference]:
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            scores = {metric: float(row[metric]) for metric in _METRICS if row[metric]}
            yield Reference(
                row["protocol"],
                row["dataset"],
                int(row["scale"]),
                row["method"],
                scores,
                row["source"],
                row["variant"],
                row["comparable"] == "yes",
            )


PUBLISHED = tuple(_read())

_ALIASES = {"bsd100": "B100", "bsds100": "B100"}
_ALIASES_OF_METHODS = {"SwinIR-M": "SwinIR"}
_SET_SIZES = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}


def canonical_set(name: str) -> str:
    """A set's name as the table spells it, matched regardless of case."""
    known = {reference.dataset.lower(): reference.dataset for reference in PUBLISHED}
    return _ALIASES.get(name.lower()) or known.get(name.lower(), name)


def references(protocol: str, dataset: str, scale: int, variant: str = "") -> list[Reference]:
    """Published scores of one set and degradation."""
    wanted = (protocol, canonical_set(dataset), scale, variant)
    return [r for r in PUBLISHED if (r.protocol, r.dataset, r.scale, r.variant) == wanted]


def differences(evaluation: Evaluation, score: SetScore) -> list[Difference]:
    """Compare the means of a set with published scores of that set.

    Only scores of the same method on the whole set are comparable; other methods are listed for reference.
    """
    found = []
    complete = _SET_SIZES.get(canonical_set(score.name), len(score.rows)) == len(score.rows)
    for r in references(evaluation.protocol.name, score.name, evaluation.scale, score.variant):
        base = r.method.partition(" (")[0].partition(" + ")[0]  # without notes: `HAT-L (ImageNet)`
        same = r.comparable and complete and base in evaluation.published_as
        found += [
            Difference(r.method, metric, value, score.means[metric] - value if same else None, r.source)
            for metric, value in r.scores.items()
            if metric in score.means
        ]
    return found


def method_names(network: str, scale: int, parameters: int) -> set[str]:
    """Names under which a network was published, found by its class, scale and number of parameters.

    Example:
        >>> method_names("RRDBNet", 4, 16_697_987)
        {'Real-RRDB'}
    """
    from ppsr.generators.variants import all_variants

    names = {
        variant.name.rpartition("_x")[0]
        for variant in all_variants()
        if (variant.generator, variant.scale, variant.parameters) == (network, scale, parameters)
    }
    return {_ALIASES_OF_METHODS.get(name, name) for name in names}
