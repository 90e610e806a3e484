"""Reference pages made from the code: options of components, sections of a config, commands, Python names.

Options come from the constructors that the registries list, their meaning from the docstrings; sections from
the schema; commands from the command line's own definition; Python names from each module's `__all__`.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

__all__ = ["reference_pages"]

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example):\s*$")
_ENTRY = re.compile(r"^(\*{0,2}[\w.]+)(?: \([^)]*\))?: (.*)$")


def reference_pages(root: Path) -> dict[str, str]:
    """All reference pages of the checkout at `root`: path below `reference/` -> Markdown."""
    return {
        "sections.md": _sections_page(),
        **_component_pages(_users_of_components(root / "configs")),
        "configs.md": _configs_page(root / "configs"),
        "commands.md": _commands_page(),
        "models.md": _models_page(),
        **_api_pages(root / "ppsr"),
    }


@dataclass
class Doc:
    """A docstring in parts: free text, and per section its entries (name, text)."""

    text: str = ""
    sections: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))


def parse_docstring(docstring: str | None) -> Doc:
    """Split a docstring of Google's form."""
    doc, section, indent = Doc(), None, 0
    text: list[str] = []
    for line in inspect.cleandoc(docstring or "").splitlines():
        heading = _SECTION.match(line)
        if heading:
            section, indent = heading[1], 0
            doc.sections[section] = []
        elif section is None:
            text.append(line)
        elif line and not line.startswith(" "):
            section = None
            text.append(line)
        elif line.strip():
            _add_line(doc.sections[section], line, indent or (indent := len(line) - len(line.lstrip())))
    doc.text = "\n".join(text).strip()
    return doc


def _add_line(entries: list[tuple[str, str]], line: str, indent: int) -> None:
    """A line of a section begins an entry, or goes on with the last one."""
    found = _ENTRY.match(line.strip()) if len(line) - len(line.lstrip()) == indent else None
    if found:
        entries.append((found[1], found[2]))
    elif entries:
        name, text = entries[-1]
        entries[-1] = (name, f"{text} {line.strip()}")
    else:
        entries.append(("", line.strip()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    """Code in a table's cell, where a bar needs no escape."""
    return f"`{' '.join(text.split())}`" if text else ""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


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
        default = "required" if option.default is option.empty else _code(repr(option.default))
        kind = option.annotation if isinstance(option.annotation, str) else ""
        rows.append((_code(option.name), _code(kind), default, _cell(meanings.get(option.name, ""))))
    parts = [f"## {name}", doc.text]
    parts.append(_table(("option", "type", "default", "meaning"), rows) if rows else "No options.")
    if doc.sections.get("Raises"):
        parts.append("Refused: " + "; ".join(_cell(text) for _, text in doc.sections["Raises"]))
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
    from ppsr.degradations import second_order

    parts = ["# Degradation steps", "What `dataset.train.degradation.operations` is a list of."]
    for name, step in second_order._STEPS.items():
        meanings = dict(parse_docstring(step.__doc__).sections.get("Attributes", []))
        rows = [
            (
                _code(entry.name),
                _code(str(entry.type)),
                "required" if entry.default is MISSING else _code(repr(entry.default)),
                _cell(meanings.get(entry.name, "")),
            )
            for entry in fields(step)
        ]
        table = _table(("option", "type", "default", "meaning"), rows)
        parts += [f"## {name}", parse_docstring(step.__doc__).text, table]
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
        default = "required" if entry.is_required() else _code(repr(entry.get_default()))
        if inner is not None:
            kind, default = "section", f"[below](#{entry.alias or key})"
        rows.append((_code(entry.alias or key), _code(kind), default, _cell(entry.description or "")))
    return _table(("key", "type", "default", "meaning"), rows)


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
        shown = "required" if option.required else _code(str(default)) if plain and str(default) else ""
        rows.append((_code(names), shown, _cell(getattr(option, "help", None) or "")))
    text = inspect.cleandoc(command.help or "")
    return [f"## {path}", text, _table(("argument", "default", "meaning"), rows) if rows else ""]


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
            _cell(v.paper),
            _code(json.dumps(dict(v.kwargs))),
        )
        for v in all_variants()
    ]
    head = ("name", "network", "scale", "parameters", "GMACs, 64x64", "paper", "arguments")
    return f"# Published models\n\nAs `ppsr models networks --json` prints them.\n\n{_table(head, rows)}"


# --- Python -------------------------------------------------------------------------------------------------


def _api_pages(package: Path) -> dict[str, str]:
    """One page per sub-package from the modules' `__all__`, and one of the names in `ppsr` itself."""
    modules: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        modules[parts[0] if len(parts) > 1 else "core"].append(path)
    pages = {}
    for name, paths in modules.items():
        entries = [text for path in paths if (text := _module(path, package.parent))]
        if entries:
            title = "ppsr" if name == "core" else f"ppsr.{name}"
            pages[f"api/{name}.md"] = f"# {title}\n\n" + "\n\n".join(entries) + "\n"
    public = _public_names(package / "__init__.py")
    rows = [
        (_code(f"ppsr.{name}"), f"[{module}]({_page_of(module)}#{name.lower()})") for name, module in public
    ]
    pages["api/index.md"] = (
        "# Python\n\nNames in `ppsr` are the interface that stays; what else these pages list may change "
        "between versions.\n\n" + _table(("name", "defined in"), rows)
    )
    return pages


def _page_of(module: str) -> str:
    parts = module.split(".")
    return f"{parts[1]}.md" if len(parts) > 2 or parts[1] == "weights" else "core.md"


def _public_names(path: Path) -> list[tuple[str, str]]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_EXPORTS":
            return sorted(ast.literal_eval(node.value).items())
    raise ValueError(f"{path} has no table _EXPORTS")


def _module(path: Path, root: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = _all_of(tree)
    nodes = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name in public]
    if not nodes:
        return ""
    dotted = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    head = [f"## {dotted}", ast.get_docstring(tree) or ""]
    return "\n\n".join([*head, *(part for node in nodes for part in _definition(node))])


def _all_of(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _definition(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield f"### {node.name}"
        yield _signature(node)
        yield _described(ast.get_docstring(node))
        return
    yield f"### {node.name}"
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    constructor = next((m for m in methods if m.name == "__init__"), None)
    if constructor is not None:
        yield _signature(constructor, node.name)
    yield _described(ast.get_docstring(node))
    for method in methods:
        if not method.name.startswith("_") and ast.get_docstring(method):
            yield f"#### {node.name}.{method.name}"
            yield _signature(method)
            yield _described(ast.get_docstring(method))


def _signature(node: ast.FunctionDef, name: str | None = None) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None and name is None else ""
    text = ast.unparse(node.args)
    text = re.sub(r"^(self|cls)(, )?", "", text)
    line = f"{name or node.name}({text}){returns}"
    if len(line) > 100:
        pieces = [f"    {piece}," for piece in _arguments(node.args)]
        line = "\n".join([f"{name or node.name}(", *pieces, f"){returns}"])
    return f"```text\n{line}\n```"


def _arguments(arguments: ast.arguments) -> list[str]:
    """One text per argument, with `*` where only keywords follow."""
    pieces = []
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    for argument, default in zip(plain, defaults, strict=True):
        pieces.append(ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else ""))
    if arguments.vararg:
        pieces.append(f"*{ast.unparse(arguments.vararg)}")
    elif arguments.kwonlyargs:
        pieces.append("*")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        pieces.append(ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else ""))
    if arguments.kwarg:
        pieces.append(f"**{ast.unparse(arguments.kwarg)}")
    return pieces[1:] if pieces and pieces[0] in ("self", "cls") else pieces


def _described(docstring: str | None) -> str:
    doc = parse_docstring(docstring)
    parts = [doc.text]
    for title, entries in doc.sections.items():
        lines = [f"* {_code(name) + ': ' if name else ''}{_cell(text)}" for name, text in entries]
        parts.append(f"**{title}**\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)
