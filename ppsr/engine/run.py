"""The folder of a run, and finding the newest one to resume."""

from __future__ import annotations

import glob
import json
import re
import time
from contextlib import suppress
from pathlib import Path

from ppsr.config.loader import Config
from ppsr.config.schema import Experiment
from ppsr.errors import ConfigError, DataError
from ppsr.files import atomic_write

__all__ = ["find_run", "named_checkpoint", "new_run_folder", "newest_run"]

CHECKPOINTS = "checkpoints"
_TIME = re.compile(r"\d{4}(-\d\d){5}(-\d+)?")


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
    atomic_write(folder / "config.json", json.dumps(config, indent=1, default=str))
    return folder


def find_run(config: Config, experiment: Experiment, resume: str) -> Path | None:
    """The folder of the run to go on with.

    Args:
        config: names the experiment.
        experiment: names the output folder.
        resume: "auto" for the newest run of this config that has a checkpoint, or a run's or checkpoint's
            folder.

    Returns:
        The run's folder; None when "auto" finds none, which starts a new run.

    Raises:
        DataError: there is no such run.
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


def named_checkpoint(resume: str) -> Path | None:
    """The checkpoint that --resume names; None where it names a run or "auto"."""
    folder = Path(resume).resolve()
    return folder if folder.parent.name == CHECKPOINTS else None


def newest_run(stem: str, output_dir: Path) -> Path:
    """The run of a config whose newest checkpoint is the most recent.

    Raises:
        DataError: there is no run with a checkpoint.
    """
    newest: dict[Path, int] = {}
    for step in output_dir.glob(f"{glob.escape(stem)}-[0-9]*/{CHECKPOINTS}/step_*"):
        run = step.parent.parent
        if not _TIME.fullmatch(run.name[len(stem) + 1 :]):
            continue  # of another config, whose name goes on with a number
        with suppress(FileNotFoundError):  # a run that goes on replaces and deletes them
            newest[run] = max(newest.get(run, 0), step.stat().st_mtime_ns)
    if not newest:
        raise DataError(f"{output_dir} holds no run of '{stem}' with a checkpoint")
    return max(newest, key=lambda run: newest[run])
