"""The documentation site builds without a warning, and its generated pages hold what the code holds."""

import subprocess
import sys

import pytest

from ppsr import registry
from tests.docs.blocks import ROOT


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "build"
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly(sources):
    pytest.importorskip("mkdocs_static_i18n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(sources / "mkdocs.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    site = sources.parent / "site"
    pages = {path.relative_to(site).as_posix() for path in site.rglob("index.html")}
    assert {"index.html", "zh/index.html", "extending/index.html", "reference/generators/index.html"} <= pages
    chinese = {page.removeprefix("zh/") for page in pages if page.startswith("zh/")}
    assert chinese == {page for page in pages if not page.startswith("zh/")}
    assert len(chinese) >= 64
    assert "快速开始" in (site / "zh" / "get-started" / "index.html").read_text(encoding="utf-8")


def test_every_component_and_option_stands_in_the_reference(sources):
    for page, components in (("generators", registry.GENERATORS), ("datasets", registry.DATASETS)):
        text = (sources / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
        for name in components.names():
            section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
            assert section, name
            for option in registry.inspect.signature(components.get(name)).parameters:
                given = option in getattr(components.get(name), "injected_args", ())
                assert (f"| `{option}` |" in section) is not given, f"{name}.{option}"
