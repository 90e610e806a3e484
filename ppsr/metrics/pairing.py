"""Which picture belongs to which: names of HR, LR and SR files differ between data sets and programs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ppsr.errors import DataError
from ppsr.imaging.io import IMAGE_SUFFIXES, list_images

__all__ = ["Pairing", "by_name", "find_pictures", "pair_pictures"]

# what programs append to a name: img_001_SRF_4_HR, babyx2, cones_x4, 0801_HR
_DECORATION = re.compile(r"(_SRF_\d+_(HR|LR)|[_-]?x\d+|[_-](HR|LR|SR|GT|LQ))$", re.IGNORECASE)


@dataclass(frozen=True)
class Pairing:
    """HR pictures with their partners.

    Attributes:
        pairs: name -> (HR, partner), by name.
        missing: HR pictures without a partner.
        extra: pictures that belong to no HR picture.
        duplicates: pictures left out -> the one of the same name and folder that was taken.
    """

    pairs: dict[str, tuple[Path, Path]]
    missing: list[str]
    extra: list[str]
    duplicates: dict[Path, Path] = field(default_factory=dict)


def find_pictures(place: str | Path) -> list[Path]:
    """Pictures of a folder, or those that match a pattern such as `Set14/*_HR.png`.

    Raises:
        DataError: no such folder, or nothing in it.
    """
    place = Path(place)
    if any(sign in place.name for sign in "*?["):
        matched = place.parent.glob(place.name)
        visible = (p for p in matched if not p.name.startswith("."))
        pictures = sorted(p for p in visible if p.suffix.lower() in IMAGE_SUFFIXES)
    else:
        pictures = list_images(place)
    if not pictures:
        raise DataError(f"{place} holds no pictures")
    return pictures


def by_name(pictures: Iterable[Path]) -> tuple[dict[str, Path], dict[Path, Path]]:
    """Pictures by name without suffix, and those left out (`a.png` after `a.jpg`) -> the one that was
    taken."""
    named: dict[str, Path] = {}
    duplicates = {}
    for path in pictures:
        if named.setdefault(path.stem, path) != path:
            duplicates[path] = named[path.stem]
    return named, duplicates


def plain_name(stem: str) -> str:
    """A name without what programs append."""
    while (shorter := _DECORATION.sub("", stem)) not in (stem, ""):
        stem = shorter
    return stem


def pair_pictures(gt: Iterable[Path], others: Iterable[Path]) -> Pairing:
    """Pair by equal names; then by names without decoration; then an HR name that begins the other's name
    (`0801` and `0801_CDDNet`), the longest first. A picture is used once."""
    (free_gt, left_out), (free, left_out_others) = by_name(gt), by_name(others)
    pairs: dict[str, tuple[Path, Path]] = {}

    def take(name: str, other: str) -> None:
        pairs[name] = (free_gt.pop(name), free.pop(other))

    for name in [name for name in free_gt if name in free]:
        take(name, name)
    plain: dict[str, list[str]] = {}
    for other in free:
        plain.setdefault(plain_name(other), []).append(other)
    plain_gt = [plain_name(name) for name in free_gt]
    for name in list(free_gt):
        candidates = plain.get(plain_name(name), [])
        if len(candidates) == 1 and plain_gt.count(plain_name(name)) == 1:
            take(name, candidates[0])
    for name in sorted(free_gt, key=len, reverse=True):
        begins = [other for other in free if re.match(re.escape(name) + r"[^0-9A-Za-z]", other)]
        if len(begins) == 1:
            take(name, begins[0])
    return Pairing(
        dict(sorted(pairs.items())),
        [path.name for path in free_gt.values()],
        [path.name for path in free.values()],
        left_out | left_out_others,
    )
