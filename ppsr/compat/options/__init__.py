"""Option files of other projects -> configurations of this one; one module per format of source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ppsr.compat.options.basicsr import convert_basicsr
from ppsr.compat.options.drn import KIND, convert_drn, is_drn_command, read_drn_command
from ppsr.compat.options.paddlegan import convert_paddlegan
from ppsr.compat.options.source import Conversion, Source
from ppsr.compat.options.yaml_text import notes_of, to_text
from ppsr.config import check_config
from ppsr.config.loader import Config
from ppsr.config.paddlegan import is_paddlegan_form
from ppsr.config.yaml_tree import parse_yaml
from ppsr.errors import ConfigError
from ppsr.registry import MODELS

__all__ = ["Conversion", "convert_options", "notes_of", "to_text"]

# Keys of a format -> its name and converter.
_FORMATS = (
    ({"model_type", "network_g"}, "BasicSR option file", convert_basicsr),
    ({"model", "dataset"}, "configuration of PaddleGAN or PaddleDepth", convert_paddlegan),
)


def convert_options(path: str | Path, *, test_set: str | None = None) -> Conversion:
    """Convert a published option file, or a text with DRN's command line.

    The contents of the file decide on the format. `test_set` is the key or name of one of several test sets;
    None takes the first.

    Returns:
        A configuration that passes `check_config`, and what became of all other keys.

    Raises:
        ConfigError: unreadable, no known format, already ours, or a part without counterpart; with its place.

    Example:
        >>> convert_options("train_DRCT_SRx4.yml").config["model"]["generator"]["name"]
        'DRCT'
    """
    path = Path(path)
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the option file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; is it an option file?") from None
    if is_drn_command(content):
        conversion = convert_drn(read_drn_command(content, path), test_set)
    else:
        conversion = _convert_yaml(content, path, test_set)
    check_config(Config(conversion.config, path, conversion.lines))
    return conversion


def _convert_yaml(content: str, path: Path, test_set: str | None) -> Conversion:
    values, lines = parse_yaml(content, str(path))
    kinds = f"{', '.join(kind for _, kind, _ in _FORMATS)}, {KIND}"
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(f"{path} holds no keys; what can be converted: {kinds}")
    # our files have the keys of PaddleGAN's, but name a model of ours and list no preprocessing
    model = values.get("model")
    own = not is_paddlegan_form(values) and isinstance(model, Mapping) and str(model.get("name")) in MODELS
    if "base" in values or (own and "dataset" in values):
        raise ConfigError(f"{path} looks like a configuration of this project; use it as it is")
    for keys, kind, converter in _FORMATS:
        if keys <= values.keys():
            return converter(Source(values, lines, path, kind), test_set)
    wanted = " or ".join(" and ".join(sorted(keys)) for keys, _, _ in _FORMATS)
    raise ConfigError(
        f"{path} is no option file that can be converted ({kinds}): it lacks {wanted}; "
        f"it has {', '.join(list(map(str, values))[:8])}"
    )
