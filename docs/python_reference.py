"""Reference pages of Python names, from each module's `__all__`; modules without one are internal."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from docs.docstrings import code, described, table

__all__ = ["api_pages"]


def api_pages(package: Path) -> dict[str, str]:
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
        (code(f"ppsr.{name}"), f"[{module}]({_page_of(module)}#{name.lower()})") for name, module in public
    ]
    pages["api/index.md"] = (
        "# Python\n\nNames in `ppsr` are the interface that stays; what else these pages list may change "
        "between versions.\n\n" + table(("name", "defined in"), rows)
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
    return "\n\n".join([*head, *(part for node in nodes for part in _definition(node, dotted))])


def _all_of(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _definition(node: ast.FunctionDef | ast.ClassDef, module: str) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield f"### {node.name}"
        yield _signature(node)
        yield described(ast.get_docstring(node))
        return
    yield f"### {node.name}"
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    constructor = next((m for m in methods if m.name == "__init__"), None)
    if constructor is not None and constructor.decorator_list:  # which may add arguments
        found = inspect.signature(getattr(importlib.import_module(module), node.name))
        text = re.sub(r": '([^']*)'", r": \1", str(found))  # annotations are texts
        added = ast.parse(f"def {node.name}{text}: ...").body[0]
        assert isinstance(added, ast.FunctionDef)
        yield _signature(added, node.name)
    elif constructor is not None:
        yield _signature(constructor, node.name)
    yield described(ast.get_docstring(node))
    for method in methods:
        if not method.name.startswith("_") and ast.get_docstring(method):
            yield f"#### {node.name}.{method.name}"
            yield _signature(method)
            yield described(ast.get_docstring(method))


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
