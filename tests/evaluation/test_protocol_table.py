"""The page about evaluation says what the code does, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from ppsr.cli import build_app
from ppsr.evaluation.protocols import PROTOCOLS
from ppsr.evaluation.published import PUBLISHED, references
from tests.evaluation.tables import protocol_table, published_table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
PAGES = ("docs/evaluation.md", "data/README.md", "data/README_cn.md")


def _commands(page):
    """Lines and code spans that call ppsr, as (page, arguments)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    spans = re.findall(r"`(ppsr [^`\n]+)`", text) + re.findall(r"^(ppsr .+)$", text, re.MULTILINE)
    return [(page, shlex.split(span, comments=True)[1:]) for span in spans if "..." not in span]


@pytest.mark.parametrize(("table", "name"), [(protocol_table, "protocols"), (published_table, "scores")])
def test_the_page_has_the_table_that_the_code_makes(table, name):
    assert f"\n\n{table()}\n" in PAGE, f"paste tests.evaluation.tables.{table.__name__}(): the {name} changed"


def test_no_score_is_listed_twice():
    keys = [(r.protocol, r.dataset, r.scale, r.variant, r.method) for r in PUBLISHED]
    assert len(keys) == len(set(keys))
    assert all(r.source for r in PUBLISHED)


@pytest.mark.parametrize(("method", "scales"), [("SwinIR", (2, 3, 4)), ("HAT", (2, 4)), ("DRCT", (4,))])
def test_attention_networks_have_the_five_sets_at_each_listed_scale(method, scales):
    listed = {(r.scale, r.dataset) for r in PUBLISHED if r.method == method}
    assert listed == {(scale, name) for scale in scales for name in PROTOCOLS["classic"].sets}


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
