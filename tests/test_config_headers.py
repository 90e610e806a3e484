"""Each config says by itself how it is run, on what, and what to expect."""

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
_EXPECTED = (
    r"\d\d\.\d+",
    "no score is (published|quoted)",
    "nobody has published",
    "above bicubic",
    r"docs/\w+\.md",
    "the paper (reports|finds)",
)
by_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def header(path: Path) -> str:
    """The comment at the top, in one line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    count = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:count])


@by_config
def test_a_config_names_its_command(path: Path) -> None:
    assert re.search(rf"Command: .*tools/main\.py --config-file configs/{path.name}\b", header(path))


@by_config
def test_a_config_says_itself_what_it_was_meant_to_run_on(path: Path) -> None:
    hardware = re.search(r"Hardware: (.*?)(?= Expected|$)", header(path))
    assert hardware is not None
    assert re.search(r"(one|\d+) (GPUs?|CPU cores?)\b", hardware[1]), hardware[1]
    assert not re.match(r"as \w+\.yaml", hardware[1])


@by_config
def test_a_config_says_what_to_expect_or_why_nothing_is_known(path: Path) -> None:
    expected = re.search(r"Expected.*?: (.*)", header(path))
    assert expected is not None
    assert re.search("|".join(_EXPECTED), expected[1]), expected[1]
