"""The models of the service: those of the command line, and the catalogue's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ppsr.errors import ConfigError
from ppsr.inference.export.artifact import find_export
from ppsr.weights.catalogue import entries
from ppsr.weights.fetch import local_path, resolve_weights


@dataclass(frozen=True)
class ModelSource:
    """Source of a model. Fields that are only displayed are not compared.

    Attributes:
        files: weights, or an exported network; the name of a catalogue entry.
        config: defines the network; None: inferred from the weights.
        scale: enlargement; 0 until the model was opened.
        network: name of the architecture, or "".
        purpose: what it was trained for, or "".
        download: bytes that must be downloaded before its first use.
        partner: name of the catalogue entry that it is mixed with for less strength, or "".
    """

    files: tuple[Path, ...]
    config: Path | None = None
    scale: int = field(default=0, compare=False)
    network: str = field(default="", compare=False)
    purpose: str = field(default="", compare=False)
    download: int = field(default=0, compare=False)
    partner: str = ""


def named_models(load: Sequence[str], configs: Sequence[Path]) -> dict[str, ModelSource]:
    """Models of the command line by name.

    Args:
        load: FILE, NAME=FILE, FILE+FILE or NAME=FILE+FILE; without a name, that of the first file. A FILE may
            also be a run folder or a name of the catalogue.
        configs: none, one for all, or one for each.

    Raises:
        ConfigError: another number of configs, two models of one name, or a missing file.
        WeightError: a folder without weights, or a name that the catalogue does not have.
    """
    if len(configs) not in (0, 1, len(load)):
        raise ConfigError(f"{len(configs)} configs for {len(load)} models; give none, one, or one for each")
    paired = [*configs] if len(configs) == len(load) else [configs[0] if configs else None] * len(load)
    published = {entry.name: entry for entry in entries()}
    models: dict[str, ModelSource] = {}
    for text, config in zip(load, paired, strict=True):
        name, files = "", [Path(text)]
        if not _exists(files[0]):
            name, _, rest = text.rpartition("=")
            files = [Path(rest)] if _exists(Path(rest)) else [Path(part) for part in rest.split("+")]
        name = name or files[0].stem
        if name in models:
            raise ConfigError(f"two models are called '{name}'; name them: --load NAME={text}")
        for path in files:
            if not _exists(path) and not resolve_weights(path).is_file():
                raise ConfigError(f"there is no weight file and no exported network {path}")
        entry = published.get(str(files[0]))
        models[name] = ModelSource(tuple(files), config, partner="" if entry is None else entry.partner)
    return models


def catalogue_models() -> dict[str, ModelSource]:
    """Models of the catalogue that are on this machine or can be downloaded without a person."""
    found = {}
    for entry in entries():
        local = local_path(entry) is not None
        if entry.scale and (local or any(source.direct and not source.package for source in entry.sources)):
            found[entry.name] = ModelSource(
                files=(Path(entry.name),),
                scale=entry.scale,
                network=str((entry.network or {}).get("name", "")),
                purpose=entry.purpose,
                download=0 if local else entry.size or 0,
                partner=entry.partner,
            )
    for name, model in found.items():
        if model.partner and model.partner not in found:
            found[name] = replace(model, partner="")
    return found


def _exists(path: Path) -> bool:
    return path.is_file() or find_export(path) is not None
