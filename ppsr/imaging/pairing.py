"""Which image belongs to which: HR, LR and SR files are named differently by data sets and programs."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ppsr.errors import DataError
from ppsr.imaging.io import IMAGE_SUFFIXES, list_images

_KIND = "HR|LR|SR|GT|LQ|HQ|orig|original|target|reference|input|output|bicubic"
# what programs and data sets append: img_001_SRF_4_HR, babyx2, cones_x4, 0801_4x, 0801_HR
_APPENDED = re.compile(
    rf"([_. -]SRF[_-]?\d+(_(HR|LR))?|[_. -]?x\d+|[_. -]\d+x|[_. -]({_KIND}))$", re.IGNORECASE
)
_PREPENDED = re.compile(rf"^({_KIND})[_. -]", re.IGNORECASE)
_PATTERN_SIGNS = frozenset("*?[")


@dataclass(frozen=True)
class Pairing:
    """HR images with their partners.

    Attributes:
        pairs: name -> (HR, partner), by name: the path below the folder, without suffix.
        extra: images that belong to no HR image.
        duplicates: images left out -> the one of the same name and folder that was taken.
    """

    pairs: dict[str, tuple[Path, Path]]
    missing: list[str]
    extra: list[str]
    duplicates: dict[Path, Path] = field(default_factory=dict)


def _is_pattern(place: Path) -> bool:
    """Whether the last part of a path selects files; a folder of that name is a folder."""
    return not place.is_dir() and bool(_PATTERN_SIGNS & set(place.name))


def root_of(place: str | Path) -> Path:
    """The folder that names of a place's images are relative to."""
    place = Path(place)
    return place.parent if _is_pattern(place) or place.is_file() else place


def find_images(place: str | Path, *, recursive: bool = False) -> list[Path]:
    """Images of a folder, those that match a pattern such as `Set14/*_HR.png`, or one file, sorted by path.

    Only the last part of a path can be a pattern, so folders may have brackets in their names.

    Args:
        recursive: search the folders of a folder too.

    Raises:
        DataError: no such folder, or nothing in it.
    """
    place = Path(place)
    if place.is_file():
        images = [place]
    elif _is_pattern(place):
        matched = place.parent.glob(place.name)
        visible = (p for p in matched if not p.name.startswith("."))
        images = sorted(p for p in visible if p.suffix.lower() in IMAGE_SUFFIXES)
    else:
        images = list_images(place, recursive=recursive)
    if not images:
        raise DataError(f"{place} holds no images")
    return images


def _composed(name: str) -> str:
    """A name in Unicode's composed form: macOS and some archives decompose letters with accents."""
    return unicodedata.normalize("NFC", name)


def name_images(images: Iterable[Path], root: Path | None = None) -> tuple[dict[str, Path], dict[Path, Path]]:
    """Images by their names, and those left out (`a.png` after `a.jpg`) -> the one that was taken.

    Args:
        root: folder that names are relative to; None for base names.
    """
    named: dict[str, Path] = {}
    duplicates = {}
    for path in images:
        relative = Path(path.name) if root is None else path.relative_to(root)
        name = _composed(relative.with_suffix("").as_posix())
        if named.setdefault(name, path) != path:
            duplicates[path] = named[name]
    return named, duplicates


def _plain(stem: str) -> str:
    """A name without what programs append, in one case, with one kind of separator."""
    for pattern in (_APPENDED, _PREPENDED):
        while (shorter := pattern.sub("", stem)) not in (stem, ""):
            stem = shorter
    return re.sub(r"[\s_-]+", "_", stem.strip()).casefold()


# each key pairs what it makes equal, if it does so for one name of either side only
_KEYS: tuple[Callable[[PurePosixPath], object], ...] = (
    lambda path: path,
    lambda path: path.with_suffix(""),
    lambda path: path.stem,
    lambda path: (path.parent, _plain(path.stem)),
    lambda path: _plain(path.stem),
)


def match_names(names: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """The place in `others` of every name's partner; each is used once, and nothing is guessed.

    Names are relative paths with suffixes. Equal paths pair first; then equal base names; then names without
    what programs append (`baby_HR` and `babyx4`); then a name that begins the other's (`0801` and
    `0801_CDDNet`, `baby_HR_x4` and `baby_RCAN_x4`), the longest first. Case, blanks and Unicode forms do not
    count from the third on. A key that several names share pairs none of them.
    """
    left, right = ([PurePosixPath(_composed(name)) for name in side] for side in (names, others))
    partner: list[int | None] = [None] * len(left)
    free_left, free_right = dict.fromkeys(range(len(left))), dict.fromkeys(range(len(right)))

    def take(i: int, j: int) -> None:
        partner[i] = j
        del free_left[i], free_right[j]

    for key in _KEYS:
        if not free_left:
            break
        places: dict[object, list[int]] = defaultdict(list)
        for j in free_right:
            places[key(right[j])].append(j)
        own = {i: key(left[i]) for i in free_left}
        counts = Counter(own.values())
        for i, value in own.items():
            if counts[value] == 1 and len(places.get(value, ())) == 1:
                take(i, places[value][0])
    for anywhere in (False, True):
        for i, j in _by_beginning(left, free_left, right, free_right, anywhere):
            take(i, j)
        for j, i in _by_beginning(right, free_right, left, free_left, anywhere):
            take(i, j)
    return partner


def _by_beginning(
    short: Sequence[PurePosixPath],
    free_short: Iterable[int],
    long: Sequence[PurePosixPath],
    free_long: Iterable[int],
    anywhere: bool,
) -> list[tuple[int, int]]:
    """Places of names that begin one other name only, up to a separator, in equal folders or in any."""

    def spot(path: PurePosixPath, start: str) -> tuple[object, str]:
        return (None if anywhere else path.parent), start

    beginnings: dict[tuple[object, str], set[int]] = defaultdict(set)
    for j in free_long:
        whole = re.sub(r"[\s_-]+", "_", long[j].stem).casefold()
        for end, sign in enumerate(whole):
            if end and not sign.isalnum():
                beginnings[spot(long[j], whole[:end])].add(j)
    starts: dict[tuple[object, str], set[int]] = defaultdict(set)
    for i in free_short:
        whole = re.sub(r"[\s_-]+", "_", short[i].stem).casefold()
        for start in {whole, _plain(short[i].stem)}:
            starts[spot(short[i], start)].add(i)
    found: list[tuple[int, int]] = []
    for key in sorted(starts, key=lambda key: -len(key[1])):
        own = starts[key] - {i for i, _ in found}
        fits = beginnings.get(key, set()) - {j for _, j in found}
        if len(own) == len(fits) == 1:
            found.append((own.pop(), fits.pop()))
    return found


def pair_images(
    gt: Iterable[Path], others: Iterable[Path], *, gt_root: Path | None = None, root: Path | None = None
) -> Pairing:
    """Pair HR images with LR or SR ones by `match_names`.

    Args:
        gt_root: folder that names of HR images are relative to; None for base names.
    """
    (named, left_out), (named_others, left_out_others) = name_images(gt, gt_root), name_images(others, root)
    names, other_names = list(named), list(named_others)
    partners = match_names(
        [name + named[name].suffix for name in names],
        [name + named_others[name].suffix for name in other_names],
    )
    pairs = {
        name: (named[name], named_others[other_names[j]])
        for name, j in zip(names, partners, strict=True)
        if j is not None
    }
    used = {path for _, path in pairs.values()}
    return Pairing(
        dict(sorted(pairs.items())),
        [path.name for name, path in named.items() if name not in pairs],
        [path.name for path in named_others.values() if path not in used],
        left_out | left_out_others,
    )


def describe_unpaired(missing: Sequence[str], others: Sequence[str], template: str = "{}") -> str:
    """Two names of either side, and the template that makes the one of the other where there is one.

    Args:
        missing: names of HR images without a partner.
        others: names on the other side that are free.
        template: the one that has not paired them.
    """
    message = f"HR has {_examples(missing)}; the other side {_examples(others)}"
    for name in missing:
        stem = PurePosixPath(name).stem
        if len([other for other in others if PurePosixPath(other).stem == stem]) > 1:
            return message + f", several of the name '{stem}': rename them, or name a sub-folder"
    fitting = _fitting_template(missing, others, template)
    return message + (f"; filename_tmpl: '{fitting}' would pair them" if fitting else "")


def _examples(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:2])
    return (shown or "nothing left") + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _fitting_template(missing: Sequence[str], others: Sequence[str], tried: str) -> str | None:
    """The template that most of the names without partner have one by."""
    stems, other_stems = (
        [_composed(PurePosixPath(name).stem) for name in side] for side in (missing, others)
    )
    present = set(other_stems)
    templates = {
        other.replace(stem, "{}", 1)
        for stem in stems[:4]
        for other in other_stems[:1000]
        if stem in other and "{" not in other.replace(stem, "", 1)
    } - {tried}
    fits = {
        template: sum(template.replace("{}", stem) in present for stem in stems) for template in templates
    }
    return max(sorted(fits), key=lambda template: fits[template], default=None)
