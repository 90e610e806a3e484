"""The table of scores that `ppsr evaluate` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ppsr.evaluation.evaluate import Evaluation
from ppsr.evaluation.published import differences
from ppsr.metrics.scoring import FailedImage, SetScore

__all__ = ["set_label", "table_lines"]

_DIGITS = {"psnr": 2}
_LISTED = 10  # images without a score that are printed for each set


def set_label(score: SetScore) -> str:
    return f"{score.name} {score.variant}".strip()


def table_lines(evaluations: Sequence[Evaluation], *, images: bool = False) -> Iterator[str]:
    """The scores of several methods on the same sets, and the images without a score.

    Example:
        >>> print(*table_lines([bicubic, network]), sep="\\n")
        classic, x4, network on whole images
        set   images  method               psnr ↑   ssim ↑
        Set5  5       bicubic               28.43   0.8113
              5       IMDN_x4               32.21   0.8948
                      published: IMDN       32.21   0.8948
                      IMDN_x4 - published   +0.00  +0.0000
    """
    first = evaluations[0]
    tilings = dict.fromkeys(evaluation.tiling for evaluation in evaluations if evaluation.tiling)
    head = [first.protocol.name, f"x{first.scale}", *(f"network on {tiling}" for tiling in tilings)]
    yield ", ".join(head)
    if first.options:  # lpips net=vgg; rmse definition=published
        options = {m: ", ".join(f"{k}={v}" for k, v in given.items()) for m, given in first.options.items()}
        yield "options: " + "; ".join(f"{metric} {text}" for metric, text in options.items())
    metrics = list(dict.fromkeys(m for e in evaluations for score in e.sets for m in score.means))
    titles = [f"{metric} {'↑' if first.higher_is_better[metric] else '↓'}" for metric in metrics]
    rows = [["set", "images", "method", *titles]]
    for index, score in enumerate(first.sets):
        label = set_label(score)
        for name, method, values in _set_rows(evaluations, index, images=images):
            cells = [_number(metric, values.get(metric), signed=" - " in method) for metric in metrics]
            rows.append([label, " ".join(name.split()), method, *cells])
            label = ""
    yield from _aligned(rows)
    methods: dict[str, dict[FailedImage, list[str]]] = {}
    for evaluation in evaluations:
        for score in evaluation.sets:
            for problem in score.problems:
                methods.setdefault(set_label(score), {}).setdefault(problem, []).append(evaluation.method)
    for label, problems in methods.items():
        for (name, kind, reason), failed in islice(problems.items(), _LISTED):
            yield f"no score: {', '.join(failed)}, {label}: {name}: {kind}: {reason}"
        if len(problems) > _LISTED:
            yield f"no score: {label}: {len(problems) - _LISTED} more, listed in the report"
    if first.absent:
        yield f"not found: {', '.join(first.absent)}"


def _set_rows(
    evaluations: Sequence[Evaluation], index: int, *, images: bool
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(image or number of images, method, values) of one set."""
    if images:
        for name in dict.fromkeys(name for e in evaluations for name in e.sets[index].rows):
            for e in evaluations:
                if name in e.sets[index].rows:
                    yield name, e.method, e.sets[index].rows[name]
    for e in evaluations:
        yield str(len(e.sets[index].rows)), e.method, e.sets[index].means
    for e in evaluations:
        published: dict[str, dict[str, float]] = {}
        beside: dict[str, dict[str, float]] = {}
        for d in differences(e, e.sets[index]):
            if d.difference is not None:
                published.setdefault(d.method, {})[d.metric] = d.published
                beside.setdefault(d.method, {})[d.metric] = d.difference
        for method, values in published.items():
            yield "", f"published: {method}", values
            yield "", f"{e.method} - published", beside[method]


def _number(metric: str, value: float | None, *, signed: bool) -> str:
    if value is None:
        return ""
    digits = _DIGITS.get(metric, 4)
    rounded = round(value, digits) + 0.0  # no negative zero
    return f"{rounded:{'+' if signed else ''}.{digits}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Texts to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            f"{c:<{w}}" if i < 3 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
