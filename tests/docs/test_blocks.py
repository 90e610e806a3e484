"""The pages' commands and programs do what the pages say.

Found are all fenced blocks of docs/**/*.md, README*.md, data/README*.md, test_tipc/README.md,
CONTRIBUTING.md and SECURITY.md.

* Shell and Python blocks without a mark are run, a page's blocks one after the other in one temporary copy
with
  tiny images and weights (`tests/docs/workspace.py`). There `tools/main.py` adds `-o` overrides that end
  every training after two steps of one sample. A command that fails fails the test.
* Blocks marked `<!-- needs: ... -->` are checked without being run: the shell accepts their syntax; make
targets,
  scripts, sub-commands, options exist; `--config-file` commands of tools/main.py have a config that checks
  with their overrides, component by component. Python must compile.
* `<!-- run by: make X -->` names a target that exists and that .ci/run or a workflow calls;
  `<!-- run by: tests/... -->` a test that exists. These blocks are checked like those with needs.
* Blocks in YAML are YAML. Blocks of a translation are those of the English page, comments aside.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from docs import generate
from tests.docs.blocks import ROOT, Block, pages, read_blocks, translated, without_comment
from tests.docs.commands import check_command
from tests.docs.workspace import make_workspace, run_commands, run_python

ALL = {path: read_blocks(path) for path in pages()}
BLOCKS = [block for blocks in ALL.values() for block in blocks]
ENGLISH = {path: blocks for path, blocks in ALL.items() if translated(path) is None}
# those of data/README.md are run by tests/test_config_data.py, which reads what they make
RUN = {
    path: blocks
    for path, blocks in ENGLISH.items()
    if path != ROOT / "data" / "README.md" and any(block.runs for block in blocks)
}


def by_id(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks, ids=lambda block: block.id)


def test_pages_and_blocks_are_found():
    assert len(ALL) > 10
    assert sum(block.runs for block in BLOCKS) > 10
    assert {"README.md", "data/README.md", "test_tipc/README.md"} <= {block.page for block in BLOCKS}
    built = {ROOT / name for name in generate.PAGES}
    assert not [path for path in built if path not in ALL and "```" in path.read_text(encoding="utf-8")]


@by_id([b for b in BLOCKS if b.language in ("", "text")])
def test_a_command_is_not_hidden_in_a_block_of_text(block):
    programs = r"(ppsr|python3?|pip|make|bash|sh|curl|git|docker) [\w./-]"
    assert not [line for line in block.text.splitlines() if re.match(rf"\$? ?{programs}", line)]


@by_id([b for b in BLOCKS if b.is_shell])
def test_a_command_uses_what_exists(block, tmp_path):
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "extending" in block.page:
        pytest.skip("its commands use files that the page makes; they are run below")
    for command in block.commands():
        check_command(command)


@by_id([b for b in BLOCKS if b.is_python and "insert into" not in b.marks])
def test_a_program_compiles(block):
    compile(block.text, block.id, "exec")


@by_id([b for b in BLOCKS if b.language in ("yaml", "yml")])
def test_a_config_is_yaml(block):
    assert yaml.safe_load(block.text) is not None


@by_id([b for b in BLOCKS if b.marks])
def test_a_mark_says_something(block):
    assert all(block.marks.values())
    waits = r"(?:\w+ )?(?:seconds|minutes|hours?|days)"
    assert not re.fullmatch(waits, block.marks.get("needs", "")), "what takes time alone runs on less data"
    for path in re.findall(r"tests/[\w/.]+", block.marks.get("run by", "")):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"make ([\w-]+)", block.marks.get("run by", "")):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
        workflows = [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".ci" / "run"]
        assert any(re.search(rf"\b{target}\b", path.read_text(encoding="utf-8")) for path in workflows)


@pytest.mark.parametrize(
    "page", [p for p in ALL if translated(p) in ALL], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_a_translation_has_the_commands_of_the_english_page(page):
    english = [_bare(block) for block in ALL[translated(page)]]
    for block in ALL[page]:
        if block.is_shell or block.is_python or block.language in ("yaml", "yml"):
            assert _bare(block) in english, f"{block.id} is not in the English page"


def _bare(block: Block) -> list[str]:
    """A block without comments and spacing, which translations change."""
    if block.is_shell:
        return [" ".join(command.split()) for command in block.commands()]
    return [
        " ".join(without_comment(line).split()) for line in block.text.splitlines() if without_comment(line)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page, tmp_path):
    blocks = ENGLISH[page]
    changes = any({"file", "insert into"} & set(block.marks) for block in blocks)
    folder = make_workspace(tmp_path / "work", copies=changes)
    python: list[str] = []
    for block in blocks:
        if "file" in block.marks:
            (folder / block.marks["file"]).write_text(block.text, encoding="utf-8")
        elif "insert into" in block.marks:
            _insert(folder, block)
        elif block.runs and block.is_shell:
            _succeeds(block, run_commands(folder, block.commands()))
        elif block.runs:
            python.append(block.text)  # later programs of a page use names of the earlier ones
            _succeeds(block, run_python(folder, "\n".join(python)))


def _succeeds(block: Block, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"{block.id}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def _insert(folder: Path, block: Block) -> None:
    """Put the block behind the line that its mark names; an opening table may go on in the next line."""
    name, _, after = (part.strip() for part in block.marks["insert into"].partition(" after: "))
    path = folder / name
    lines = path.read_text(encoding="utf-8").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(after)) + 1
    if lines[place - 1].endswith("(") and lines[place].strip() == "{":
        place += 1
    path.write_text(
        "\n".join([*lines[:place], *block.text.splitlines(), *lines[place:]]) + "\n", encoding="utf-8"
    )
