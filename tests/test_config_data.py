"""What the configs read is what data/README.md names, and what its commands make."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from ppsr.config import load_config
from ppsr.engine.loader import build_dataset
from tests.docs.blocks import ROOT, read_blocks
from tests.docs.workspace import make_workspace, run_commands

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
PAGES = ("data/README.md", "data/README_cn.md")
_BRACES = re.compile(r"\{([^{}]+)\}")


def strings(value: Any) -> Iterator[str]:
    """All texts of a config's section."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)


def expanded(text: str) -> set[str]:
    """`X{2,3}` as the shell reads it."""
    match = _BRACES.search(text)
    if match is None:
        return {text}
    start, end = text[: match.start()], text[match.end() :]
    return {path for part in match[1].split(",") for path in expanded(start + part + end)}


def named(page: str) -> dict[str, set[str]]:
    """The table of a page that says which configs, by patterns, read which paths."""
    text = (ROOT / page).read_text(encoding="utf-8")
    rows = re.search(r"\| (?:configs|配置) \|.*\n\|---\|---\|\n((?:\|.*\|\n)+)", text)
    assert rows is not None
    found: dict[str, set[str]] = {}
    for row in rows[1].splitlines():
        patterns, paths = (re.findall(r"`(.+?)`", cell) for cell in row.strip("|").split("|"))
        for pattern in patterns:
            found.setdefault(pattern, set()).update(f"data/{p}" for path in paths for p in expanded(path))
    return found


def read_by(path: Path) -> set[str]:
    """Folders and lists of a config."""
    return {text for text in strings(load_config(path)["dataset"]) if text.startswith("data/")}


def offered_by(path: Path) -> set[str]:
    """Folders that a config's comments offer for its data sets."""
    header = path.read_text(encoding="utf-8")
    return set(re.findall(r"dataset\.[\w.]+='?(?:\{\d: )?(data/[\w/]+)", header))


@pytest.mark.parametrize("page", PAGES)
def test_the_page_names_what_each_config_reads_and_nothing_else(page: str) -> None:
    table, read = named(page), {path.stem: read_by(path) for path in CONFIGS}
    for stem, paths in read.items():
        said = {text for pattern, texts in table.items() if fnmatch(stem, pattern) for text in texts}
        assert paths <= said, stem
    offered = set().union(*map(offered_by, CONFIGS))
    assert set().union(*table.values()) == set().union(*read.values()) | offered


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_weights_of_earlier_stages_have_a_config_or_stand_on_the_page(path: Path) -> None:
    config = load_config(path)
    wanted = {text for part in ("model", "load") for text in strings(config.get(part, {}))}
    page = (ROOT / PAGES[0]).read_text(encoding="utf-8")
    for text in wanted:
        if text.startswith("data/pretrained/"):
            file = Path(text)
            assert (ROOT / "configs" / f"{file.stem}.yaml").exists() or f"`{file.name}`" in page, text


@pytest.mark.parametrize("page", PAGES)
def test_the_page_has_a_size_and_a_source_of_every_set(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    table = re.search(r"\|---\|---\|---\|---\|\n((?:\|.*\|\n)+)", text)
    assert table is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]
    assert len(rows) > 10
    for cells in rows:
        assert len(cells) == 4
        assert all(cells), cells
        public = re.match(
            "`(Set5|DIV2K/.*train|Flickr|OST|ImageNet|Manga|T91|Real|data_all|test_data|pre)", cells[0]
        )
        assert not public or "http" in cells[3], cells


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("data") / "work")
    blocks = [block for block in read_blocks(ROOT / PAGES[0]) if block.runs]
    assert all(block.is_shell for block in blocks)
    commands = [command for block in blocks for command in block.commands()]
    done = run_commands(folder, commands)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_commands_of_the_page_make_what_a_config_reads(
    path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(path)
    monkeypatch.chdir(workspace)
    train, _ = build_dataset(config["dataset"]["train"], "dataset.train")
    test, _ = build_dataset(config["dataset"]["test"], "dataset.test")
    assert train[(0, 0)]
    item = test[0]
    if "gt" in item:
        scale = config["dataset"]["test"]["scale"]
        assert item["gt"].shape[1:] == tuple(side * scale for side in item["lq"].shape[1:])
