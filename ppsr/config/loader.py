"""Config files with at most one base, and overrides from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from ppsr.config.paddlegan import is_paddlegan_form, to_ppsr_form
from ppsr.config.yaml_tree import Lines, parse_scalar_text, read_yaml
from ppsr.errors import ConfigError, did_you_mean
from ppsr.registry import import_modules

__all__ = ["Config", "find_config", "flatten", "load_config", "merge", "read_base", "shipped_configs"]


class Config(dict[str, Any]):
    """A plain nested dictionary that remembers the file it came from and where each key was written."""

    def __init__(self, values: Mapping[str, Any], path: Path, lines: Lines) -> None:
        super().__init__(values)
        self.path = path
        self.lines = lines

    @property
    def stem(self) -> str:
        """Name of the experiment: the file's name without suffix."""
        return self.path.stem

    def where(self, *keys: str) -> str:
        """File and line of a key, or of the nearest enclosing one."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return self.lines[keys[:end]]
        return str(self.path)


def load_config(path: str | Path, overrides: Iterable[str] = (), *, imports: Iterable[str] = ()) -> Config:
    """Read a config file, its base, and overrides; values are plain, components are not looked up.

    Modules of the key `imports` are imported, so that the components which they register have names.

    Args:
        path: a YAML file, or the name of a shipped config; its optional key `base` names one other file,
            relative to it.
        overrides: texts of the form `a.b.0.c=value`; the value follows YAML's rules.

    Raises:
        ConfigError: unreadable or wrong file, second base, duplicate key, bad override, a module that cannot
            be imported.
    """
    path = find_config(path)
    values, lines = _read_mapping(path)
    if {"model_type", "network_g"} <= values.keys():
        raise ConfigError(
            f"{path} is an option file of BasicSR; convert it: ppsr convert-config {path} -o NEW.yaml"
        )
    base = values.pop("base", None)
    if base is not None:
        base_path = path.parent / str(base)
        if not base_path.is_file():
            raise ConfigError(f"{lines[('base',)]}: there is no file {base_path}")
        base_values, base_lines = _read_mapping(base_path)
        if "base" in base_values:
            raise ConfigError(f"{base_lines[('base',)]}: {base_path} is itself a base; one level is allowed")
        values, lines = merge(base_values, values), {**base_lines, **lines}
    for override in overrides:
        _override(values, lines, override)
    _import(values, lines, imports)
    values = _with_home(values)
    config = Config(values, path, lines)
    if is_paddlegan_form(config):
        values, lines = to_ppsr_form(config)
        return Config(values, path, lines)
    return config


def _with_home(value: Any) -> Any:
    """Values with `~/` at the beginning of texts, which are paths then, replaced by the home folder."""
    if isinstance(value, dict):
        return {key: _with_home(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_with_home(child) for child in value]
    return str(Path(value).expanduser()) if isinstance(value, str) and value.startswith("~/") else value


def read_base(path: Path) -> Path | None:
    """The file that a config names as its base."""
    base = _read_mapping(path)[0].get("base")
    return None if base is None else path.parent / str(base)


def shipped_configs() -> dict[str, Path]:
    """Names and files of the configs that come with the package, sorted."""
    package = Path(__file__).parents[1]
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str | Path) -> Path:
    """The file that a path or the name of a shipped config means.

    Raises:
        ConfigError: there is none; with the nearest name.

    Example:
        >>> find_config("drn_x4").name
        'drn_x4.yaml'
    """
    path = Path(name)
    if path.exists():
        return path
    shipped = shipped_configs()
    if (
        path.stem in shipped
        and path.suffix in ("", ".yaml", ".yml")
        and path.parent in (Path(), Path("configs"))
    ):
        return shipped[path.stem]
    if path.suffix in (".yaml", ".yml", "") and shipped:
        hint = did_you_mean(path.stem, shipped)
        raise ConfigError(f"cannot read the config file {path}: No such file or directory; {hint}")
    return path


def _import(values: dict[str, Any], lines: Lines, further: Iterable[str]) -> None:
    """Import what the config and the command line name, and keep all of it in the config."""
    named = values.get("imports") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ConfigError(f"{lines[('imports',)]}: 'imports' must be a list of modules, got {named!r}")
    for index, name in enumerate(named):
        try:
            import_modules([name])
        except ConfigError as error:
            place = lines.get(("imports", str(index)), lines[("imports",)])
            raise ConfigError(f"{place}: imports: {error}") from error
    added = list(further)
    import_modules(added)
    if added:
        values["imports"] = [*named, *added]


def _read_mapping(path: Path) -> tuple[dict[str, Any], Lines]:
    values, lines = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a configuration must be a mapping of keys, not {type(values).__name__}")
    return values, lines


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `top` over `base`, key by key. A mapping with another `name` is another component: it replaces."""
    result = dict(base)
    for key, value in top.items():
        old = result.get(key)
        result[key] = merge(old, value) if _same_component(old, value) else value
    return result


def _same_component(old: Any, new: Any) -> TypeGuard[Mapping[str, Any]]:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    return new.get("name", old.get("name")) == old.get("name")


def flatten(node: Any, key: str = "") -> dict[str, Any]:
    """Values that are no sections, and no lists of some, by their dotted keys."""
    if isinstance(node, list) and any(isinstance(child, Mapping) for child in node):
        node = dict(enumerate(node))
    if not isinstance(node, Mapping):
        return {key: node}
    below = (flatten(child, f"{key}.{name}".lstrip(".")) for name, child in node.items())
    return {inner: value for part in below for inner, value in part.items()}


def _override(values: dict[str, Any], lines: Lines, override: str) -> None:
    key, separator, text = override.partition("=")
    source = f"-o {override[:80]}"
    if not separator or not key.strip():
        raise ConfigError(f"{source}: an override has the form a.b.c=value")
    parts = key.strip().split(".")
    node: Any = values
    for depth, part in enumerate(parts[:-1]):
        node = _child(node, part, source, ".".join(parts[:depth]))
    last, value = parts[-1], parse_scalar_text(text, source)
    if isinstance(node, list):
        node[_index(node, last, source)] = value
    elif isinstance(node, dict):
        node[last] = value  # a new key is checked against the component's signature later
    else:
        raise ConfigError(f"{source}: '{'.'.join(parts[:-1])}' is a single value and has no '{last}'")
    for known in [k for k in lines if k[: len(parts)] == tuple(parts)]:
        del lines[known]
    lines[tuple(parts)] = source


def _child(node: Any, part: str, source: str, where: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, part, source)]
    if not isinstance(node, dict):
        raise ConfigError(f"{source}: '{where}' is a single value and has no '{part}'")
    if node.get(part) is None:
        node[part] = {}  # a section that the file leaves at its defaults; a wrong name fails the check
    return node[part]


def _index(node: list[Any], part: str, source: str) -> int:
    if not part.lstrip("-").isdigit() or not -len(node) <= int(part) < len(node):
        raise ConfigError(f"{source}: '{part}' is not an index of a list of {len(node)}")
    return int(part)
