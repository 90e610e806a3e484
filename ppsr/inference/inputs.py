"""Which files a run works on, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ppsr.errors import ConfigError, DataError
from ppsr.imaging.reading import image_kind
from ppsr.imaging.writing import FORMATS
from ppsr.inference.containers import HEAD, is_video_head
from ppsr.inference.video import fitting_container

__all__ = [
    "CONTAINERS",
    "VIDEO_SUFFIXES",
    "Job",
    "check_place",
    "check_regular",
    "find_jobs",
    "is_file_name",
    "place_results",
]

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".webm", ".m4v", ".avi", ".mpg", ".mpeg", ".ts", ".wmv"})
CONTAINERS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".m4v"})  # written; others become .mp4 or .mkv
_PICTURE_SUFFIXES = frozenset({*FORMATS, ".gif", ".avif", ".heic"})
_SOUND_SUFFIXES = frozenset({".wma", ".mka", ".weba"})  # begin as videos do
_AMBIGUOUS = ".ts"  # also TypeScript
_UNWRITABLE = (
    VIDEO_SUFFIXES | _PICTURE_SUFFIXES | {".heif", ".jp2", ".jxl", ".ppm", ".tga", ".exr", ".flv"}
) - (FORMATS.keys() | CONTAINERS)


@dataclass(frozen=True)
class Job:
    """One input.

    Attributes:
        source: the file.
        folder: of the result, relative to the output folder.
        skip: why nothing is done; None: it is to be upscaled.
        target: where the result goes.
        is_video: by its contents, by its name where they do not tell.
    """

    source: Path
    folder: Path = Path()
    skip: str | None = None
    target: Path = Path()
    is_video: bool = False


def find_jobs(sources: Sequence[str | Path], output: Path, *, recursive: bool = True) -> list[Job]:
    """The files that sources name.

    Args:
        sources: files, folders, or patterns such as "in/**/*.png".
        output: left out when it lies inside a source.
        recursive: go into the folders of folders.

    Raises:
        DataError: a source is the only one and does not exist.
    """
    jobs: list[Job] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            jobs += _of_folder(path, output, recursive)
        elif path.exists() or path.is_symlink():
            jobs.append(_named(path))
        elif glob.has_magic(str(source)):
            jobs += _of_pattern(str(source))
        elif len(sources) == 1:
            raise DataError(f"there is no file or folder {source}")
        else:
            jobs.append(Job(path))  # fails when its turn comes, and is reported
    return jobs


def _of_pattern(pattern: str) -> list[Job]:
    """Paths that match, in order, in the folders below the part of the pattern without wildcards.

    `**` stands for any folders. Unlike Path.glob, glob takes absolute patterns.
    """
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    found = sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207
    return [
        Job(path, skip="a folder") if path.is_dir() else _judged(path, path.parent.relative_to(root))
        for path in found
    ]


def _of_folder(root: Path, output: Path, recursive: bool) -> list[Job]:
    """All visible files below a folder, in order."""
    jobs = []
    left_out = output.resolve()
    for place, folders, files in os.walk(root):
        here = Path(place)
        visible = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in visible if recursive and (here / name).resolve() != left_out]
        relative = here.relative_to(root)
        jobs += [Job(here / name, skip="a folder") for name in visible if _suffix(name) in _PICTURE_SUFFIXES]
        names = [name for name in files if not name.startswith(".")]
        if here.resolve() == left_out:
            names = [name for name in names if name != "report.jsonl"]
        jobs += [_judged(here / name, relative) for name in sorted(names)]
    return jobs


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def check_regular(path: Path) -> None:
    """Raise for what is there and no file: opening a pipe waits for somebody who writes.

    Raises:
        DataError: a pipe, a socket, a device.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file")


def _contents(path: Path) -> str | None:
    """What a file begins as: "picture", "video", None: neither.

    Raises:
        DataError: it is not a regular file.
        OSError: it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as handle:
        head = handle.read(HEAD)
    if image_kind(head[:32]):
        return "picture"
    return "video" if is_video_head(head) else None


def _named(path: Path) -> Job:
    """A file that somebody named: what is wrong with it shows when its turn comes."""
    try:
        kind = _contents(path)
    except (OSError, DataError):
        kind = None
    return Job(path, is_video=_is_video(kind, path))


def _is_video(kind: str | None, path: Path) -> bool:
    return kind == "video" or (kind is None and _suffix(path.name) in VIDEO_SUFFIXES)


def _judged(path: Path, folder: Path) -> Job:
    """A file that nobody named: skipped unless its contents or its name say that it is wanted."""
    suffix = _suffix(path.name)
    wanted = suffix in _PICTURE_SUFFIXES | VIDEO_SUFFIXES
    skipped = partial(Job, path, folder)
    try:
        kind = _contents(path)
    except DataError:
        return skipped(skip="not a regular file")
    except OSError as error:
        return Job(path, folder) if wanted else skipped(skip=f"cannot be read: {error.strerror or error}")
    if (kind is None and (not wanted or suffix == _AMBIGUOUS)) or (
        kind == "video" and suffix in _SOUND_SUFFIXES
    ):
        return skipped(skip="not a picture or video")
    return Job(path, folder, is_video=_is_video(kind, path))


def is_file_name(target: Path) -> bool:
    """Whether the place for results is the name of one file, not a folder."""
    return target.suffix.lower() in FORMATS.keys() | CONTAINERS and not target.is_dir()


def place_results(
    jobs: Iterable[Job], output: Path, *, single: bool, suffix: str = "", extension: str = "png"
) -> list[Job]:
    """The jobs with their targets; inputs whose results would collide keep their format in the name.

    Args:
        jobs: the inputs.
        output: folder, or the file itself.
        single: `output` is the file of the only input.
        suffix: appended to the names.
        extension: of pictures, "png", "jpg", ...; "same": that of the input where it can be written.

    Raises:
        ConfigError: unknown extension, a suffix that leads to another folder.
    """
    if "/" in suffix or "\\" in suffix or "\0" in suffix:
        raise ConfigError(
            f"the suffix {suffix!r} of names must not lead to another folder; leave out slashes"
        )
    if single:
        return [replace(job, target=output) for job in jobs]
    ending = f".{extension.lower().lstrip('.')}"
    if ending not in FORMATS and ending != ".same":
        raise ConfigError(f"the format '{extension}' is unknown; valid: {_listed(FORMATS)}, same")
    placed = [replace(job, target=output / job.folder / _result_name(job, suffix, ending)) for job in jobs]
    counts = Counter(str(job.target).lower() for job in placed if job.skip is None)
    return [
        replace(job, target=job.target.with_name(f"{job.source.name}{suffix}{job.target.suffix}"))
        if counts[str(job.target).lower()] > 1
        else job
        for job in placed
    ]


def _result_name(job: Job, suffix: str, ending: str) -> str:
    own = job.source.suffix.lower()
    if job.is_video:
        ending = (
            own if own in CONTAINERS else ".mp4" if job.skip is not None else fitting_container(job.source)
        )
    elif ending == ".same":
        ending = own if own in FORMATS else ".png"
    return f"{job.source.stem}{suffix}{ending}"


def check_place(output: Path) -> None:
    """Raise where a single result would go to a folder that is named as a picture or video.

    Raises:
        ConfigError: the name is that of a format which is not written.
    """
    if output.suffix.lower() in _UNWRITABLE and not output.is_dir():
        raise ConfigError(
            f"{output.suffix} cannot be written; pictures: {_listed(FORMATS)}; videos: "
            f"{_listed(CONTAINERS)}; for a folder of this name, make it first"
        )


def _listed(suffixes: Iterable[str]) -> str:
    return ", ".join(sorted(suffix.lstrip(".") for suffix in suffixes))
