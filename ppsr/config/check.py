"""Checking a configuration before anything is built: names, types, components, each error with its place."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from ppsr.config.loader import Config
from ppsr.config.schema import (
    CriterionOptions,
    Experiment,
    LoaderOptions,
    OptimizerOptions,
    TeacherOptions,
    not_a_truth,
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
    check_arguments,
)

__all__ = ["check_config", "component_kind"]

Section = typing.TypeVar("Section", bound=BaseModel)
Path = tuple[str, ...]
# where the `name` of a component is looked up, and the keys that its section has in addition to its options
Kind = tuple[Registry, type[BaseModel] | None]

_CRITERION = CRITERIONS, CriterionOptions
_BY_KEY: dict[str, Kind] = {
    "generator": (GENERATORS, None),
    "predictor": (GENERATORS, None),
    "dual": (GENERATORS, None),
    "teacher": (GENERATORS, TeacherOptions),
    "discriminator": (DISCRIMINATORS, None),
    "model": (MODELS, None),
    "lr_scheduler": (LRSCHEDULERS, None),
    "dataset": (DATASETS, None),
    "datasets": (DATASETS, None),
    "criterions": _CRITERION,
}


def component_kind(key: str) -> Kind | None:
    """The kind of component that a key holds, or a list of it; None for other keys."""
    return _CRITERION if key.endswith("_criterion") else _BY_KEY.get(key)


def check_config(config: Config) -> Experiment:
    """Check the whole configuration.

    Returns:
        The sections that are not components (intervals, loader options, ...), typed and with defaults filled
        in.

    Raises:
        ConfigError: an unknown key, wrong type, missing key or unknown component, with file, line and
            nearest name.
    """
    for path, registry, extra in _components(_section(Experiment, config, config, ())):
        _check_component(config, path, registry, extra)
    return _section(Experiment, config, config, ())  # with numbers in place of quoted ones


def _components(experiment: Experiment) -> Iterator[tuple[Path, Registry, type[BaseModel] | None]]:
    """All components that are not part of another."""
    yield ("model",), MODELS, None
    if experiment.dataset.train is not None:
        yield ("dataset", "train"), DATASETS, LoaderOptions
    for name in experiment.dataset.test_sections:
        yield ("dataset", "test", *filter(None, [name])), DATASETS, LoaderOptions
    if experiment.lr_scheduler is not None:
        yield ("lr_scheduler",), LRSCHEDULERS, None
    optimizers = experiment.optimizer or {}
    if "name" in optimizers:
        yield ("optimizer",), OPTIMIZERS, OptimizerOptions
    else:
        for key in (key for key, value in optimizers.items() if value is not None):
            yield ("optimizer", key), OPTIMIZERS, OptimizerOptions
    for metric in experiment.validate_.metrics:
        yield ("validate", "metrics", metric), METRICS, None


def _section(kind: type[Section], values: Mapping[str, Any], config: Config, path: Path) -> Section:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise _readable(error, config, path, kind.model_fields) from None


def _lookup(config: Mapping[str, Any], path: Path) -> Any:
    node: Any = config
    for key in path:
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


def _check_component(config: Config, path: Path, registry: Registry, extra: type[BaseModel] | None) -> None:
    """Check one component, the other keys of its section, and the components among its options."""
    section, dotted = _lookup(config, path), ".".join(path)
    if not isinstance(section, dict):
        raise ConfigError(
            f"{config.where(*path)}: '{dotted}' must be a mapping with a 'name', got {section!r}"
        )
    if "name" not in section:
        raise ConfigError(
            f"{config.where(*path)}: '{dotted}' lacks the key 'name'; a {registry.kind} is named"
        )
    own = set(extra.model_fields) if extra is not None else set()
    name = str(section["name"])
    try:
        component = registry.get(name)
    except ConfigError as error:
        raise ConfigError(f"{config.where(*path, 'name')}: {dotted}: {error}") from None
    options = [key for key in section if key not in {"name", *own}]
    fault = check_arguments(component, options, name, f"{dotted}.", own)
    if fault is not None:
        raise ConfigError(f"{config.where(*path, fault[0])}: {fault[1]}")
    hints = _hints(component)
    for key in (key for key in section if key != "name"):
        place, value, kind = (*path, key), section[key], component_kind(key)
        if kind is not None and isinstance(value, Mapping):
            _check_component(config, place, *kind)
        elif kind is not None and isinstance(value, list):
            for index in (index for index, entry in enumerate(value) if entry is not None):
                _check_component(config, (*place, str(index)), *kind)
        if key in options and key in hints:  # also of components: a list where one is meant, or the reverse
            _check_type(config, place, hints[key], value)
    if extra is not None:
        given = {key: value for key, value in section.items() if key in own}
        checked = _section(extra, given, config, path)
        section |= {key: getattr(checked, key) for key in given}


def _hints(component: Any) -> dict[str, Any]:
    # options of a dataclass are fields, whose types are resolved in the module of the class that has them
    plain = inspect.isclass(component) and not dataclasses.is_dataclass(component)
    target = component.__init__ if plain else component
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError):  # names that exist for the type checker only
        return {}


def _check_type(config: Config, path: Path, hint: Any, value: Any) -> None:
    """Check a value against an argument's type; a quoted number, 4.0 for 4, or {} for a text, is replaced."""
    if hint is str and value == {}:  # the template "{}" without quotes
        value = _lookup(config, path[:-1])[path[-1]] = "{}"
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception as error:  # pydantic raises several unrelated classes for hints it cannot describe
        if "pydantic" not in type(error).__module__:
            raise
        return
    try:
        accepted = not_a_truth(value, adapter.validate_python(value))
    except (ValidationError, PydanticCustomError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.message()
        raise ConfigError(
            f"{config.where(*path)}: '{'.'.join(path)}' is {value!r}: {_reason(first)}"
        ) from None
    if isinstance(value, (str, float)) and isinstance(accepted, (int, float)):
        _lookup(config, path[:-1])[path[-1]] = accepted


def _reason(message: str) -> str:
    """A message of pydantic within a sentence, without Python's names of types."""
    message = message.partition(" or instance of ")[0].replace("an instance of Sequence", "a list")
    return message[:1].lower() + message[1:]


def _readable(error: ValidationError, config: Config, prefix: Path, fields: Mapping[str, Any]) -> ConfigError:
    """The first problem of a section, as one sentence with its place."""
    first = error.errors()[0]
    path = (*prefix, *(str(part) for part in first["loc"]))
    dotted = ".".join(path)
    if first["type"] == "missing":
        text = f"the key '{dotted}' is missing"
    elif first["type"] == "extra_forbidden":
        text = f"unknown key '{dotted}'; {did_you_mean(path[-1], _siblings(path, fields))}"
    elif first["type"] == "value_error":  # a check of the schema, whose text is complete
        text = str(first["ctx"]["error"])
    else:
        text = f"'{dotted}' is {first['input']!r}: {_reason(first['msg'])}"
    return ConfigError(f"{config.where(*path)}: {text}")


def _siblings(path: Path, fields: Mapping[str, Any]) -> list[str]:
    for part in path[:-1]:
        by_key = {field.alias or name: field for name, field in fields.items()}
        if part not in by_key:
            continue  # a key that the user chooses, as below `load`
        annotation = by_key[part].annotation
        options = [annotation, *typing.get_args(annotation)]
        nested = [a for a in options if inspect.isclass(a) and hasattr(a, "model_fields")]
        if not nested:
            return []
        fields = nested[0].model_fields
    return [field.alias or name for name, field in fields.items()]
