"""Sets and degradations that an evaluation scores, and where their images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ppsr.errors import ConfigError, DataError
from ppsr.evaluation.protocols import Protocol
from ppsr.evaluation.sources import SetTask

__all__ = ["find_sets"]


def find_sets(
    protocol: Protocol,
    scale: int,
    *,
    gt: str | Path | None,
    sr: str | Path | None,
    lq: str | Path | None,
    data: str | Path | None,
    sets: Sequence[str] | None,
    name: str | None,
) -> tuple[list[SetTask], list[str]]:
    """Find the sets and degradations to score, and the protocol's sets that are missing from `data`."""
    if data is None:
        if sets:
            raise ConfigError("'sets' requires 'data'; for a single set pass 'gt' and optionally 'name'")
        if protocol.gt_layout is not None and gt is None:
            raise ConfigError(f"protocol '{protocol.name}' needs HR images: give gt or data")
        if protocol.gt_layout is None and sr is None and lq is None:
            raise ConfigError(f"protocol '{protocol.name}' needs images: give lq, sr or data")
        if protocol.make_lq is None and sr is None and lq is None:
            raise ConfigError(
                f"protocol '{protocol.name}' needs LR images: give lq (created by {protocol.lq_command})"
            )
        label = name or _guess_name(protocol, gt or lq or sr)
        found = _variants(protocol, label, gt=gt, lq=lq, sr=sr)
        return [replace(task, recursive=True) for task in found], []
    if gt is not None or lq is not None:
        raise ConfigError("give either data or gt and lq, not both")
    if name is not None:
        raise ConfigError("name applies to a set given by gt or lq; select sets of data by sets")
    tasks, absences = [], []
    for label in sets or protocol.sets:
        gt_place = (
            None if protocol.gt_layout is None else Path(data) / _fill(protocol.gt_layout, label, scale)
        )
        if gt_place is not None and gt_place.name == f"x{scale}" and not gt_place.is_dir():
            gt_place = gt_place.parent  # HR that serves all scales
        if gt_place is not None and not gt_place.is_dir() and not sets:
            absences.append(label)
            continue
        lq_place: Path | None = Path(data) / _fill(protocol.lq_layout, label, scale)
        absent = not protocol.variants and not Path(str(lq_place)).is_dir()
        if sr is not None or (absent and protocol.make_lq is not None):
            lq_place = None
        place = None if sr is None else Path(sr) / label
        tasks += _variants(protocol, label, gt=gt_place, lq=lq_place, sr=place)
    if not tasks:
        layout = protocol.gt_layout or protocol.lq_layout
        raise DataError(
            f"{data} contains none of {', '.join(protocol.sets)}; the expected layout is {layout}"
        )
    return tasks, absences


def _fill(layout: str, name: str, scale: int) -> str:
    return layout.replace("{set}", name).replace("{scale}", str(scale))


def _guess_name(protocol: Protocol, place: str | Path | None) -> str:
    """The part of a path that is a known set, or its last folder."""
    parts = [p for p in Path(str(place)).absolute().parts if not any(sign in p for sign in "*?[")]
    known = {name.lower(): name for name in protocol.sets}
    found = [known[part.lower()] for part in parts if part.lower() in known]
    return found[-1] if found else parts[-1]


def _variants(
    protocol: Protocol, name: str, *, gt: str | Path | None, lq: str | Path | None, sr: str | Path | None
) -> list[SetTask]:
    """One task per degradation, an absent one too where others are there; a folder of images instead of a
    folder of degradations is one task."""
    if not protocol.variants:
        return [SetTask(name, "", gt, lq, sr)]
    given = sr if sr is not None else lq
    if given is None:
        return [SetTask(name, variant, gt, None, None) for variant in protocol.variants]
    text = str(given)
    template = text if "{variant}" in text else f"{text}/{{variant}}"
    places = {variant: Path(template.replace("{variant}", variant)) for variant in protocol.variants}
    found = {variant: place for variant, place in places.items() if place.is_dir()}
    if not found and "{variant}" in text:
        if protocol.make_lq is None:
            raise DataError(f"none of {', '.join(map(str, places.values()))} is there; {protocol.lq_command}")
        return [SetTask(name, variant, gt) for variant in protocol.variants]
    if not found:
        folder = Path(text).name
        found = {
            next((v for v in protocol.variants if folder == v or folder.endswith(f"_{v}")), ""): Path(text)
        }
        places = found
    # An absent degradation is not made: LR images drawn here and read ones would share one table
    return [
        SetTask(
            name,
            variant,
            gt,
            lq=None if sr is not None else place,
            sr=None if sr is None else place,
            absent="" if variant in found else f"there is no folder {place}",
        )
        for variant, place in places.items()
    ]
