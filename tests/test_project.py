"""What holds for the whole tree: cheap import, short files, no copies, configs that check."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from itertools import takewhile
from pathlib import Path

import pytest

from ppsr.config import check_config, load_config

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "ppsr").rglob("*.py"))


@pytest.mark.smoke
def test_importing_ppsr_loads_neither_paddle_nor_opencv():
    code = "import sys, ppsr; sys.exit(any(m in sys.modules for m in ('paddle', 'cv2', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_help_and_usage_errors_import_neither_paddle_nor_numpy():
    code = (
        "import sys\nfrom ppsr.cli import build_app\nfrom typer.testing import CliRunner\n"
        "result = CliRunner().invoke(build_app(), ['--help'])\n"
        "sys.exit(result.exit_code or 'paddle' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_no_file_is_over_500_lines():
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    long = {str(f): n for f in files if (n := len(f.read_text(encoding="utf-8").splitlines())) > 500}
    assert not long


@pytest.mark.slow
def test_no_definition_stands_twice():
    seen = defaultdict(list)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            lines = (getattr(node, "end_lineno", 0) or 0) - getattr(node, "lineno", 0)
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and lines >= 8:
                seen[ast.dump(node)].append(f"{path.name}:{node.lineno} {node.name}")
    assert not [places for places in seen.values() if len(places) > 1]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_checks_stays_short_and_says_how_it_is_run(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 70
    head = " ".join(line.removeprefix("#").strip() for line in takewhile(lambda line: line[:1] == "#", lines))
    assert re.search(rf"Command: .*tools/main\.py --config-file configs/{path.name}\b", head)
    assert re.search(r"Hardware: .*?(one|\d+) (GPUs?|CPU cores?)\b.* Expected", head)
    check_config(load_config(path))


def test_the_engine_names_no_algorithm():
    models = {p.stem for p in (ROOT / "ppsr" / "models").glob("*.py")} - {"__init__", "base"}
    for path in (ROOT / "ppsr" / "engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ppsr.models."):
                assert node.module.rsplit(".", 1)[1] not in models, path
