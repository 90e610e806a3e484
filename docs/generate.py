"""Assemble the documentation site's sources: hand-written pages, pages from elsewhere, generated references.

    python docs/generate.py          # writes build/docs and build/mkdocs.yml
    mkdocs build --strict -f build/mkdocs.yml

Pages outside docs/ (data/README.md, CHANGELOG.md, ...) become pages of the site, and links to files that are
no pages lead to copies of them. A link to nothing is an error here already, with page and target.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.reference import reference_pages  # noqa: E402  # from this checkout, found by the line above

# Files elsewhere that are pages: file -> page
PAGES = {
    "data/README.md": "data.md",
    "data/README_cn.md": "data.zh.md",
    "CHANGELOG.md": "changes.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "test_tipc/README.md": "tipc.md",
}
# What leads to the same place on the site
ALIASES = {"README.md": "index.md", "README_cn.md": "index.md"}
NAVIGATION: dict[str, list[str]] = {
    "Start": ["index", "get-started", "own-images", "troubleshooting", "doctor"],
    "Use": [
        "upscaling",
        "data",
        "degradation",
        "training",
        "recipes",
        "results",
        "distributed",
        "evaluation",
    ],
    "Deploy": ["deployment", "gpu", "serve", "performance", "reliability", "weights"],
    "Understand": ["analysis"],
    "Systems": ["systems", "cddnet", "drn", "drct", "mambadrct", "reflash", "align"],
    "Extend": ["extending", "migrate", "paddlegan", "tipc"],
    "Reference": [
        "reference/sections",
        "reference/generators",
        "reference/discriminators",
        "reference/training-algorithms",
        "reference/criterions",
        "reference/datasets",
        "reference/degradation-steps",
        "reference/metrics",
        "reference/learning-rate-schedules",
        "reference/optimizers",
        "reference/configs",
        "reference/models",
        "reference/commands",
    ],
    "Python": ["reference/api/index", "reference/api/core"],
    "Project": ["changes", "security", "contributing", "dependencies"],
}
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~)")


def main() -> int:
    """Write the sources; returns the exit code."""
    parser = argparse.ArgumentParser(description="Assemble the sources of the documentation site.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build", help="folder to write")
    output: Path = parser.parse_args().output.resolve()
    target = output / "docs"
    shutil.rmtree(target, ignore_errors=True)
    sources = {path: path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    sources |= {ROOT / name: page for name, page in PAGES.items() if (ROOT / name).is_file()}
    broken: list[str] = []
    for source, page in sorted(sources.items()):
        write(target / page, with_site_links(source, page, target, broken))
    for page, text in reference_pages(ROOT).items():
        write(target / "reference" / page, text)
    if (ROOT / "docs" / "images").is_dir():
        shutil.copytree(ROOT / "docs" / "images", target / "images")
    for line in broken:
        print(f"error: {line}", file=sys.stderr)
    settings = {
        "INHERIT": os.path.relpath(ROOT / "mkdocs.yml", output),
        "docs_dir": "docs",
        "site_dir": "../site",
        "nav": navigation(target),
    }
    write(output / "mkdocs.yml", yaml.safe_dump(settings, sort_keys=False))
    pages = len(list(target.rglob("*.md")))
    print(f"{target}: {pages} pages")
    return 1 if broken else 0


def write(path: Path, text: str) -> None:
    """Write a file into a folder that is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def with_site_links(source: Path, page: str, target: Path, broken: list[str]) -> str:
    """The text of a page with its relative links turned to where their targets are on the site."""
    lines, fenced = [], False
    for line in source.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line.strip()):
            fenced = not fenced
        lines.append(line if fenced else _LINK.sub(lambda m: _turn(m, source, page, target, broken), line))
    return "\n".join(lines) + "\n"


def _turn(match: re.Match[str], source: Path, page: str, target: Path, broken: list[str]) -> str:
    link, _, anchor = match[2].partition("#")
    if not link or "://" in link or link.startswith("mailto:"):
        return match[0]
    path = (source.parent / link).resolve()
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else None
    if name is not None and name.startswith("docs/reference/"):
        return match[0]  # generated; mkdocs checks these
    if name is None or not path.exists():
        broken.append(f"{source} links to {match[2]}, which is not there")
        return match[0]
    if name.startswith("docs/"):
        place = name.removeprefix("docs/")
    elif name in PAGES or name in ALIASES:
        place = re.sub(r"\.zh\.md$", ".md", PAGES.get(name) or ALIASES[name])
    elif name.startswith("configs/") and path.suffix == ".yaml":
        place, anchor = "reference/configs.md", path.stem
    else:
        place = f"files/{name}" + ("" if path.suffix else ".txt")
        if path.is_file():
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / place)
        else:
            broken.append(f"{source} links to the folder {match[2]}; name a file")
    relative = os.path.relpath(place, Path(page).parent)
    return f"{match[1]}({relative}{'#' + anchor if anchor else ''})"


def navigation(target: Path) -> list[dict[str, Sequence[str]]]:
    """The sections with the pages that there are; pages of no section stand in the last one of their kind."""
    english = {p.relative_to(target).as_posix().removesuffix(".md") for p in target.rglob("*.md")}
    english = {page for page in english if not page.endswith(".zh")}
    listed = {page for pages in NAVIGATION.values() for page in pages}
    sections = {title: [p for p in pages if p in english] for title, pages in NAVIGATION.items()}
    for page in sorted(english - listed):
        sections["Python" if page.startswith("reference/api/") else "Use"].append(page)
    return [{title: [f"{page}.md" for page in pages]} for title, pages in sections.items() if pages]


if __name__ == "__main__":
    sys.exit(main())
