"""Which files a run works on."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ppsr.errors import ConfigError, DataError
from ppsr.files import check_regular, real_path, walk_folders
from ppsr.imaging.reading import image_kind
from ppsr.imaging.writing import FORMATS
from ppsr.inference.video.check import is_video_head

__all__ = ["CONTAINERS", "Job", "contents_of", "find_jobs", "has_known_suffix"]

logger = logging.getLogger(__name__)

CONTAINERS = frozenset({".mp4", ".mkv", ".mov", ".webm", ".m4v"})  # written; others become .mp4 or .mkv
VIDEO_SUFFIXES = CONTAINERS | {".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".vob", ".mts"}
VIDEO_SUFFIXES |= {".m2ts", ".y4m", ".ivf"}
VIDEO_SUFFIXES |= {".ogv", ".mxf", ".h264", ".264", ".hevc", ".265"}  # known by their names alone
_IMAGE_SUFFIXES = frozenset({*FORMATS, ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".apng", ".dib"})
_SOUND_SUFFIXES = frozenset({".wma", ".mka", ".weba", ".m4a", ".m4b"})  # begin as videos do
_AMBIGUOUS = ".ts"  # also TypeScript
_UNSUPPORTED = frozenset({".tga", ".ppm", ".pgm", ".pnm", ".jp2", ".j2k", ".jxl", ".exr", ".hdr", ".psd"})
_UNSUPPORTED |= {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"}  # raw files of cameras
_HEAD = 2048  # bytes of a file by which it is recognised
_REPORT = "report.jsonl"


@dataclass(frozen=True)
class Job:
    """One input.

    Attributes:
        folder: folder of the result, relative to the output folder.
        skip: why nothing is done; None: it is to be upscaled.
        problem: why it cannot be upscaled; None: it may be.
        is_video: by its contents, or by its name where they are ambiguous.
        warnings: what the user should know about the name of the result.
    """

    source: Path
    folder: Path = Path()
    skip: str | None = None
    problem: str | None = None
    target: Path = Path()
    is_video: bool = False
    warnings: tuple[str, ...] = ()


def find_jobs(
    sources: Sequence[str | Path], output: Path, *, recursive: bool = True, report: Path | None = None
) -> list[Job]:
    """The files that sources name.

    Args:
        sources: files, folders, or patterns such as "in/**/*.png".
        output: excluded if it is inside a source.
        report: of earlier runs, whose results are no inputs.

    Raises:
        DataError: a source is the only one and does not exist.
        ConfigError: a source is empty, as of a shell's variable that is not set.
    """
    jobs: list[Job] = []
    if "" in sources:
        raise ConfigError("an input has no name; for this folder write .")
    for source in sources:
        path = Path(source)
        if path.is_dir():
            jobs += _require_some(_of_folder(path, output, recursive), path)
        elif path.exists() or path.is_symlink():
            jobs.append(_named(path))
        elif (pattern := _split_pattern(path)) is not None:
            jobs += _require_some(_of_pattern(*pattern), path)
        elif len(sources) == 1:
            raise DataError(f"there is no file or folder {source}")
        else:
            jobs.append(Job(path, problem=f"there is no file or folder {source}"))
    return _without_results(_without_repeated(jobs), report)


def _without_repeated(jobs: Iterable[Job]) -> list[Job]:
    """The jobs, those of a file that is named twice once; a link to a file is an input of its own."""
    kept: dict[Path | int, Job] = {}
    repeated = 0
    for job in jobs:
        idle = job.skip is not None or job.problem is not None
        key = len(kept) if idle else job.source.parent.resolve() / job.source.name
        repeated += key in kept
        kept.setdefault(key, job)
    if repeated:
        logger.info("%d inputs were given more than once and are taken once", repeated)
    return list(kept.values())


def _require_some(jobs: list[Job], source: Path) -> list[Job]:
    """The jobs, and one that fails where a folder or pattern gives nothing to do."""
    if all(job.skip is not None for job in jobs):
        what = "contains no images or videos" if source.is_dir() else "matches no images or videos"
        jobs.append(Job(source, problem=f"{source} {what}"))
    return jobs


def _split_pattern(path: Path) -> tuple[Path, str] | None:
    """The folder of a pattern, as far as it exists as it is written, and the pattern below; None: no pattern.

    Folders may have names with brackets.
    """
    parts = path.parts
    fixed = next(number for number in range(len(parts), -1, -1) if Path(*parts[:number]).is_dir())
    rest = str(Path(*parts[fixed:]))
    return (Path(*parts[:fixed]), rest) if glob.has_magic(rest) else None


def _of_pattern(root: Path, pattern: str) -> list[Job]:
    """Paths below a folder that match, in order, in the folders that the pattern leaves open.

    `**` matches any folders.
    """
    parts = Path(pattern).parts
    open_from = root.joinpath(*parts[: next(n for n, part in enumerate(parts) if glob.has_magic(part))])
    found = sorted(root / name for name in glob.glob(pattern, root_dir=root, recursive=True))  # noqa: PTH207
    return [
        Job(path, skip="a folder") if path.is_dir() else _found(path, path.parent.relative_to(open_from))
        for path in found
    ]


def _of_folder(root: Path, output: Path, recursive: bool) -> list[Job]:
    """All visible files below a folder, in order."""
    jobs = []
    left_out = output.resolve()
    for here, folders, files in walk_folders(root):
        relative = here.relative_to(root)
        paths = map(here.joinpath, folders)
        jobs += [Job(path, skip="a folder") for path in paths if path.suffix.lower() in _IMAGE_SUFFIXES]
        folders[:] = [name for name in folders if recursive and (here / name).resolve() != left_out]
        jobs += [_found(here / name, relative) for name in files if name != _REPORT]
    return jobs


def _without_results(jobs: list[Job], report: Path | None) -> list[Job]:
    """The jobs; what earlier runs made of inputs of this one is skipped.

    Results are known by the reports in the folders of the inputs and above, and by the one that is named.
    """
    folders = {job.source.absolute().parent for job in jobs}
    folders |= {above for folder in folders for above in folder.parents}
    made: dict[Path, Path] = {}
    for path in (report, *(folder / _REPORT for folder in folders)):
        if path is not None and path.is_file():
            made.update(_results(path))
    sources = {real_path(job.source) for job in jobs if job.skip is None} if made else set()
    return [
        replace(job, skip="a result of an earlier run")
        if job.skip is None and made.get(real_path(job.source)) in sources
        else job
        for job in jobs
    ]


def _results(report: Path) -> Iterator[tuple[Path, Path]]:
    """Results that a report names, and the inputs they were made of."""
    with suppress(OSError):
        for line in report.read_text(encoding="utf-8", errors="replace").split("\n"):
            with suppress(ValueError, TypeError, KeyError):  # not one of ours, or cut short
                entry = json.loads(line)
                yield real_path(Path(entry["output"])), real_path(Path(entry["path"]))


def contents_of(path: Path) -> str | None:
    """Kind of a file by its first bytes: that of an image, "video", or None."""
    check_regular(path)
    with path.open("rb") as handle:
        head = handle.read(_HEAD)
    return image_kind(head[:32]) or ("video" if is_video_head(head) else None)


def _named(path: Path) -> Job:
    """A file named by the user: what is wrong with it is reported when its turn comes."""
    try:
        kind = contents_of(path)
    except (OSError, DataError):
        kind = None
    return Job(path, is_video=_is_video(kind, path))


def _is_video(kind: str | None, path: Path) -> bool:
    return kind == "video" or (kind is None and path.suffix.lower() in VIDEO_SUFFIXES)


def _found(path: Path, folder: Path) -> Job:
    """A file found by walking: skipped unless its contents or its name say that it is an image or video."""
    suffix = path.suffix.lower()
    wanted = suffix in _IMAGE_SUFFIXES | VIDEO_SUFFIXES
    try:
        kind = contents_of(path)
    except DataError:
        return Job(path, folder, skip="not a regular file")
    except OSError as error:
        return Job(path, folder, skip=None if wanted else f"cannot be read: {error.strerror or error}")
    is_sound = kind == "video" and suffix in _SOUND_SUFFIXES
    if is_sound or (kind is None and (not wanted or suffix == _AMBIGUOUS)):
        if suffix in _UNSUPPORTED:
            reason = f"{path}: {suffix[1:].upper()} images are not supported; convert it"
            return Job(path, folder, problem=reason)
        return Job(path, folder, skip="not an image or video")
    return Job(path, folder, is_video=_is_video(kind, path))


def has_known_suffix(path: Path) -> bool:
    """Whether a name ends as those of images and videos do; other suffixes belong to it: scan.0001."""
    return path.suffix.lower() in _IMAGE_SUFFIXES | VIDEO_SUFFIXES | _UNSUPPORTED
