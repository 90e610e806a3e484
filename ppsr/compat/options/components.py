"""Components of a source whose options have our names: networks and losses."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ppsr.compat.options.draft import Draft, text
from ppsr.errors import ConfigError
from ppsr.registry import Registry

__all__ = ["Component", "convert_component", "find_row"]


@dataclass(frozen=True)
class Component:
    """How a component of a source is called and built here.

    Attributes:
        name: registered name of ours.
        renames: option of the source -> ours; all others keep their names.
        fixed: options of ours that the source has no key for.
        unused: option of the source -> why it needs no counterpart.
    """

    name: str
    renames: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)


def find_row(draft: Draft, key: str, table: Mapping[str, Any], what: str, hint: str = "") -> Any:
    """The row of a table that a key of the source names.

    Raises:
        ConfigError: the key is missing or names something that has no counterpart.
    """
    name = draft.read(key, text)
    if name not in table:
        raise ConfigError(
            f"{draft.where(key)}: the {what} '{name}' has no counterpart; "
            f"these have: {', '.join(sorted(table))}{hint}"
        )
    return table[name]


def convert_component(
    draft: Draft,
    source: str,
    target: str,
    component: Component,
    registry: Registry,
    *,
    drop_defaults: Collection[str] = (),
) -> None:
    """Copy the options of a component that ours has too; all others stay unread and so count as lost.

    Args:
        draft: the source.
        source: section of the source.
        target: section of ours.
        component: the row of the converter's table.
        registry: where ours is found.
        drop_defaults: options that are left out where they say our default.
    """
    parameters = inspect.signature(registry.get(component.name)).parameters
    draft.put(f"{target}.name", component.name, source)
    for key in draft.keys(source):
        if draft.is_settled(f"{source}.{key}"):
            continue
        ours = component.renames.get(key, key)
        if key in component.unused:
            draft.explain(f"{source}.{key}", component.unused[key])
        elif ours in parameters and ours != "name":
            value = draft.read(f"{source}.{key}", default=None)
            if value is not None and not (ours in drop_defaults and value == parameters[ours].default):
                draft.put(f"{target}.{ours}", value, f"{source}.{key}")
    for option, value in component.fixed.items():
        draft.put(f"{target}.{option}", value, source)
