"""Whatever names weights, as a file: a path, the folder of a run, or a name of the catalogue.

Files of the catalogue come from an installed package, earlier downloads, or their addresses. No byte is used
before size and SHA-256 are those of the catalogue.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ppsr.cache import user_folder
from ppsr.errors import WeightError
from ppsr.files import sha256
from ppsr.weights.catalogue import Entry, Source, SourceFile, find_entry

__all__ = ["get_entry", "local_path", "resolve_weights", "weight_folder"]

logger = logging.getLogger(__name__)

_CONNECT_SECONDS, _SILENT_SECONDS = 10.0, 30.0
_BLOCK = 1 << 16


def weight_folder() -> Path:
    """Folder of downloads: `$PPSR_HOME/weights`, else `ppsr/weights` in the user's cache folder."""
    return user_folder() / "weights"


def get_entry(entry: Entry, *, progress: bool = True) -> Path:
    """The weights of an entry as a local file, downloaded if they must be.

    Returns:
        The file; of an ncnn pair the .param.

    Raises:
        WeightError: no automatic download is available, or every address failed; the message names file,
            size, sum and the folder to put it in.
    """
    for source in entry.sources:
        found = _local(source)
        if found:
            _announce(entry.name, found[0], _origin(entry, source))
            return found[0]
    reasons = []
    for source, turn in _attempts(entry):
        try:
            paths = [
                _download(file, file.urls[min(turn, len(file.urls) - 1)], progress) for file in source.files
            ]
        except (OSError, ValueError) as error:  # of requests; of a wrong size or sum
            reasons.append(_reason(error))
            logger.debug("%s: %s", entry.name, reasons[-1])  # the error below has all reasons
            continue
        _announce(entry.name, paths[0], _origin(entry, source))
        return paths[0]
    if reasons:
        failures = "; ".join(dict.fromkeys(reasons))
        raise WeightError(f"{entry.name} could not be downloaded ({failures}). {_manual_instructions(entry)}")
    raise WeightError(f"{entry.name} has no automatic download. {_manual_instructions(entry)}")


@cache
def _announce(name: str, path: Path, origin: str) -> None:
    """Log where weights come from, once in a process however often they are read."""
    logger.info("%s: %s (%s)", name, path, origin)


def _attempts(entry: Entry) -> list[tuple[Source, int]]:
    """Two attempts: at the first address, and at another one where there is one."""
    ways = [source for source in entry.sources if source.direct and not source.package]
    turns = [(source, k) for source in ways for k in range(max(len(file.urls) for file in source.files))]
    return (turns * 2)[:2] if len(turns) < 2 else turns[:2]


def local_path(entry: Entry) -> Path | None:
    """Path of the verified local weights of an entry; None if there are none."""
    return next((paths[0] for source in entry.sources if (paths := _local(source))), None)


def _origin(entry: Entry, source: Source) -> str:
    place = f"{source.package} {source.version}" if source.package else entry.author
    return f"{place}, licence: {entry.licence or 'none stated'}"


def _local(source: Source) -> list[Path]:
    """The files, where they all are here and right."""
    if source.package == "ppsr":  # a checkout has no distribution, or one elsewhere
        root = Path(__file__).parents[2]
    elif source.package:
        try:
            root = Path(str(importlib.metadata.distribution(source.package).locate_file("")))
        except importlib.metadata.PackageNotFoundError:
            return []
    else:
        root = weight_folder()
    paths = [root / file.name if file.name else root for file in source.files]
    return paths if all(_matches(path, file) for path, file in zip(paths, source.files, strict=True)) else []


def _matches(path: Path, file: SourceFile) -> bool:
    """Whether a local file has the size and the sum of the catalogue."""
    if not file.sha256 or not path.is_file() or path.stat().st_size != file.size:
        return False
    return sha256(path) == file.sha256


def _manual_instructions(entry: Entry) -> str:
    """How to get the files by hand: the package where there is one, and the first address of each file."""
    packages = [f"Install the package: pip install {way.package}." for way in entry.sources if way.package]
    source = next((way for way in entry.sources if not way.package), None)
    if source is None:
        return packages[0]
    ways = []
    for file in source.files:
        place = file.urls[0] if file.urls else source.page
        if file.sha256:
            facts = f"{file.size:,} bytes, sha256 {file.sha256}"
            ways.append(f"Put {file.name} ({facts}) from {place} into {weight_folder()}.")
        else:
            ways.append(f"Download it from {place}, whose sum is not known, and give the file to --load.")
    return " Or ".join([*packages, " ".join(ways)])


def _download(file: SourceFile, url: str, progress: bool) -> Path:
    import pooch

    folder = weight_folder()
    if _matches(folder / file.name, file):
        return folder / file.name
    if urlsplit(url).scheme != "https" and urlsplit(url).hostname != "127.0.0.1":
        raise WeightError(f"{url} is not an https address")
    pooch.get_logger().setLevel("WARNING")
    try:
        got = pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=file.name,
            path=folder,
            downloader=_Resuming(file, progress=progress),
        )
    except ValueError:
        (folder / f"{file.name}.part").unlink(missing_ok=True)
        raise
    return Path(got)


def _reason(error: Exception) -> str:
    """Why an address failed, in a few words."""
    import requests

    if isinstance(error, requests.RequestException) and error.request is not None and error.response is None:
        host = urlsplit(str(error.request.url)).hostname
        if isinstance(error, requests.Timeout):
            return f"no answer from {host} for {_SILENT_SECONDS:g} s"
        if isinstance(error, requests.exceptions.SSLError):
            return f"the certificate of {host} was not accepted; REQUESTS_CA_BUNDLE names others"
        if isinstance(error, requests.exceptions.ProxyError):
            return f"no connection to {host} through the proxy that https_proxy names"
        return f"no connection to {host}, or it broke off"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot write {error.filename}: {error.strerror}; PPSR_HOME names another folder"
    return " ".join(str(error).split())


class _Resuming:
    """A downloader for pooch that keeps what it got in a .part file, and resumes from there."""

    def __init__(self, file: SourceFile, *, progress: bool) -> None:
        self.file = file
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests

        part = weight_folder() / f"{self.file.name}.part"
        done = part.stat().st_size if part.is_file() else 0
        if self.file.size is not None and done > self.file.size:
            part.unlink()
            done = 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        if done != self.file.size:
            timeout = (_CONNECT_SECONDS, _SILENT_SECONDS)
            with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
                if answer.status_code == requests.codes.requested_range_not_satisfiable:
                    part.unlink()
                answer.raise_for_status()
                again = answer.status_code == requests.codes.partial_content
                with part.open("ab" if again else "wb") as stream:
                    self._copy(answer, stream, done if again else 0)
        shutil.move(part, output_file)

    def _copy(self, answer: Any, stream: BinaryIO, done: int) -> None:
        """Append what comes; more or less than announced ends it."""
        from tqdm import tqdm

        limit = self.file.size
        hidden = None if self.progress else True  # None: where there is no terminal
        with tqdm(
            total=limit, initial=done, unit="B", unit_scale=True, desc=self.file.name, disable=hidden
        ) as bar:
            for block in answer.iter_content(_BLOCK):
                done += len(block)
                if limit is not None and done > limit:
                    raise ValueError(f"the server sends more than the {limit:,} bytes of {self.file.name}")
                stream.write(block)
                bar.update(len(block))
        if limit is not None and done < limit:
            raise OSError(f"the connection ended after {done:,} of {limit:,} bytes")


_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_SUFFIXES = (".pdparams", ".pth", ".safetensors", ".param")
_STEP = re.compile(r"iter_(\d+)_weight\.(?:pdparams|safetensors|pth)")


def resolve_weights(name_or_path: str | Path) -> Path:
    """The weight file that a name or path means.

    Args:
        name_or_path: a file; the folder of a run, whose best weights are taken, else its newest; a folder
            with the index of weights in several files; or a name of `ppsr models list`, which is downloaded
            if it must be.

    Returns:
        An existing file where the name means one; a path with a suffix or a folder is returned as it is, so
        that reading it says what is wrong.

    Raises:
        WeightError: a folder without weights, an unknown name, one of no network, or a download that failed.
    """
    if re.match(r"https?:/", str(name_or_path)):
        raise WeightError(f"{name_or_path} is an address: download the file and give its path")
    path = Path(name_or_path)
    if path.is_dir():
        return _of_run(path)
    if path.exists() or len(path.parts) != 1 or not _NAME.fullmatch(str(name_or_path)):
        return path
    entry = find_entry(str(name_or_path))
    if not entry.scale:
        raise WeightError(
            f"{entry.name} holds parameters of a metric, not a network; networks: ppsr models list"
        )
    return get_entry(entry)


def _of_run(folder: Path) -> Path:
    """Best weights of a run, else the newest; or weights in several files."""
    best = [path for path in sorted(folder.glob("best_weight.*")) if path.is_file()]
    if best:
        return best[0]
    steps = {int(match[1]): path for path in folder.iterdir() if (match := _STEP.fullmatch(path.name))}
    if steps:
        return steps[max(steps)]
    if len(indices := [*folder.glob("*.safetensors.index.json")]) == 1:  # weights in several files
        return indices[0]
    files = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    files += sorted(path.name.removesuffix(".info.json") for path in folder.glob("*.info.json"))
    hint = f"name one of its files: {', '.join(files[:6])}" if files else "it has no weight files"
    raise WeightError(f"{folder} is a folder without weights of a run (best_weight, iter_N_weight); {hint}")
