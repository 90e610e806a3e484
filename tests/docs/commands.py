"""Checking commands without running them: programs, sub-commands, options, configs and their overrides."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from ppsr.cli import build_app
from ppsr.cli.export import export_model
from ppsr.cli.flags import SeveralValues
from ppsr.config import check_config, load_config
from tests.docs.blocks import ROOT

_LAUNCH = "paddle.distributed.launch"
_SEPARATORS = {"&&", "||", ";", "|", "do", "then", "done", "until", "while", "for", "if", "fi", "!", "time"}
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")


@cache
def _app() -> Any:
    return get_command(build_app())


def check_command(line: str, root: Path = ROOT) -> None:
    """Check every program of a command line that belongs to this project.

    Raises:
        AssertionError: an unknown target, script, option or sub-command.
        PpsrError: a config that does not check.
    """
    for words in _simple_commands(line):
        _check(words, root)


def _simple_commands(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in _SEPARATORS or set(word) <= set(";&|"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def _check(words: list[str], root: Path) -> None:
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    if not words:
        return
    program, arguments = words[0].removeprefix("!"), words[1:]
    if program == "ppsr":
        _check_ppsr(arguments)
    elif program == "make":
        targets = _make_targets(root)
        for target in arguments:
            assert target in targets or "=" in target or target.startswith("-"), f"no make target {target}"
    elif program == "bash":
        assert (root / arguments[0]).is_file(), f"no script {arguments[0]}"
    elif re.fullmatch(r"python3?", program):
        _check_python(arguments, root)


def _make_targets(root: Path) -> set[str]:
    text = (root / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([\w-]+):", text, flags=re.M))


def _check_ppsr(arguments: list[str]) -> None:
    """Sub-command and options, by the command line's own definition; nothing is called."""
    command, path = _app(), "ppsr"
    while hasattr(command, "commands"):
        assert arguments, f"`{path}` needs a sub-command"
        if arguments[0] == "--help":
            return
        assert arguments[0] in command.commands, f"`{path}` has no sub-command {arguments[0]}"
        path, command, arguments = f"{path} {arguments[0]}", command.commands[arguments[0]], arguments[1:]
    if "--help" not in arguments:
        command.make_context(path, list(arguments))


def _check_python(arguments: list[str], root: Path) -> None:
    arguments = [a for a in arguments if a not in ("-u",)]
    if arguments[:2] == ["-m", _LAUNCH]:
        arguments = _launched(arguments[2:])
    if not arguments:
        return
    if arguments[0] == "-c":
        ast.parse(arguments[1])
        return
    if arguments[0] == "-m":
        module = root / Path(*arguments[1].split("."))
        assert not arguments[1].startswith("ppsr") or module.is_dir() or module.with_suffix(".py").is_file()
        return
    if "ppsr" in arguments[0] and not arguments[0].endswith(".py"):  # "$(which ppsr)"
        rest = arguments[1:]
        _check_ppsr(rest[1:] if rest[:1] == ["ppsr)"] else rest)
        return
    script = root / arguments[0]
    assert script.is_file(), f"no script {arguments[0]}"
    if arguments[0] == "tools/main.py":
        check_training(arguments[1:], root)
    elif arguments[0] == "tools/inference.py":
        _check_ppsr(["infer", *arguments[1:]])
    elif arguments[0] == "tools/export_model.py":
        app = typer.Typer()
        app.command(cls=SeveralValues)(export_model)
        get_command(app).make_context(arguments[0], arguments[1:])
    else:
        known = _options_in(script, root)
        for option in (a.split("=")[0] for a in arguments[1:] if re.match(r"^--\w", a)):
            assert option in known, f"{arguments[0]} has no option {option}"


def _launched(arguments: list[str]) -> list[str]:
    """What the launcher starts: all from the first script on."""
    for index, argument in enumerate(arguments):
        if argument.endswith(".py") or "ppsr" in argument:
            return arguments[index:]
    raise AssertionError(f"the launcher is given no script: {arguments}")


def check_training(arguments: list[str], root: Path = ROOT) -> None:
    """Flags of tools/main.py, and the config with its overrides against the components' constructors.

    A config outside `configs/` is the reader's own, of which only the flags can be checked.
    """
    command = _app().commands["train"]
    parsed = command.make_context("tools/main.py", list(arguments)).params
    if Path(parsed["config_file"]).parts[0] != "configs":
        return
    check_config(load_config(root / parsed["config_file"], parsed["opt"]))


def _options_in(script: Path, root: Path) -> set[str]:
    """Options written in a script, in the modules of ppsr that it imports, and in the shared flags."""
    text = script.read_text(encoding="utf-8")
    for module in [*re.findall(r"^\s*from (ppsr[\w.]*) import", text, flags=re.M), "ppsr.cli.flags"]:
        path = root / Path(*module.split(".")).with_suffix(".py")
        if path.is_file():
            text += path.read_text(encoding="utf-8")
    return {"--help", *re.findall(r"[\"'](--[\w-]+)[\"']", text)}
