"""Which models the command line asks for. Importing this is cheap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ppsr.errors import ConfigError
from ppsr.inference.network_info import INFO_SUFFIX

__all__ = ["is_export", "named_models"]


def named_models(load: Sequence[str], configs: Sequence[Path]) -> dict[str, tuple[list[Path], Path | None]]:
    """Names of models -> files and config.

    Args:
        load: FILE, NAME=FILE, FILE+FILE or NAME=FILE+FILE; without a name, that of the first file. A FILE is
            also the folder of a run or a name of the catalogue.
        configs: none, one for all, or one for each.

    Raises:
        ConfigError: another number of configs, two of one name, or a file that is not there.
        WeightError: a folder without weights, or a name that the catalogue does not have.
    """
    if len(configs) not in (0, 1, len(load)):
        raise ConfigError(f"{len(configs)} configs for {len(load)} models; give none, one, or one for each")
    shared = configs[0] if len(configs) == 1 else None
    paired = [*configs] if len(configs) == len(load) else [shared] * len(load)
    models: dict[str, tuple[list[Path], Path | None]] = {}
    for text, config in zip(load, paired, strict=True):
        name, files = "", [Path(text)]
        if not _is_there(files[0]):
            name, _, rest = text.rpartition("=")
            files = [Path(rest)] if _is_there(Path(rest)) else [Path(part) for part in rest.split("+")]
        name = name or files[0].stem
        files = [path if _is_there(path) else _found(path) for path in files]
        if name in models:
            raise ConfigError(f"two models are called '{name}'; name them: --load NAME={text}")
        models[name] = (files, config)
    return models


def is_export(prefix: Path) -> bool:
    """Whether there is an exported network of this name."""
    return prefix.with_name(prefix.name + INFO_SUFFIX).is_file()


def _found(path: Path) -> Path:
    """The weights of a run's folder, or of the catalogue.

    Raises:
        ConfigError: the path is a file that is not there.
        WeightError: a folder without weights, or no such name.
    """
    from ppsr.weights.resolve import resolve_weights

    found = resolve_weights(path)
    if not found.is_file():
        raise ConfigError(f"there is no weight file and no exported network {path}")
    return found


def _is_there(path: Path) -> bool:
    return path.is_file() or is_export(path)
