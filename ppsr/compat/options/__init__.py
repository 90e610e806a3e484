"""Option files of other projects -> configurations of this one; one module per format of source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ppsr.compat.options.basicsr import convert_basicsr
from ppsr.compat.options.paddlegan import convert_paddlegan
from ppsr.compat.options.source import Conversion, Source, notes_of, to_text
from ppsr.config import check_config
from ppsr.config.loader import Config
from ppsr.config.paddlegan import is_paddlegan_form
from ppsr.config.yaml_tree import read_yaml
from ppsr.errors import ConfigError
from ppsr.registry import MODELS

__all__ = ["Conversion", "convert_options", "notes_of", "to_text"]

_NOT_YAML = {
    ".json": "JSON option files, such as KAIR's,",
    ".toml": "TOML option files, such as neosr's,",
    ".py": "Python configs, such as mmagic's,",
}


def convert_options(path: str | Path, *, test_set: str | None = None) -> Conversion:
    """Convert a published option file, of BasicSR or PaddleGAN by its keys, to one `check_config` accepts.

    `test_set` is the key or name of one of several test sets; None takes the first.

    Raises:
        ConfigError: unreadable, no known format, already ours, or a part without counterpart; with its place.

    Example:
        >>> convert_options("train_DRCT_SRx4.yml").config["model"]["generator"]["name"]
        'DRCT'
    """
    path = Path(path)
    if path.suffix in _NOT_YAML:
        raise ConfigError(
            f"{path}: {_NOT_YAML[path.suffix]} are not converted, only YAML of BasicSR and PaddleGAN; "
            "start from one of `ppsr configs list`; `ppsr models identify` tells if the weights can be read"
        )
    values, lines = read_yaml(path)
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(f"{path} has no keys; an option file of BasicSR or PaddleGAN is needed")
    # our files have the keys of PaddleGAN's, but name a model of ours and list no preprocessing
    model = values.get("model")
    own = not is_paddlegan_form(values) and isinstance(model, Mapping) and str(model.get("name")) in MODELS
    if "base" in values or (own and "dataset" in values):
        raise ConfigError(f"{path} looks like a configuration of ppsr; use it as it is")
    if {"model_type", "network_g"} <= values.keys():
        result = convert_basicsr(Source(values, lines, path, "BasicSR option file"), test_set)
    elif {"model", "dataset"} <= values.keys():
        result = convert_paddlegan(Source(values, lines, path, "configuration of PaddleGAN"), test_set)
    else:
        raise ConfigError(
            f"{path} is not an option file of BasicSR, which has model_type and network_g, nor of PaddleGAN, "
            f"which has model and dataset; its keys: {', '.join(list(map(str, values))[:8])}"
        )
    check_config(Config(result.config, path, result.lines))
    return result
