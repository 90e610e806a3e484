"""A folder in which the commands of the pages run: the checkout's files, tiny images, a tiny network's
weights.

`tools/main.py` is a wrapper there that makes every training short (SHRINK); `ppsr` and `python` are this
checkout's. `WEIGHTS` and `FILE` are weight files of configs/quickstart_srresnet.yaml, `IN` is a folder.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import paddle

from ppsr.imaging.io import write_image
from ppsr.imaging.resize import matlab_resize_integers
from ppsr.inference.network import load_network
from ppsr.prepare.samples import TEXTURES, TRAIN, VALIDATION
from ppsr.weights.pdparams import dump_state
from tests.docs.blocks import ROOT

SHRINK = {
    "total_iters": 2,
    "dataset.train.batch_size": 1,
    "dataset.train.num_workers": 0,
    "dataset.train.queue_size": 2,
    "log_config.interval": 1,
    "snapshot_config.interval": 2,
}
LINKED = ("ppsr", "configs", "notebooks", "benchmarks", "Makefile", "requirements.txt", "pyproject.toml")
SECONDS = 900
_MAIN = """
import sys
sys.path.insert(0, {root!r})
from ppsr.cli.train import main
sys.exit(main([*sys.argv[1:], "-o", *{overrides!r}]))
"""


def make_workspace(folder: Path, *, copies: bool = False) -> Path:
    """Fill a folder.

    Args:
        folder: empty or new.
        copies: copy the package instead of linking it, for pages that change it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        if copies and (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / name).symlink_to(ROOT / name)
    if copies:
        copied = ("__init__.py", "bars.py", "conftest.py", "generators", "networks.py")
        (folder / "tests").mkdir()
        for name in copied:
            source = ROOT / "tests" / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, folder / "tests" / name)
    overrides = [f"{key}={value}" for key, value in SHRINK.items()]
    _write(folder / "tools" / "main.py", _MAIN.format(root=str(folder), overrides=overrides))
    for name in ("python", "python3"):
        _write(folder / "bin" / name, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    _write(folder / "bin" / "ppsr", f"#!{sys.executable}\nfrom ppsr.cli import main\n\nmain()\n")
    for path in (folder / "bin").iterdir():
        path.chmod(0o755)
    _write_images(folder)
    _write_video(folder / "clip.mp4")
    _write_weights(folder)
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_images(folder: Path) -> None:
    """Images where `ppsr prepare samples` and the data pages put theirs, but tiny."""
    rng = np.random.default_rng(0)

    def write(path: Path, side: int) -> np.ndarray:
        image = rng.integers(0, 256, (side // 8, side // 8 + 1, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        write_image(path, image)
        return image

    samples = folder / "data" / "samples"
    for name in (*TRAIN, *TEXTURES):
        write(samples / "train" / f"{Path(name).stem}.png", 136)
    for name in VALIDATION:
        stem = Path(name).stem
        image = write(samples / "val" / f"{stem}.png", 192 if stem == "chelsea" else 112)  # for crops of 48
        write_image(samples / "val_LRx4" / f"{stem}.png", matlab_resize_integers(image, 0.25))
    for name in ("baby", "bird"):
        image = write(folder / "data" / "Set5" / "HR" / f"{name}.png", 96)
        lq = matlab_resize_integers(image, 0.25)
        write_image(folder / "data" / "Set5" / "LR_bicubic" / "X4" / f"{name}x4.png", lq)
        write_image(folder / "results" / "Set5" / f"{name}.png", image)
    sides = {
        "DIV2K/DIV2K_train_HR/0001": 488,
        "DIV2K/DIV2K_valid_HR/0801": 96,
        "Flickr2K/Flickr2K_HR/000001": 488,
        "OST/animal/OST_001": 408,
        "RealSRSet/dog": 24,
        "real/LR/street": 24,
        "T91/t1": 128,
        "BSDS500/train/2092": 152,
        "BSDS500/test/2018": 128,
        "BSDS500/val/101085": 128,
    }
    for name, side in sides.items():
        write(folder / "data" / f"{name}.png", side)
    write(folder / "data" / "ImageNet" / "n01440764" / "n01440764_10026.png", 96)
    for name, side in (("data_all/cones", 376), ("test_data/teddy", 136)):
        write_image(folder / "data" / f"{name}.png", write(folder / "IN" / "image.png", side)[..., 0])


def _write_video(path: Path) -> None:
    """Four frames of 16 x 24 pixels, if PyAV is there; the page's own commands then install it first."""
    if find_spec("av") is None:
        return
    import av

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "yuv420p"
        for _ in range(4):
            pixels = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _write_weights(folder: Path) -> None:
    paddle.seed(0)
    net = load_network(ROOT / "configs" / "quickstart_srresnet.yaml", None)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    for name in ("WEIGHTS", "FILE", "plain.pdparams", "dropout.pdparams"):
        (folder / name).write_bytes(dump_state(state))


def run_commands(folder: Path, commands: list[str]) -> subprocess.CompletedProcess[str]:
    """Run shell commands there, each on its own; the first that fails ends it."""
    return _run(folder, [str(ROOT / "tests" / "docs" / "driver.py")], json.dumps(commands))


def run_python(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program there."""
    return _run(folder, ["-"], program)


def _run(folder: Path, arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "MPLBACKEND": "agg",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
