"""Files that services and programs read agree with the project."""

import re

import pytest
import yaml

from ppsr import __version__
from tests.docs.blocks import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_make_targets_and_nothing_else(path):
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), flags=re.M))
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        program, *wanted = command.split()
        assert program == "make"
        assert set(wanted) <= targets


def test_citation_and_changelog_have_the_version():
    assert yaml.safe_load(read("CITATION.cff"))["version"] == __version__
    assert re.search(r"^## (\S+)", read("CHANGELOG.md"), flags=re.M)[1] == __version__


def test_every_change_is_told_in_both_languages():
    entries = re.split(r"^\* ", read("CHANGELOG.md"), flags=re.M)[1:]
    assert entries
    assert not [entry for entry in entries if not re.search("[\u4e00-\u9fff]", entry)]


def test_links_of_the_readme_lead_somewhere():
    for name in ("README.md", "README_cn.md", "CONTRIBUTING.md", "SECURITY.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", read(name)):
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_the_scores_of_the_readmes_stand_in_the_pages_that_they_link_to():
    for name in ("README.md", "README_cn.md"):
        paragraphs = re.split(r"\n\s*\n", read(name))
        linked = [
            (re.findall(r"\b\d\d\.\d{3}\b", p), re.findall(r"\((docs/[\w.]+\.md)\)", p)) for p in paragraphs
        ]
        found = [(score, pages) for scores, pages in linked for score in scores if pages]
        assert found
        assert not [score for score, pages in found if not any(score in read(page) for page in pages)]


def test_every_requirement_is_explained():
    listed = read("requirements.txt") + read("requirements-dev.txt")
    names = {m[1] for line in listed.splitlines() if (m := re.match(r"([A-Za-z][\w.-]*)", line))}
    extras = read("pyproject.toml").partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    names |= set(re.findall(r'"([A-Za-z][\w-]*)', extras))
    page = read("docs/dependencies.md")
    assert names
    assert not [name for name in names if not re.search(rf"\b{re.escape(name)}\b", page)]
