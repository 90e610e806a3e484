"""Registries of components by name, in PaddleGAN's manner, resolved lazily.

A registry belongs to a package whose ``__init__`` lists ``name -> "module:Class"``. Listing names imports
nothing heavy, and a module that cannot be imported breaks only its own names.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from ppsr.errors import ConfigError, PpsrError, did_you_mean, first_line, mistake

__all__ = [
    "CRITERIONS",
    "DATASETS",
    "DEGRADATION_STEPS",
    "DISCRIMINATORS",
    "GENERATORS",
    "LRSCHEDULERS",
    "METRICS",
    "MODELS",
    "OPTIMIZERS",
    "Registry",
    "build_generator",
    "build_model",
    "import_modules",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")

NAMESPACES = {"ppgan": "ppsr.compat.paddlegan.components:component"}
"""Names of other projects: prefix, as in `ppgan.LESRCNNGenerator` -> function of (kind, name)."""

# by Paddle's layers, for sizes
_NETWORK_ERRORS = (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError, IndexError)
_REFUSED = {"generator": _NETWORK_ERRORS, "discriminator": _NETWORK_ERRORS}


def _imported(target: str) -> Any:
    """The object at "module:name"."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


class Registry:
    """Components of one kind by name."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._targets: dict[str, str] = {}
        self._objects: dict[str, Any] = {}

    def lazy(self, table: Mapping[str, str]) -> None:
        """Add components as ``name -> "module:Class"``; modules are imported at first use."""
        for name, target in table.items():
            if self._targets.get(name, target) != target:
                raise ConfigError(
                    f"{self.kind} '{name}' is registered twice: {self._targets[name]} and {target}"
                )
            self._targets[name] = target

    def register(self, obj: T | None = None, *, name: str | None = None) -> Any:
        """Register a class or function, as a call or as a decorator: ``@GENERATORS.register()``."""

        def add(component: Any) -> Any:
            import_module(self._package)  # which takes its names
            key = name or component.__name__
            if self._objects.get(key, component) is not component or key in self._targets:
                raise ConfigError(
                    f"{self.kind} '{key}' is registered twice; give the second one another name"
                )
            self._objects[key] = component
            return component

        return add if obj is None else add(obj)

    def names(self) -> list[str]:
        """All names, sorted; imports only the package that lists them."""
        import_module(self._package)
        return sorted({*self._targets, *self._objects})

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def get(self, name: str) -> Any:
        """Return the component.

        Raises:
            ConfigError: unknown name; the message has the nearest valid one.
        """
        if name in self._objects:
            return self._objects[name]
        prefix, _, foreign = name.partition(".")
        if foreign and prefix in NAMESPACES:
            return _imported(NAMESPACES[prefix])(self.kind, foreign)
        if name not in self.names():
            raise ConfigError(f"unknown {self.kind} {name!r}; {did_you_mean(name, self.names())}")
        if name not in self._objects:
            self._objects[name] = _imported(self._targets[name])
        return self._objects[name]

    def build(self, cfg: Mapping[str, Any], **extra: Any) -> Any:
        """Build ``cfg["name"]`` from the other entries, checked against the constructor's signature.

        Args:
            cfg: configuration with the key ``name``.
            extra: arguments that do not come from the user (other components, sizes).

        Raises:
            ConfigError: missing ``name``, unknown component, unknown or missing argument, or a refused value.
        """
        if not isinstance(cfg, Mapping) or "name" not in cfg:
            raise ConfigError(f"a {self.kind} needs a mapping with the key 'name'; got {cfg!r}")
        arguments = {**cfg, **extra}
        name = arguments.pop("name")
        if not isinstance(name, str):
            raise ConfigError(f"the name of a {self.kind} must be a text, got {name!r}")
        component = self.get(name)
        fault = check_arguments(component, arguments, f"{self.kind} '{name}'")
        if fault is not None:
            raise ConfigError(fault[1])
        try:
            built = component(**arguments)
        except PpsrError:
            raise
        except _REFUSED.get(self.kind, ValueError) as error:  # Paddle's, for a value that it refuses
            if "ResourceExhausted" in str(error):  # memory, which is not a fault of the value
                raise
            logger.debug("building %s failed", name, exc_info=True)
            reason = first_line(error)
            doubtful = [_named(key, value) for key, value in arguments.items() if _is_doubtful(value)]
            raise ConfigError("; ".join([f"{self.kind} '{name}': {reason}", *doubtful])) from error
        if self.kind == "generator":
            built.built_from = {"name": name, **arguments}  # weight files state it
        return built


def _named(key: str, value: Any) -> str:
    return f"{key} is {'the text ' if isinstance(value, str) else ''}{value!r}"


def _is_doubtful(value: Any) -> bool:
    """Whether it is a text that a number was meant by, or a whole number below 1."""
    if isinstance(value, str):
        return value.strip().lstrip("-").replace(".", "", 1).isdigit()
    return type(value) is int and value < 1


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register components, by the names that an import statement has for them.

    The working directory is searched last. A module runs whatever it contains: import your own.

    Raises:
        ConfigError: there is no such module, or it cannot be imported.

    Example:
        >>> import_modules(["my_package.losses"])  # with `@CRITERIONS.register()` inside
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    for name in names:
        try:
            import_module(name)
        except Exception as error:  # whatever a module raises
            logger.debug("importing %s failed", name, exc_info=True)
            missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
            if missing and f"{name}.".startswith(f"{missing}."):
                raise ConfigError(
                    f"there is no module '{missing}' in {here}, nor where Python finds modules"
                ) from None
            raise ConfigError(f"importing '{name}' failed: {mistake(error)}") from error


def check_arguments(
    component: Callable[..., Any],
    given: Iterable[str],
    name: str,
    prefix: str = "",
    others: Iterable[str] = (),
) -> tuple[str, str] | None:
    """The first argument that a component does not know, or lacks, and a message; None if all is well.

    Args:
        component: class or function; its `injected_args` are given by the program.
        prefix: prefix of the names in the message, such as "model.generator.".
    """
    parameters = inspect.signature(component).parameters
    valid = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for key in given:
        if key not in valid:
            hint = did_you_mean(key, [*valid, *others])
            return key, f"{name} has no option '{prefix}{key}'; {hint}"
    present = {*given, *getattr(component, "injected_args", ())}
    for key in valid:
        if parameters[key].default is inspect.Parameter.empty and key not in present:
            return key, f"{name} needs the option '{prefix}{key}'"
    return None


GENERATORS = Registry("generator", "ppsr.generators")
DISCRIMINATORS = Registry("discriminator", "ppsr.discriminators")
CRITERIONS = Registry("criterion", "ppsr.criterions")
MODELS = Registry("model", "ppsr.models")
DATASETS = Registry("dataset", "ppsr.datasets")
DEGRADATION_STEPS = Registry("degradation step", "ppsr.degradations")
METRICS = Registry("metric", "ppsr.metrics")
LRSCHEDULERS = Registry("lr_scheduler", "ppsr.solver")
OPTIMIZERS = Registry("optimizer", "ppsr.solver")


def build_generator(name: str | Mapping[str, Any], **kwargs: Any) -> Any:
    """Build a network: ``build_generator("DRCT", upscale=4)``, or by the entry of a config."""
    return GENERATORS.build(name if isinstance(name, Mapping) else {"name": name}, **kwargs)


def build_model(cfg: Mapping[str, Any]) -> Any:
    """Build a training algorithm with its networks and criterions from the ``model`` section of a config."""
    return MODELS.build(cfg)
