"""Whatever names weights, as a file: a path, the folder of a run, or a name of the catalogue."""

from __future__ import annotations

import re
from pathlib import Path

from ppsr.errors import WeightError
from ppsr.weights.catalogue import find_entry
from ppsr.weights.fetch import get_entry

__all__ = ["resolve_weights"]

_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_SUFFIXES = (".pdparams", ".pth", ".safetensors", ".param")
_STEP = re.compile(r"iter_(\d+)_weight\.(?:pdparams|safetensors|pth)")


def resolve_weights(name_or_path: str | Path) -> Path:
    """The weight file that a name or path means.

    Args:
        name_or_path: a file; the folder of a run, whose best weights are taken, else its newest; or a name of
            `ppsr models list`, which is downloaded if it must be.

    Returns:
        An existing file where the name means one; a path with a suffix or a folder is returned as it is, so
        that reading it says what is wrong.

    Raises:
        WeightError: a folder without weights, an unknown name, one of no network, or a download that failed.
    """
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
    """Best weights of a run, else the newest."""
    best = [path for path in sorted(folder.glob("best_weight.*")) if path.is_file()]
    if best:
        return best[0]
    steps = {int(match[1]): path for path in folder.iterdir() if (match := _STEP.fullmatch(path.name))}
    if steps:
        return steps[max(steps)]
    files = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    hint = f"name one of its files: {', '.join(files[:6])}" if files else "it has no weight files"
    raise WeightError(f"{folder} is a folder without weights of a run (best_weight, iter_N_weight); {hint}")
