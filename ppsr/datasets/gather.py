"""Finding images, and surviving broken ones: named, counted, replaced; too many end the run."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import TypeVar

from ppsr.datasets.sources import STORE_SUFFIX, list_source
from ppsr.errors import ConfigError, DataError
from ppsr.files import read_regular
from ppsr.imaging.io import IMAGE_SUFFIXES
from ppsr.imaging.pairing import describe_unpaired, match_names

logger = logging.getLogger(__name__)

T = TypeVar("T")
Folders = str | Path | Sequence[str | Path]  # one, or several

_BAD_SHARE = 0.01
_SAMPLES = ("train", "val", "val_LRx4")


def too_many(bad: int, total: int) -> bool:
    """Whether this number of broken items ends a run: more than 1 %, and more than one."""
    return bad > max(1, _BAD_SHARE * total)


# a name may hold spaces; a shape or level may follow it
_IMAGE = rf"(.+?(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))}))"
_LISTED = re.compile(rf"{_IMAGE}(?:\s.*)?", re.IGNORECASE)
_LISTED_PAIR = re.compile(rf"{_IMAGE},\s*{_IMAGE}", re.IGNORECASE)


class BadFiles:
    """Reads items; a broken one is replaced by the next index, the same in every run.

    The marks are in memory that loader workers share, so that all of a rank's workers count together.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._marks = RawArray("b", max(1, total))

    @property
    def bad(self) -> list[int]:
        """Indices of broken items found so far."""
        return [number for number, mark in enumerate(bytes(self._marks)) if mark]

    def read(self, index: int, reader: Callable[[int], T]) -> T:
        """The first readable item from `index` on.

        Raises:
            DataError: more than 1 % of the items (and more than one) are broken.
        """
        last: DataError | str = "all were found broken before"
        for offset in range(self.total):
            candidate = (index + offset) % self.total
            if self._marks[candidate]:
                continue
            try:
                return reader(candidate)
            except DataError as error:
                last = error
                self._marks[candidate] = 1
                count = bytes(self._marks).count(1)
                logger.warning("bad image %d of %d replaced by the next: %s", count, self.total, error)
                if too_many(count, self.total):
                    raise DataError(
                        f"{count} of {self.total} images are broken, more than 1 %; the last: {error}"
                    ) from None
        raise DataError(f"none of {self.total} images can be used: {last}")


def _origin(folder: Path) -> str:
    """How a missing folder is made, or what to give instead."""
    if folder.is_file() or {*"*?"} & {*str(folder)}:
        return "give a folder, and a list of names (meta_info) to choose images of it"
    if folder.parent.name == "samples" and folder.name in _SAMPLES:
        return "`ppsr prepare samples` makes it"
    return (
        "the commands that make the images of a shipped config are in its head, all of them in data/README.md"
    )


def gather_images(folder: str | Path, meta_info: str | Path | None = None) -> list[Path]:
    """Images of a folder, recursively, or of an LMDB store, or those of them that a list names.

    Args:
        folder: a name that ends in .lmdb is a store.
        meta_info: text file with a relative name per line; anything after it, such as a shape, is ignored.

    Raises:
        DataError: missing folder or list, nothing in it, or a list that names what is not there; the message
            says what to do.
    """
    folder = Path(folder)
    if meta_info is None:
        _check_folder(folder)
        images = list_source(folder)
    else:
        images = _listed(folder, [_listed_name(line) for line in _read_list(meta_info)], meta_info)
    if not images and (folder / "data.mdb").is_file():
        raise DataError(f"{folder} is an LMDB store; let its name end in {STORE_SUFFIX}")
    if not images:
        raise DataError(f"{folder} holds no images (png, jpg, webp, bmp, tif)")
    return images


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"there is no image folder {folder}; {_origin(folder)}")


def _read_list(meta_info: str | Path) -> list[str]:
    """The lines of a list."""
    try:
        lines = read_regular(Path(meta_info)).decode("utf-8-sig").splitlines()  # drops a byte order mark
    except OSError as error:
        raise DataError(f"cannot read the list {meta_info}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{meta_info} is not UTF-8 text; is it a list of names?") from None
    if not any(map(str.strip, lines)):
        raise DataError(f"the list {meta_info} names no images")
    return [line for line in map(str.strip, lines) if line]


def _listed(folder: Path, names: Iterable[str], meta_info: str | Path) -> list[Path]:
    """The images that a list names, in its order."""
    _check_folder(folder)
    named = [_below(folder, name) for name in names]
    if folder.suffix == STORE_SUFFIX:
        available = set(list_source(folder))
        missing = [path for path in named if path not in available]
    else:
        missing = [path for path in named if not (path.is_relative_to(folder) and path.is_file())]
    if not missing:
        return named
    # the list may spell names in another Unicode form, or with the separators of Windows
    spelt = {_spelling(path): path for path in list_source(folder)}
    found = {path: spelt[_spelling(path)] for path in missing if _spelling(path) in spelt}
    if absent := [str(path).removeprefix(f"{folder}/") for path in missing if path not in found]:
        raise DataError(
            f"the list {meta_info} names {len(absent)} of {len(named)} images that {folder} does not hold, "
            f"such as {absent[:2]}; `ppsr prepare meta-info` writes a list of what is there"
        )
    return [found.get(path, path) for path in named]


def _below(folder: Path, name: str) -> Path:
    """The path of a listed name; an absolute one inside the folder is spelt as the folder is."""
    path, whole = Path(name), folder.absolute()
    return folder / (path.relative_to(whole) if path.is_relative_to(whole) else name)


def _spelling(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).replace("\\", "/")


def _listed_name(line: str) -> str:
    match = _LISTED.fullmatch(line)
    return match[1] if match else line.split(" ", 1)[0]


def _listed_pairs(meta_info: str | Path) -> list[tuple[str, str]]:
    """The names of a list of which every line has two, such as `HR/a.png, LR/a.png`; else nothing."""
    matches = [_LISTED_PAIR.fullmatch(line) for line in _read_list(meta_info)]
    return [(match[1], match[2]) for match in matches if match] if all(matches) else []


def _several(key: str, folders: Folders) -> list[Path]:
    """The folders of an option that takes one or several."""
    several = [folders] if isinstance(folders, (str, Path)) else folders
    if not isinstance(several, (list, tuple)) or not several:
        raise ConfigError(f"{key} must be a folder, or a list of folders, got {folders!r}")
    if wrong := [folder for folder in several if not isinstance(folder, (str, Path)) or not str(folder)]:
        raise ConfigError(f"{key} must hold folders, got {wrong[0]!r}")
    return [Path(folder) for folder in several]


def gather_folders(gt_folder: Folders, meta_info: str | Path | None = None) -> list[Path]:
    """Images of one or several folders."""
    folders = _gt_folders(gt_folder, meta_info)
    return [path for folder in folders for path in gather_images(folder, meta_info)]


def _gt_folders(gt_folder: Folders, meta_info: str | Path | None) -> list[Path]:
    folders = _several("gt_folder", gt_folder)
    if meta_info is not None and len(folders) > 1:
        raise ConfigError(
            f"meta_info names the images of one folder, but gt_folder has {len(folders)}; drop one of them"
        )
    return folders


def gather_pairs(
    gt_folder: Folders,
    lq_folder: Folders,
    template: str = "{}",
    meta_info: str | Path | None = None,
) -> list[tuple[Path, Path]]:
    """Like `gather_folders`, with LR images from the same number of folders.

    Args:
        meta_info: also a list of pairs, "HR/a.png, LR/a.png", each below its folder.
        template: base name of the LR image, `{}` standing for the HR one. With "{}" names that differ pair
            too, where `ppsr.imaging.pairing.match_names` finds one partner for each.

    Raises:
        ConfigError: folders that do not fit together, or a template without `{}`.
        DataError: folders are missing or empty, or partners are; the message shows names of both sides and a
            template that fits.
    """
    if "{}" not in str(template):
        raise ConfigError(f"filename_tmpl must hold {{}} for the name of the HR image, got {template!r}")
    gt_folders, lq_folders = _gt_folders(gt_folder, meta_info), _several("lq_folder", lq_folder)
    if len(gt_folders) != len(lq_folders):
        raise ConfigError(
            f"gt_folder has {len(gt_folders)} folders and lq_folder {len(lq_folders)}; give one for each"
        )
    if meta_info is not None and (pairs := _listed_pairs(meta_info)):
        gt_names, lq_names = zip(*pairs, strict=True)
        gt_paths = _listed(gt_folders[0], gt_names, meta_info)
        return list(zip(gt_paths, _listed(lq_folders[0], lq_names, meta_info), strict=True))
    return [
        pair
        for gt, lq in zip(gt_folders, lq_folders, strict=True)
        for pair in _paired(gather_images(gt, meta_info), gt, lq, template)
    ]


def _paired(gt: Sequence[Path], gt_folder: Path, lq_folder: Path, template: str) -> list[tuple[Path, Path]]:
    lq = gather_images(lq_folder)
    own = list(dict.fromkeys(gt))  # a list may name an image twice
    names = [path.relative_to(gt_folder) for path in own]
    other_names = [path.relative_to(lq_folder) for path in lq]
    if template == "{}":
        partners = match_names([name.as_posix() for name in names], [name.as_posix() for name in other_names])
    else:
        partners = _by_template(names, other_names, template)
    if missing := [name.as_posix() for name, partner in zip(names, partners, strict=True) if partner is None]:
        used = set(partners)
        free = [name.as_posix() for place, name in enumerate(other_names) if place not in used]
        raise DataError(
            f"{lq_folder} lacks the partners of {len(missing)} of {len(own)} HR images of {gt_folder}: "
            f"{describe_unpaired(missing, free, template)}. Set lq_folder or filename_tmpl (now '{template}')"
        )
    places = dict(zip(own, partners, strict=True))
    return [(path, lq[place]) for path in gt if (place := places[path]) is not None]


def _by_template(names: Sequence[Path], others: Sequence[Path], template: str) -> list[int | None]:
    """The place of every name's partner: in the folder of the same name, or, if there is one only, in any."""
    places: dict[tuple[Path | None, str], list[int]] = {}
    for place, other in enumerate(others):
        stem = unicodedata.normalize("NFC", other.stem)
        for folder in (other.parent, None):
            places.setdefault((folder, stem), []).append(place)
    partners: list[int | None] = []
    for name in names:
        stem = unicodedata.normalize("NFC", str(template).replace("{}", name.stem))
        found = places.get((name.parent, stem)) or places.get((None, stem), [])
        partners.append(found[0] if len(found) == 1 else None)
    return partners
