"""The folder of a run: made, held by one process, and found again to resume."""

from __future__ import annotations

import fcntl
import glob
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ppsr.config.loader import Config, flatten
from ppsr.config.schema import Experiment
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
_LATEST = "latest"
_LOCK = ".lock"
_CONFIG = "config.json"
_RUN = re.compile(r"(?P<stem>.+)-\d{4}(-\d\d){5}(-\d+)?")


def new_run_folder(config: Config, experiment: Experiment) -> Path:
    """Make `<output_dir>/<config stem>-<time>`; two runs in one second get different names."""
    base = Path(experiment.output_dir) / f"{config.stem}-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
    folder, number = base, 1
    while True:
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
            folder = base.with_name(f"{base.name}-{number}")
        except OSError as error:
            raise ConfigError(f"cannot create the output folder {folder}: {error.strerror}") from None
    atomic_write(folder / _CONFIG, json.dumps(config, indent=1, default=str))
    return folder


def log_changes(folder: Path, config: Config) -> None:
    """Name the keys that differ from the configuration which a run began with, as another config file of the
    same name does."""
    try:
        before = flatten(json.loads((folder / _CONFIG).read_text()))
    except (OSError, ValueError):
        return
    now = flatten(json.loads(json.dumps(config, default=str)))
    keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if keys:
        shown = "; ".join(f"{key} was {before.get(key)}, now {now.get(key)}" for key in keys[:6])
        more = f" and {len(keys) - 6} more" if len(keys) > 6 else ""
        logger.info("changed since the run began: %s%s", shown, more)


def check_apart(folder: Path, section: Mapping[str, Any], key: str) -> None:
    """Refuse a run in a folder of its data set, which would train on the run's own images when it is resumed.

    Args:
        key: of the section, such as "dataset.train".
    """
    for name in (name for name in section if name.endswith("_folder")):
        given = section[name]
        for place in filter(None, given if isinstance(given, list) else [given]):
            if folder.resolve().is_relative_to(Path(place).resolve()):
                raise ConfigError(
                    f"the run {folder} would lie in {key}.{name} {place}, and its images be trained on; "
                    "choose another output_dir"
                )


@contextmanager
def lock_run(folder: Path, *, new: bool) -> Iterator[None]:
    """Keep a run's folder for this process; temporary files of a killed run in it are removed.

    Where the block fails before there is anything to keep, a new folder is removed again.

    Raises:
        DataError: another process trains in it.
    """
    with (folder / _LOCK).open("a+") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            lock.seek(0)
            raise DataError(
                f"{folder} is in use by process {lock.read().strip()}; wait for it, or start a new run"
            ) from None
        except OSError as error:
            logger.debug("no locks on this file system: %s", error)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for path in (*folder.glob(".tmp-*"), *folder.glob("*/.tmp-*")):
            if not path.is_dir():
                path.unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            if new and not any(folder.glob(f"{CHECKPOINTS}/step_*")) and not any(folder.glob("*.pdparams")):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def mark_latest(folder: Path) -> None:
    """Point the link `<output_dir>/<config stem>/latest` at a run; other folders are ignored."""
    match = _RUN.fullmatch(folder.name)
    if match is None:
        return
    link, target = folder.parent / match["stem"] / _LATEST, os.path.join("..", folder.name)  # noqa: PTH118
    try:
        if link.is_symlink() and os.readlink(link) == target:  # noqa: PTH115 - the text, not a path
            return
        link.parent.mkdir(exist_ok=True)
        temporary = link.with_name(f".tmp-{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)
    except OSError as error:
        if link.is_dir() and not link.is_symlink():  # a copy that followed the link
            temporary.unlink(missing_ok=True)
            logger.warning("%s is a folder, not the link to the latest run; remove it to have the link", link)
        else:
            logger.debug("no link to the latest run: %s", error)


def find_run(config: Config, experiment: Experiment, resume: str) -> Path | None:
    """The folder of the run to resume.

    Args:
        resume: "auto" for the newest run of this config that has a checkpoint, or a run's or checkpoint's
            folder.

    Returns:
        The run's folder; None when "auto" finds none, which starts a new run.
    """
    if resume != "auto":
        folder = Path(resume)
        for candidate in (folder, *folder.parents[:2]) if folder.is_dir() else ():
            if (candidate / CHECKPOINTS).is_dir():
                return candidate
        raise DataError(
            f"--resume {resume}: no run with a folder '{CHECKPOINTS}' is there; 'auto' finds the newest"
        )
    try:
        return newest_run(config.stem, Path(experiment.output_dir))
    except DataError:
        return None


def named_checkpoint(resume: str | None) -> Path | None:
    """The checkpoint that --resume names; None where it names a run or "auto", or is not given."""
    folder = Path(resume or "").resolve()
    return folder if folder.parent.name == CHECKPOINTS else None


def newest_run(stem: str, output_dir: Path) -> Path:
    """The run of a config that wrote a checkpoint last.

    That is the one to which `latest` leads, whatever the clock said; without the link, the one whose newest
    checkpoint has the most recent time.
    """
    newest: dict[Path, int] = {}
    for step in output_dir.glob(f"{glob.escape(stem)}-[0-9]*/{CHECKPOINTS}/step_*"):
        run = step.parent.parent
        match = _RUN.fullmatch(run.name)
        if match is None or match["stem"] != stem:
            continue  # of another config, whose name continues with a number
        with suppress(FileNotFoundError):  # a running one replaces and deletes them
            newest[run] = max(newest.get(run, 0), step.stat().st_mtime_ns)
    if not newest:
        raise DataError(f"{output_dir} holds no run of '{stem}' with a checkpoint")
    latest = output_dir / (output_dir / stem / _LATEST).resolve().name
    return latest if latest in newest else max(newest, key=lambda run: newest[run])
