"""The page about evaluation says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppsr.evaluation.protocols import PROTOCOLS
from ppsr.evaluation.published import PUBLISHED, references
from tests.evaluation.tables import protocol_table, published_table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


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
