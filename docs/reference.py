"""Reference pages made from the code: options of components, sections of a config, commands.

Options come from the constructors that the registries list, their meaning from the docstrings; sections from
the schema; commands from the command line's own definition.
"""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from docs.docstrings import cell, code, parse_docstring, table
from docs.python_reference import api_pages

__all__ = ["reference_pages"]


def reference_pages(root: Path) -> dict[str, str]:
    """All reference pages of the checkout at `root`: path below `reference/` -> Markdown."""
    return {
        "sections.md": _sections_page(),
        **_component_pages(_users_of_components(root / "configs")),
        "configs.md": _configs_page(root / "configs"),
        "commands.md": _commands_page(),
        "models.md": _models_page(),
        **api_pages(root / "ppsr"),
    }


# --- components ---------------------------------------------------------------------------------------------


def _component_pages(users: Mapping[str, list[str]]) -> dict[str, str]:
    from ppsr import registry

    pages = {}
    for title, components in (
        ("Generators", registry.GENERATORS),
        ("Discriminators", registry.DISCRIMINATORS),
        ("Training algorithms", registry.MODELS),
        ("Criterions", registry.CRITERIONS),
        ("Datasets", registry.DATASETS),
        ("Metrics", registry.METRICS),
        ("Learning-rate schedules", registry.LRSCHEDULERS),
        ("Optimizers", registry.OPTIMIZERS),
    ):
        parts = [f"# {title}", f"What `name` may be for a {components.kind} in a config, and its options."]
        parts += [_component(name, components.get(name), users[name]) for name in components.names()]
        pages[f"{title.lower().replace(' ', '-')}.md"] = "\n\n".join(parts) + "\n"
    pages["degradation-steps.md"] = _steps_page()
    return pages


def _component(name: str, component: Any, users: list[str]) -> str:
    doc = parse_docstring(component.__doc__)
    meanings = _meanings(component)
    given = getattr(component, "injected_args", ())
    rows = []
    for option in inspect.signature(component).parameters.values():
        if option.name in given:
            continue
        default = "required" if option.default is option.empty else code(repr(option.default))
        kind = option.annotation if isinstance(option.annotation, str) else ""
        rows.append((code(option.name), code(kind), default, cell(meanings.get(option.name, ""))))
    parts = [f"## {name}", doc.text]
    parts.append(table(("option", "type", "default", "meaning"), rows) if rows else "No options.")
    if doc.sections.get("Raises"):
        parts.append("Refused: " + "; ".join(cell(text) for _, text in doc.sections["Raises"]))
    if users:
        parts.append("Used in " + ", ".join(f"[{stem}](configs.md#{stem})" for stem in users) + ".")
    return "\n\n".join(parts)


def _meanings(component: Any) -> dict[str, str]:
    """Descriptions of arguments, of the class itself before those of its bases."""
    found: dict[str, str] = {}
    owners = inspect.getmro(component) if inspect.isclass(component) else (component,)
    for owner in owners:
        if not getattr(owner, "__module__", "").startswith("ppsr"):
            continue
        docs = [owner.__doc__]
        if inspect.isclass(owner) and "__init__" in vars(owner):
            docs.append(vars(owner)["__init__"].__doc__)
        for docstring in docs:
            for key, text in parse_docstring(docstring).sections.get("Args", []):
                found.setdefault(key, text)
    return found


def _steps_page() -> str:
    from ppsr.registry import DEGRADATION_STEPS

    parts = ["# Degradation steps", "What `dataset.train.degradation.operations` is a list of."]
    for name, step in ((name, DEGRADATION_STEPS.get(name)) for name in DEGRADATION_STEPS.names()):
        meanings = dict(parse_docstring(step.__doc__).sections.get("Attributes", []))
        rows = [
            (
                code(entry.name),
                code(str(entry.type)),
                "required" if entry.default is MISSING else code(repr(entry.default)),
                cell(meanings.get(entry.name, "")),
            )
            for entry in fields(step)
        ]
        options = table(("option", "type", "default", "meaning"), rows)
        parts += [f"## {name}", parse_docstring(step.__doc__).text, options]
    return "\n\n".join(parts) + "\n"


# --- configs ------------------------------------------------------------------------------------------------


def _sections_page() -> str:
    from ppsr.config.schema import Experiment, LoaderOptions

    parts = [
        "# Sections of a config",
        "Every key beside the options of components. A wrong key, type or name is answered with file, line "
        "and the nearest valid one.",
        "## Top level",
        _schema_table(Experiment),
    ]
    for key, inner in _sections_of(Experiment):
        parts += [f"## {key}", inspect.getdoc(inner) or "", _schema_table(inner)]
    parts += [
        "## dataset.train and dataset.test",
        "Beside the options of the [dataset](datasets.md):",
        _schema_table(LoaderOptions),
    ]
    return "\n\n".join(parts) + "\n"


def _sections_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Key and class of every section in a section, those in it included."""
    for key, entry in model.model_fields.items():
        inner = _section_class(entry.annotation)
        if inner is not None:
            yield entry.alias or key, inner
            yield from _sections_of(inner)


def _section_class(annotation: Any) -> Any:
    """The pydantic model that an annotation names, also inside `X | None` and `dict[str, X]`."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next((a for a in options if inspect.isclass(a) and hasattr(a, "model_fields")), None)


def _schema_table(model: Any) -> str:
    rows = []
    for key, entry in model.model_fields.items():
        kind = re.sub(r"ppsr\.config\.schema\.|typing\.", "", str(entry.annotation))
        kind = entry.annotation.__name__ if re.match(r"<class", kind) else kind
        inner = _section_class(entry.annotation)
        default = "required" if entry.is_required() else code(repr(entry.get_default()))
        if inner is not None:
            kind, default = "section", f"[below](#{entry.alias or key})"
        rows.append((code(entry.alias or key), code(kind), default, cell(entry.description or "")))
    return table(("key", "type", "default", "meaning"), rows)


def _configs_page(folder: Path) -> str:
    parts = ["# Configs", "The comments at the head of each file: command, hardware, expected score."]
    for path in sorted(folder.glob("*.yaml")):
        head = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            head.append(line.removeprefix("#").removeprefix(" "))
        text = "\n".join(head)
        parts += [f"## {path.stem}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def _users_of_components(folder: Path) -> dict[str, list[str]]:
    """Component name -> stems of the configs that name it."""
    users: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("*.yaml")):
        for name in sorted(set(_names(yaml.safe_load(path.read_text(encoding="utf-8"))))):
            users[name].append(path.stem)
    return users


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("name"), str):
            yield node["name"]
        for value in node.values():
            yield from _names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _names(value)


# --- commands -----------------------------------------------------------------------------------------------


def _commands_page() -> str:
    from typer.main import get_command

    from ppsr.cli import build_app

    parts = ["# Commands", "`tools/main.py` is `ppsr train`, `tools/inference.py` is `ppsr infer`."]
    parts += _command("ppsr", get_command(build_app()))
    return "\n\n".join(parts) + "\n"


def _command(path: str, command: Any) -> list[str]:
    inner = getattr(command, "commands", None)
    if inner is not None:
        return [part for name, sub in sorted(inner.items()) for part in _command(f"{path} {name}", sub)]
    rows = []
    for option in command.params:
        is_option = option.param_type_name == "option"
        names = ", ".join([*option.opts, *option.secondary_opts]) if is_option else _metavar(option)
        default = option.default
        plain = isinstance(default, (str, int, float, Path)) and not isinstance(default, bool)
        shown = "required" if option.required else code(str(default)) if plain and str(default) else ""
        rows.append((code(names), shown, cell(getattr(option, "help", None) or "")))
    text = inspect.cleandoc(command.help or "")
    return [f"## {path}", text, table(("argument", "default", "meaning"), rows) if rows else ""]


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _models_page() -> str:
    from ppsr.generators.variants import all_variants

    rows = [
        (
            v.name,
            f"[{v.generator}](generators.md#{v.generator.lower()})",
            f"x{v.scale}",
            f"{v.parameters:,}",
            f"{v.macs / 1e9:.2f}",
            cell(v.paper),
            code(json.dumps(dict(v.kwargs))),
        )
        for v in all_variants()
    ]
    head = ("name", "network", "scale", "parameters", "GMACs, 64x64", "paper", "arguments")
    return f"# Published models\n\nAs `ppsr models networks --json` prints them.\n\n{table(head, rows)}"
