"""The notebooks for AI Studio run from the first cell to the last on tiny images."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppsr.config import load_config
from ppsr.inference.network import load_network
from ppsr.weights.pdparams import dump_state
from tests.docs.workspace import make_workspace

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("aistudio_*.ipynb"))
TRAINING = ROOT / "notebooks" / "aistudio_train_cddnet.ipynb"
STEPS = "4"
OPTIONS = ("--nbmake", "--nbmake-timeout=600", "-q", "-p", "no:cacheprovider")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("aistudio"))


def run(notebook: Path, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """All cells in a kernel of its own, in a folder of the checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"PPSR_NOTEBOOK_STEPS": STEPS, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, "-m", "pytest", *OPTIONS, "--rootdir", str(folder), "-c", os.devnull]
    command.append(str(notebook))
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path: Path, folder: Path) -> None:
    pytest.importorskip("nbmake")
    # a copy: the kernel starts in the folder of the file, and a link would lead it out of here
    (folder / "opened").mkdir(exist_ok=True)
    copy = shutil.copyfile(path, folder / "opened" / path.name)
    done = run(copy, folder)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.slow
def test_the_whole_evaluation_finds_the_mounted_data_and_weights(tmp_path: Path) -> None:
    """With archives as AI Studio mounts them, of tiny depth maps and a network that was never trained."""
    pytest.importorskip("nbmake")
    folder = make_workspace(tmp_path / "work")
    mounted = tmp_path / "home" / "data"
    rng = np.random.default_rng(0)
    with archive(mounted / "data173618" / "PMBA.zip") as pairs:
        for name in ("cones_x4", "teddy_x4"):
            depth = rng.integers(0, 256, (12, 12), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            pairs.writestr(f"PMBA/test_HR/{name}.png", encoded(depth))
            pairs.writestr(f"PMBA/test_LR_x4/{name}.png", encoded(depth[::4, ::4]))
    net = load_network(ROOT / "configs" / "drn_dsr_x4.yaml", None)
    with archive(mounted / "data176907" / "weights.zip") as weights:
        state = {key: value.numpy() for key, value in net.state_dict().items()}
        weights.writestr("DRN/drn_x4_best.pdparams", dump_state(state))
    text = (ROOT / "notebooks" / "aistudio_evaluate_drn.ipynb").read_text(encoding="utf-8")
    assert '"QUICK = True"' in text
    (folder / "opened").mkdir()
    copy = folder / "opened" / "whole.ipynb"
    copy.write_text(text.replace('"QUICK = True"', '"QUICK = False"'), encoding="utf-8")
    done = run(copy, folder, HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout[-4000:]
    for report in ("dsr_bicubic", "dsr_drn"):
        (scores,) = (folder / "output" / "notebook" / report).glob("**/*.md")
        assert "cones" in scores.read_text(encoding="utf-8")


@contextmanager
def archive(path: Path) -> Iterator[zipfile.ZipFile]:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as opened:
        yield opened


def encoded(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_without_a_checkout_a_notebook_clones_one_or_says_what_to_do(path: Path, tmp_path: Path) -> None:
    start = "\n".join("".join(cell["source"]) for cell in code(path)[:2])
    origin, opened = tmp_path / "origin", tmp_path / "elsewhere"
    (origin / "tools").mkdir(parents=True)
    (origin / "tools" / "main.py").touch()
    opened.mkdir()
    for words in ("init -q", "add -A", "-c user.name=a -c user.email=a@b commit -qm First"):
        subprocess.run(["git", *words.split()], cwd=origin, check=True)
    environment = {key: value for key, value in os.environ.items() if key != "PPSR_REPOSITORY"}
    for repository in ("", origin.as_uri()):
        options = {"cwd": opened, "env": environment | {"PPSR_REPOSITORY": repository}}
        command = [sys.executable, "-c", start]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        if repository:
            assert done.returncode == 0, done.stderr
            assert done.stdout.split()[-1] == str(opened / "ppsr")
        else:
            assert done.returncode
            assert f"git clone <地址> {opened / 'ppsr'}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("whole", [True, False])
def test_the_perceptual_losses_file_is_fetched_whole_or_not_at_all(whole: bool, tmp_path: Path) -> None:
    """From a file of this machine; the name holds the beginning of the right one's digest."""
    (fetch,) = (text for cell in code(TRAINING) if "vgg19" in (text := "".join(cell["source"])))
    content = next(f"{i}".encode() for i in range(1000) if sha256(f"{i}".encode()).hexdigest()[0] == "d")
    (tmp_path / "vgg19").write_bytes(content if whole else content[:-1])
    fetch = fetch.removeprefix("%%bash\n").replace("^dcbb9e9d", "^d")
    environment = {"CONFIG": "configs/cddnet_x4.yaml", "VGG19_URL": (tmp_path / "vgg19").as_uri()}
    options = {"cwd": tmp_path, "env": {**os.environ, **environment}}
    done = subprocess.run(["bash", "-c", fetch], capture_output=True, check=False, **options)
    assert (done.returncode == 0) == whole
    assert (tmp_path / "data" / "pretrained" / "vgg19-dcbb9e9d.pth").is_file() == whole
    assert load_config(ROOT / "configs" / "cddnet_x4.yaml")["model"]["perceptual_criterion"]["weights"] == (
        "data/pretrained/vgg19-dcbb9e9d.pth"
    )


def code(path: Path) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]
