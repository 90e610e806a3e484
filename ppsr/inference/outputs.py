"""Where the result of each input goes."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ppsr.errors import ConfigError, DataError
from ppsr.imaging.reading import image_header
from ppsr.imaging.writing import FORMATS, with_alpha
from ppsr.inference.inputs import CONTAINERS, Job, contents_of, find_jobs, has_known_suffix
from ppsr.inference.video.check import video_header

__all__ = ["is_file_name", "plan_jobs"]


def plan_jobs(
    source: str | Path | Sequence[str | Path],
    target: str | Path,
    *,
    suffix: str = "",
    extension: str = "png",
    recursive: bool = True,
    report: Path | None = None,
) -> list[Job]:
    """The inputs of a run and where their results go.

    Args:
        source: a file, a folder or a pattern, or several of them. Folders keep their structure.
        target: folder, or a file name for a single input. A name that ends in a slash is a folder's.
        suffix: appended to the names.
        extension: format of images, or "same".
        report: of earlier runs, in addition to those beside the inputs, whose results are no inputs.

    Raises:
        DataError: the only source does not exist.
        ConfigError: one file name for several inputs or for another kind of input, an unknown format, or a
            suffix with slashes.
    """
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    single, place = is_file_name(target), Path(target)
    if not str(target):
        raise ConfigError("the output has no name; for this folder write .")
    if place.parts[:1] == ("~",):
        raise ConfigError(f"{target}: the shell has not replaced ~; put a space before it, or write $HOME")
    jobs = find_jobs(sources, place, recursive=recursive, report=report)
    several = len(jobs) > 1 or Path(sources[0]).is_dir()
    if not several and not single and _suffix(target):
        raise ConfigError(
            f"{target}: {_suffix(target)} cannot be written; images: {_listed(FORMATS)}; videos: "
            f"{_listed(CONTAINERS)}; for a folder of this name, end it with /"
        )
    if single and several:
        raise ConfigError(f"{target} is the name of one file and the inputs are several; name a folder")
    for job in jobs if single else ():
        if job.problem is None and job.is_video != (_suffix(target) in CONTAINERS):
            kinds = ("a video", "an image") if job.is_video else ("an image", "a video")
            raise ConfigError(
                f"{job.source} is {kinds[0]} and cannot become {kinds[1]}, {target}; name "
                f"{_listed(CONTAINERS if job.is_video else FORMATS)}, or a folder"
            )
    if "/" in suffix or "\\" in suffix or "\0" in suffix:
        raise ConfigError(f"the suffix {suffix!r} of names leads to another folder; leave out slashes")
    ending = f".{extension.lower().lstrip('.')}"
    if ending not in FORMATS and ending != ".same":
        raise ConfigError(f"the format '{extension}' is unknown; valid: {_listed(FORMATS)}, same")
    if single:
        own = FORMATS.get(_suffix(target))
        if suffix or (extension != "png" and own and FORMATS.get(ending, own) != own):
            raise ConfigError(
                f"{target} is the name of the result, which --suffix and --ext would change; leave them out, "
                "or name a folder"
            )
        return [replace(job, target=place) for job in jobs]
    return _apart([_placed(job, place, suffix, ending) for job in jobs], place, suffix)


def _apart(jobs: list[Job], place: Path, suffix: str) -> list[Job]:
    """Other results for inputs that would share one: in the folders of the inputs, with their formats, or
    numbered.
    """
    for by_folder in (True, False):
        groups: dict[str, list[int]] = {}
        for number, job in enumerate(jobs):
            if job.skip is None:
                groups.setdefault(_as_one_file(job.target), []).append(number)
        for group in groups.values():
            sources = [jobs[number].source.absolute() for number in group]
            same_names = len({_as_one_file(Path(path.name)) for path in sources}) < len(sources)
            if len(group) == 1 or by_folder != same_names:
                continue
            root = os.path.commonpath([path.parent for path in sources])
            for number, source in zip(group, sources, strict=True):
                target = jobs[number].target
                own = place / source.parent.relative_to(root) / target.name
                if not by_folder:
                    own = target.with_name(f"{source.name}{suffix}{target.suffix}")
                jobs[number] = replace(jobs[number], target=own)
    taken = set[str]()
    for number, job in enumerate(jobs):
        target, copy = job.target, 1
        while job.skip is None and _as_one_file(target) in taken:
            copy += 1
            target = job.target.with_name(f"{job.target.stem}_{copy}{job.target.suffix}")
        jobs[number] = replace(job, target=target)
        taken |= {_as_one_file(target)} if job.skip is None else set()
    return jobs


def _as_one_file(path: Path) -> str:
    """A text that is the same for names that are one file on some disks: of other case or Unicode form."""
    return unicodedata.normalize("NFC", str(path)).lower()


def is_file_name(target: str | Path) -> bool:
    """Whether the place for results is the name of one file, not a folder: neither is there a folder of this
    name, nor does it end in a slash.
    """
    return _suffix(target) in FORMATS.keys() | CONTAINERS


def _suffix(target: str | Path) -> str:
    """The suffix of a name in lower case, "" of a folder's; numbers such as those of versions are none."""
    suffix = Path(target).suffix.lower()
    is_folder = str(target).endswith(("/", os.sep)) or Path(target).is_dir()
    return "" if is_folder or suffix[1:].isdigit() else suffix


def _placed(job: Job, place: Path, suffix: str, ending: str) -> Job:
    """The job with its result in a folder, which keeps alpha."""
    own, warnings = job.source.suffix.lower(), list[str]()
    if job.is_video and own in CONTAINERS:
        ending = own
    elif job.is_video:
        header = None if job.skip is not None else video_header(job.source)
        ending = ".mp4" if header is None or header.fits_mp4 else ".mkv"
    elif ending == ".same":
        ending = own if own in FORMATS else _ending_of(job.source)
    if not job.is_video and job.skip is None and _has_alpha(job.source):
        ending, warnings = with_alpha(ending)
    stem = job.source.stem if has_known_suffix(job.source) else job.source.name
    name = f"{stem}{suffix}{ending}"
    return replace(job, target=place / job.folder / name, warnings=tuple(warnings))


def _has_alpha(path: Path) -> bool:
    try:
        return image_header(path).alpha
    except (DataError, OSError):  # reported when its turn comes
        return False


def _ending_of(path: Path) -> str:
    """The usual suffix of an image's contents; of those that are not written that of PNG."""
    try:
        kind = contents_of(path)
    except (OSError, DataError):
        kind = None
    return next((suffix for suffix, written in FORMATS.items() if written == kind), ".png")


def _listed(suffixes: Iterable[str]) -> str:
    return ", ".join(sorted(suffix.lstrip(".") for suffix in suffixes))
