"""Evaluations as files: JSON, CSV, Markdown and image grids."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppsr.errors import ConfigError, DataError
from ppsr.evaluation.evaluate import Evaluation
from ppsr.evaluation.published import differences
from ppsr.files import atomic_write, json_number
from ppsr.imaging.arrays import captioned, displayed
from ppsr.imaging.io import to_uint8, write_image
from ppsr.imaging.resize import matlab_resize
from ppsr.metrics.scoring import FailedImage, ImageTriplet, SetScore

__all__ = [
    "check_folder",
    "draw_grid",
    "set_label",
    "set_to_json",
    "table_lines",
    "to_json",
    "to_markdown",
    "unused_folder",
    "write_report",
]

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


_ERROR_GAIN = 4
_LARGEST_GRID = 512  # pixels a side


def set_to_json(score: SetScore) -> dict[str, Any]:
    """Count, means, scores of images and failed images of a set."""
    return {
        "count": len(score.rows),
        "mean": {name: json_number(value) for name, value in score.means.items()},
        "images": {
            name: {metric: json_number(value) for metric, value in row.items()}
            for name, row in score.rows.items()
        },
        "problems": [problem._asdict() for problem in score.problems],
    }


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Scores of every image and means; those of a single set are at the top level too."""
    results = [
        {
            "set": score.name,
            "variant": score.variant,
            **set_to_json(score),
            "published": [
                {**d._asdict(), "difference": None if d.difference is None else json_number(d.difference)}
                for d in differences(evaluation, score)
            ],
        }
        for score in evaluation.sets
    ]
    head: dict[str, Any] = {
        "protocol": evaluation.protocol.name,
        "scale": evaluation.scale,
        "method": evaluation.method,
    }
    if evaluation.tiling:
        head["tiling"] = evaluation.tiling
    head["options"] = {
        name: {key: str(value) for key, value in arguments.items()}
        for name, arguments in evaluation.options.items()
    }
    first = {key: results[0][key] for key in ("count", "mean", "published", "images", "problems")}
    return {**head, **(first if len(results) == 1 else {}), "sets": results, "absent": evaluation.absent}


def to_csv(evaluation: Evaluation) -> str:
    """A line per image, the means, and published scores with the difference to them."""
    known = {name for score in evaluation.sets for name in score.means}
    metrics = [name for name in evaluation.higher_is_better if name in known]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    # "picture" is the published name of the column, by which scripts find it
    writer.writerow(["set", "variant", "picture", *metrics])
    for score in evaluation.sets:
        rows = {**score.rows, f"mean of {len(score.rows)}": score.means}
        for d in differences(evaluation, score):
            rows.setdefault(f"published: {d.method}", {})[d.metric] = d.published
            if d.difference is not None:
                rows.setdefault(f"mean minus published: {d.method}", {})[d.metric] = d.difference
        for name, row in rows.items():
            writer.writerow([score.name, score.variant, name, *(row.get(m, "") for m in metrics)])
    return buffer.getvalue()


def to_markdown(evaluation: Evaluation) -> str:
    """The settings and the table of all images, with published scores of the same method."""
    protocol = evaluation.protocol
    border = evaluation.scale if protocol.border is None else protocol.border
    lines = [
        f"# {protocol.name}, x{evaluation.scale}: {evaluation.method}",
        "",
        f"{protocol.about}. Channels: {protocol.color}. Border: {border} px. Rounding: {protocol.rounding}.",
        "",
    ]
    if protocol.variants and len(evaluation.sets) > 1:
        lines += _pivot(evaluation)
    lines += ["```text", *table_lines([evaluation], images=True), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    texts = [header, ["---"] * len(header), *rows]
    return [*("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in texts), ""]


def _pivot(evaluation: Evaluation) -> list[str]:
    """The paper's table: sets by degradations, one per metric."""
    variants = [v for v in evaluation.protocol.variants if any(s.variant == v for s in evaluation.sets)]
    cells = {(s.name, s.variant): s.means for s in evaluation.sets}
    lines = []
    for metric in {name: None for s in evaluation.sets for name in s.means}:
        rows = []
        for name in dict.fromkeys(s.name for s in evaluation.sets):
            means = (cells.get((name, variant), {}).get(metric) for variant in variants)
            rows.append([name, *("" if mean is None else f"{mean:.2f}" for mean in means)])
        lines += _table([metric, *(evaluation.protocol.variants[v] for v in variants)], rows)
    return lines


def unused_folder(folder: Path) -> Path:
    """The first of folder, folder-2, folder-3, ... that does not exist."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(place for place in itertools.chain([folder], numbered) if not place.exists())


def check_folder(folder: str | Path) -> None:
    """Check before long work that a report can be written; creates nothing.

    Raises:
        ConfigError: the path or a part of it is a file, or the folder is not writable.
    """
    folder = Path(folder).absolute()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir():
        raise ConfigError(f"{place} is a file, but the report needs a folder; choose another output")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{place} is not writable; choose another output")


def write_report(evaluation: Evaluation, folder: str | Path, *, grid: bool = True) -> None:
    """Write metrics.json, metrics.csv, report.md, and the best and worst image of each set as grids."""
    folder = Path(folder)
    atomic_write(folder / "metrics.json", json.dumps(to_json(evaluation), indent=1, allow_nan=False))
    atomic_write(folder / "metrics.csv", to_csv(evaluation))
    atomic_write(folder / "report.md", to_markdown(evaluation))
    if not grid:
        return
    for score, source in zip(evaluation.sets, evaluation.sources, strict=True):
        for kind, name in _extremes(evaluation, score):
            try:
                image = draw_grid(source.read(name), evaluation.scale)
            except DataError:
                continue  # it was readable a moment ago; the scores stand without the grid
            title = f"{set_label(score)} {kind} {name}"  # the name may be a path
            write_image(folder / f"{title.replace('/', '_').replace(' ', '_')}.png", image)


def _extremes(evaluation: Evaluation, score: SetScore) -> list[tuple[str, str]]:
    """Names of the best and the worst image by the first metric."""
    if not score.rows:
        return []
    metric = next(iter(score.means))
    better = evaluation.higher_is_better[metric]
    ordered = sorted(score.rows, key=lambda name: score.rows[name][metric], reverse=better)
    return [("best", ordered[0]), ("worst", ordered[-1])] if len(ordered) > 1 else [("only", ordered[0])]


def draw_grid(triple: ImageTriplet, scale: int) -> np.ndarray:
    """LR (enlarged by repetition), bicubic, SR, HR and the error map side by side, uint8.

    Large images show their centre of 512 pixels, multispectral ones their first three bands. The map is
    the absolute error, mean over channels, four times as strong, from black to yellow.
    """
    tiles = {}
    if triple.lq is not None:
        lq = displayed(triple.lq)
        tiles["LR"] = np.repeat(np.repeat(lq, scale, axis=0), scale, axis=1)
        tiles["bicubic"] = to_uint8(matlab_resize(lq.astype(np.float32) / 255, scale))
    tiles["SR"] = displayed(triple.sr)
    if triple.gt is not None:
        tiles["HR"] = displayed(triple.gt)
        difference = np.abs(triple.sr.astype(int) - triple.gt.astype(int)).mean(axis=2) * _ERROR_GAIN
        colored = cv2.applyColorMap(np.clip(difference, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        tiles[f"error x{_ERROR_GAIN}"] = np.ascontiguousarray(colored[..., ::-1])
    height, width = (min(side, _LARGEST_GRID) for side in triple.sr.shape[:2])
    top, left = (triple.sr.shape[0] - height) // 2, (triple.sr.shape[1] - width) // 2
    return np.concatenate(
        [captioned(tile[top : top + height, left : left + width], text) for text, tile in tiles.items()],
        axis=1,
    )
