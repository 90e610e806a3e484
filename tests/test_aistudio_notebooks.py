"""The notebooks for AI Studio run from the first cell to the last on tiny pictures, and are kept without
outputs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.workspace import make_workspace

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("aistudio_*.ipynb"))
STEPS = "4"
OPTIONS = ("--nbmake", "--nbmake-timeout=600", "-q", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("aistudio"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path: Path, folder: Path) -> None:
    pytest.importorskip("nbmake")
    # a copy: the kernel starts in the folder of the file, and a link would lead it out of here
    (folder / "opened").mkdir(exist_ok=True)
    copy = shutil.copyfile(path, folder / "opened" / path.name)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PPSR_NOTEBOOK_STEPS": STEPS, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, "--rootdir", str(folder), "-c", os.devnull, str(copy)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_outputs_and_begins_with_its_switch(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert "QUICK = True" in "".join(code[0]["source"]).splitlines()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_headings_are_english_and_texts_chinese(path: Path) -> None:
    texts = ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown"]
    headings = [line for text in texts for line in text.splitlines() if line.startswith("#")]
    assert headings
    assert all(heading.isascii() for heading in headings)
    assert re.search(r"[\u4e00-\u9fff]", "".join(texts))


def test_every_use_has_a_notebook() -> None:
    uses = {"train_cddnet", "evaluate_drn", "export_upscale", "dropout_align", "look_inside"}
    assert {path.stem.removeprefix("aistudio_") for path in NOTEBOOKS} == uses
