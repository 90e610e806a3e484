"""The page about evaluation says what the code does, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from ppsr.cli import build_app
from ppsr.metrics.protocols import PROTOCOLS
from ppsr.metrics.published import references

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
PAGES = ("docs/evaluation.md", "data/README.md", "data/README_cn.md")


def _commands(page):
    """Lines and code spans that call ppsr, as (page, arguments)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    spans = re.findall(r"`(ppsr [^`\n]+)`", text) + re.findall(r"^(ppsr .+)$", text, re.MULTILINE)
    return [(page, shlex.split(span, comments=True)[1:]) for span in spans if "..." not in span]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_protocol_is_one_line_of_the_table(name):
    p = PROTOCOLS[name]
    scales, metrics = ", ".join(map(str, p.scales)), ", ".join(p.metrics)
    assert f"| {p.name} | {p.about} | {p.color} | {p.border_text} | {scales} | {metrics} |" in PAGE


def test_the_literature_s_bicubic_scores_are_those_of_the_code():
    printed = [
        r.scores["psnr"] for s in (2, 3, 4) for r in references("classic", "Set5", s) if r.method == "bicubic"
    ]
    assert "| Set5 | the literature prints | " + " | ".join(map(str, printed)) in PAGE


@pytest.mark.parametrize(("page", "arguments"), [c for page in PAGES for c in _commands(page)])
def test_every_command_of_the_pages_is_understood(page, arguments):
    command = typer.main.get_command(build_app())
    context, names = None, list(arguments)
    while hasattr(command, "commands"):
        name = names.pop(0)
        context = typer.Context(command, parent=context)
        assert name in command.commands, f"{page}: there is no command {name}"
        command = command.commands[name]
    command.make_context(command.name, names, parent=context)
