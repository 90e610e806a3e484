"""Checking a configuration before anything is built: names, types, components, each error with its place."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ppsr.config.loader import Config
from ppsr.config.schema import (
    CriterionOptions,
    Experiment,
    LoaderOptions,
    OptimizerOptions,
    TeacherOptions,
    test_sections,
)
from ppsr.errors import ConfigError, did_you_mean
from ppsr.registry import (
    CRITERIONS,
    DATASETS,
    DISCRIMINATORS,
    GENERATORS,
    LRSCHEDULERS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    Registry,
)

__all__ = ["check_config", "component_registry"]

Section = typing.TypeVar("Section", bound=BaseModel)

_BY_KEY: dict[str, Registry] = {
    "generator": GENERATORS,
    "predictor": GENERATORS,
    "dual": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "model": MODELS,
    "lr_scheduler": LRSCHEDULERS,
    "dataset": DATASETS,
}


def component_registry(key: str) -> Registry | None:
    """The registry in which the `name` below a key is looked up; None for keys that hold no component."""
    if key.endswith("_criterion"):
        return CRITERIONS
    return _BY_KEY.get(key)


def check_config(config: Config) -> Experiment:
    """Check the whole configuration.

    Returns:
        The sections that are no components (intervals, loader options, ...), typed and with defaults filled
        in.

    Raises:
        ConfigError: an unknown key, wrong type, missing key or unknown component, with file, line and
            nearest name.
    """
    _section(Experiment, config, config, ())
    _component(config, ("model",), MODELS)
    for path in _datasets(config):
        _with_section(config, path, DATASETS, LoaderOptions)
    if "lr_scheduler" in config:
        _component(config, ("lr_scheduler",), LRSCHEDULERS)
    for path in _optimizers(config):
        _with_section(config, path, OPTIMIZERS, OptimizerOptions)
        if _lookup(config, path).get("lr_scheduler") is not None:
            _component(config, (*path, "lr_scheduler"), LRSCHEDULERS)
    for metric in (config.get("validate") or {}).get("metrics", {}):
        _component(config, ("validate", "metrics", metric), METRICS)
    return _section(Experiment, config, config, ())  # with the numbers that stood as text


def _section(
    kind: type[Section], values: Mapping[str, Any], config: Config, path: tuple[str, ...]
) -> Section:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise _readable(error, config, path, kind.model_fields) from None


def _datasets(config: Config) -> list[tuple[str, ...]]:
    section = config.get("dataset") or {}
    train = [("dataset", "train")] if section.get("train") is not None else []
    tests = [("dataset", "test", *filter(None, [name])) for name in test_sections(section.get("test"))]
    return train + tests


def _optimizers(config: Config) -> list[tuple[str, ...]]:
    section = config.get("optimizer") or {}
    if "name" in section:
        return [("optimizer",)]
    return [("optimizer", key) for key, value in section.items() if value is not None]


def _lookup(config: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    node: Any = config
    for key in path:
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


def _component(
    config: Config, path: tuple[str, ...], registry: Registry, ignore: set[str] | None = None
) -> None:
    """Check one component and, by their keys, the components among its arguments."""
    section = _lookup(config, path)
    dotted = ".".join(path)
    if not isinstance(section, Mapping):
        raise ConfigError(
            f"{config.where(*path)}: '{dotted}' must be a mapping with a 'name', got {section!r}"
        )
    if "name" not in section:
        raise ConfigError(
            f"{config.where(*path)}: '{dotted}' lacks the key 'name'; a {registry.kind} is named"
        )
    try:
        component = registry.get(str(section["name"]))
    except ConfigError as error:
        raise ConfigError(f"{config.where(*path, 'name')}: {dotted}: {error}") from None
    options = {k: v for k, v in section.items() if k != "name" and k not in (ignore or set())}
    parameters = {
        p.name: p
        for p in inspect.signature(component).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    given_elsewhere = getattr(component, "given_by_engine", ())
    hints = _hints(component)
    for key, value in options.items():
        place = (*path, key)
        if key not in parameters:
            raise ConfigError(
                f"{config.where(*place)}: {section['name']} has no option '{dotted}.{key}'; "
                f"{did_you_mean(key, [*parameters, *(ignore or ())])}"
            )
        if key == "teacher" and isinstance(value, Mapping):
            _with_section(config, place, GENERATORS, TeacherOptions)
        elif component_registry(key) is not None and isinstance(value, Mapping):
            _component(config, place, typing.cast(Registry, component_registry(key)))
        elif key == "criterions" and isinstance(value, list):
            for index in (i for i, entry in enumerate(value) if entry is not None):
                _with_section(config, (*place, str(index)), CRITERIONS, CriterionOptions)
        elif key in hints:
            _check_type(config, place, hints[key], value)
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in options and key not in given_elsewhere:
            raise ConfigError(f"{config.where(*path)}: {section['name']} needs the option '{dotted}.{key}'")


def _with_section(config: Config, path: tuple[str, ...], registry: Registry, kind: type[BaseModel]) -> None:
    """Check a component, and the section whose keys stand beside its own options."""
    own = set(kind.model_fields)
    _component(config, path, registry, ignore=own)
    values = _lookup(config, path)
    given = {key: value for key, value in values.items() if key in own}
    checked = _section(kind, given, config, path)
    values.update({key: getattr(checked, key) for key in given})


def _hints(component: Any) -> dict[str, Any]:
    # options of a dataclass are fields, whose types are resolved in the module of the class that has them
    plain = inspect.isclass(component) and not dataclasses.is_dataclass(component)
    target = component.__init__ if plain else component
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError):  # names that exist for the type checker only
        return {}


def _check_type(config: Config, path: tuple[str, ...], hint: Any, value: Any) -> None:
    """Check a value against an argument's type; a number that stands as text, or 4.0 for 4, is replaced."""
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception as error:  # pydantic raises several unrelated classes for hints it cannot describe
        if "pydantic" not in type(error).__module__:
            raise
        return
    try:
        accepted = adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{config.where(*path)}: '{'.'.join(path)}' is {value!r}: {first['msg'].lower()}"
        ) from None
    if isinstance(value, (str, float)) and isinstance(accepted, (int, float)):
        _lookup(config, path[:-1])[path[-1]] = accepted


def _readable(
    error: ValidationError, config: Config, prefix: tuple[str, ...], fields: Mapping[str, Any]
) -> ConfigError:
    """The first problem of a section, as one sentence with its place."""
    first = error.errors()[0]
    path = (*prefix, *(str(part) for part in first["loc"]))
    dotted = ".".join(path)
    if first["type"] == "missing":
        return ConfigError(f"{config.where(*path)}: the key '{dotted}' is missing")
    if first["type"] == "extra_forbidden":
        return ConfigError(
            f"{config.where(*path)}: unknown key '{dotted}'; "
            f"{did_you_mean(path[-1], _siblings(path, fields))}"
        )
    if first["type"] == "value_error":  # a check of our own, which tells everything itself
        return ConfigError(f"{config.where(*path)}: {first['ctx']['error']}")
    return ConfigError(f"{config.where(*path)}: '{dotted}' is {first['input']!r}: {first['msg'].lower()}")


def _siblings(path: tuple[str, ...], fields: Mapping[str, Any]) -> list[str]:
    for part in path[:-1]:
        by_key = {field.alias or name: field for name, field in fields.items()}
        if part not in by_key:
            continue  # a key of one's own choice, as below `load`
        annotation = by_key[part].annotation
        options = [annotation, *typing.get_args(annotation)]
        nested = [a for a in options if inspect.isclass(a) and hasattr(a, "model_fields")]
        if not nested:
            return []
        fields = nested[0].model_fields
    return [field.alias or name for name, field in fields.items()]
