"""Code blocks of Markdown pages, with what the lines before them say.

A comment directly before a fence may be

* `<!-- needs: GPU -->` (or a data set, weights, a network, hours, ...): the block is not run;
* `<!-- run by: make quickstart -->`: another step of the checks runs it.

A line directly before a fence, which readers see too, may be

* "**`PATH`**": the block is this file;
* "**`PATH`**, after `TEXT`:": the block follows the first line of the file that begins with TEXT.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "sh", "shell", "console")
MARKS = ("needs", "run by")
_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>```+|~~~+)\s*(?P<language>[\w+-]*)")
_PATH = re.compile(r"^\*\*`(?P<path>[^`]+)`\*\*(?:[^`]+`(?P<after>[^`]+)`[^`]*)?$")
_COMMENT = re.compile(r"^\s*<!--\s*(?P<kind>[a-z ]+?):\s*(?P<text>.*?)\s*-->\s*$")


@dataclass
class Block:
    """A fenced block.

    Attributes:
        page: its file, relative to the checkout.
        line: of the fence, from 1.
        language: after the fence.
        text: without the fence's indentation.
        marks: kind -> text of the lines before it.
    """

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_shell(self) -> bool:
        return self.language in SHELL

    @property
    def is_python(self) -> bool:
        return self.language in ("python", "py")

    @property
    def runs(self) -> bool:
        """Whether a test has to run it: shell or Python, without a mark."""
        return (self.is_shell or self.is_python) and not self.marks

    def commands(self) -> list[str]:
        """Logical lines of a shell block: continuations joined, comments and prompts left out."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        lines = (without_comment(line).removeprefix("$ ") for line in joined.splitlines())
        return [line.strip() for line in lines if line.strip()]


def without_comment(line: str) -> str:
    """A shell line up to its comment; a `#` inside quotes or words is none."""
    quote = ""
    for index, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index].rstrip()
    return line.rstrip()


def pages() -> list[Path]:
    """Every page with blocks to check."""
    named = [ROOT / name for name in ("README.md", "README_cn.md", "CONTRIBUTING.md", "SECURITY.md")]
    named += [ROOT / name for name in ("data/README.md", "data/README_cn.md", "test_tipc/README.md")]
    return [path for path in named if path.is_file()] + sorted((ROOT / "docs").rglob("*.md"))


def translated(path: Path) -> Path | None:
    """The English page that a Chinese one translates."""
    name = path.name.replace(".zh.md", ".md").replace("README_cn.md", "README.md")
    return path.with_name(name) if name != path.name else None


def read_blocks(path: Path, root: Path = ROOT) -> list[Block]:
    """All fenced blocks of a page, in order."""
    blocks: list[Block] = []
    marks: dict[str, str] = {}
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        comment, fence, path_line = _COMMENT.match(line), _FENCE.match(line), _PATH.match(line)
        if path_line:
            kind = "insert into" if path_line["after"] else "file"
            marks[kind] = path_line["path"] + (f" after: {path_line['after']}" if path_line["after"] else "")
        elif comment and comment["kind"] in MARKS:
            marks[comment["kind"]] = comment["text"]
        elif fence:
            body = []
            for _, inner in lines:
                if inner.strip() == fence["fence"]:
                    break
                body.append(inner.removeprefix(fence["indent"]))
            name = path.relative_to(root).as_posix()
            blocks.append(Block(name, number, fence["language"], "\n".join(body) + "\n", marks))
            marks = {}
        elif line.strip():
            marks = {}
    return blocks
