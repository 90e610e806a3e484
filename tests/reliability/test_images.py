"""Damaged images, given to the command in large folders, and predictions of memory."""

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ppsr.registry import build_generator
from ppsr.weights import write_state
from tests.bars import Bar
from tests.weights.hostile import mutate

pytestmark = [pytest.mark.reliability, pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
KINDS: dict[str, tuple[str, str, dict]] = {  # name: Pillow's mode, suffix, options of its writer
    "rgb": ("RGB", "png", {}),
    "rgba": ("RGBA", "png", {}),
    "gray16": ("I;16", "png", {}),
    "palette": ("P", "png", {}),
    "baseline": ("RGB", "jpg", {}),
    "progressive": ("RGB", "jpg", {"progressive": True}),
    "cmyk": ("CMYK", "jpg", {}),
    "webp": ("RGB", "webp", {}),
    "lossless": ("RGBA", "webp", {"lossless": True}),
    "bmp": ("RGB", "bmp", {}),
    "tiff": ("RGB", "tif", {}),
    "lzw": ("L", "tif", {"compression": "tiff_lzw"}),
    "gif": ("P", "gif", {}),
}

VIDEOS = {  # name: encoders of the frames and of the sound
    "a.mp4": ("libx264", "aac"),
    "b.mp4": ("libx265", "aac"),
    "a.mkv": ("libx264", "libopus"),
    "a.webm": ("libvpx-vp9", "libopus"),
    "a.avi": ("mpeg4", "mp3"),
    "a.mov": ("mpeg4", "pcm_s16le"),
    "a.mpg": ("mpeg2video", "mp2"),
    "a.ts": ("libx264", "mp2"),
    "a.wmv": ("wmv2", "mp3"),
}


def intact() -> dict[str, bytes]:
    """A small image of every kind."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    found = {}
    for name, (mode, suffix, options) in KINDS.items():
        image = Image.fromarray(pixels)
        image = Image.fromarray(pixels[..., 0].astype("u2") * 257) if mode == "I;16" else image.convert(mode)
        stream = io.BytesIO()
        image.save(stream, Image.registered_extensions()[f".{suffix}"], **options)
        found[f"{name}.{suffix}"] = stream.getvalue()
    return found


def _video(path: Path, codec: str, sound: str) -> bytes:
    """Eight frames of 32 x 24 pixels."""
    av = pytest.importorskip("av")
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as writer:
        stream = writer.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        audio = writer.add_stream(sound, rate=48000)
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            writer.mux(stream.encode(frame.reformat(format="yuv420p")))
        writer.mux(stream.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), format="s16", layout="mono")
        silence.sample_rate = 48000
        writer.mux(audio.encode(silence))
        writer.mux(audio.encode(None))
    return path.read_bytes()


def _decoded(content: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(content + b"\xff\xd9", np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    net = build_generator("SRVGGNetCompact", num_feat=4, num_conv=1, upscale=2)
    write_state(tmp_path / "net.pdparams", {key: value.numpy() for key, value in net.state_dict().items()})
    return tmp_path / "net.pdparams"


def _upscale(weights: Path, folder: Path) -> tuple[int, list[dict], float]:
    """Exit code, the lines of the report, and seconds of `ppsr upscale FOLDER`."""
    out, began = folder.with_name("out"), time.monotonic()
    command = ["upscale", str(folder), "-o", str(out), "--load", str(weights), "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "ppsr", *command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1, 3), done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    lines = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    return done.returncode, lines, time.monotonic() - began


def test_damaged_images_never_end_a_batch(tmp_path: Path, bar: Bar, weights: Path) -> None:
    _no_file_ends_a_batch("images", intact(), 10_000, tmp_path / "in", bar, weights)


def test_damaged_videos_never_end_a_batch(tmp_path: Path, bar: Bar, weights: Path) -> None:
    whole = {name: _video(tmp_path / name, *codecs) for name, codecs in VIDEOS.items()}
    _no_file_ends_a_batch("videos", whole, 2400, tmp_path / "in", bar, weights)


def _no_file_ends_a_batch(
    what: str, whole: dict[str, bytes], full: int, folder: Path, bar: Bar, weights: Path
) -> None:
    """Upscale a folder of `full` mutations of whole files, in turns."""
    rng, names, count = bar.rng(), list(whole), bar.count(full)
    folder.mkdir()
    for index in range(count):
        name = names[index % len(names)]
        (folder / f"{index:05d}_{name}").write_bytes(mutate(whole[name], rng))
    code, lines, seconds = _upscale(weights, folder)
    outcomes = Counter(line["status"] for line in lines)
    slowest = max(line.get("seconds") or 0 for line in lines)
    bar.report(
        f"I1 damaged {what} of {len(whole)} kinds, by the command",
        f"{count} files: a line each, none above 10 s, exit code 1",
        f"{len(lines)} lines {dict(outcomes)}, slowest {slowest:.2f} s, {seconds:.0f} s in all, code {code}",
    )
    assert len(lines) == len({line["path"] for line in lines}) == count
    assert code == 1
    assert slowest < 10
    assert len(outcomes) > 1


def test_truncated_jpegs_are_noticed(tmp_path: Path, bar: Bar, weights: Path) -> None:
    rng, whole, count = bar.rng(), intact(), bar.count(600)
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(count):
        content = whole["progressive.jpg" if index % 2 else "baseline.jpg"]
        (folder / f"{index:05d}.jpg").write_bytes(content[: int(rng.integers(20, len(content)))])
    code, lines, _ = _upscale(weights, folder)
    noticed = {Path(line["path"]) for line in lines if line["status"] == "error"}
    complete = {_decoded(content).tobytes() for name, content in whole.items() if name.endswith(".jpg")}
    # the last bytes may hold no bit of the image
    harmless = [
        path
        for path in set(folder.iterdir()) - noticed
        if (pixels := _decoded(path.read_bytes())) is not None and pixels.tobytes() in complete
    ]
    bar.report(
        "I1 truncated JPEGs",
        f"{count} files: all noticed that lack a part of the image",
        f"{len(noticed)} noticed, {len(harmless)} whole, code {code}",
    )
    assert len(noticed) + len(harmless) == count


def test_memory_stays_below_its_limit_and_near_its_prediction(bar: Bar) -> None:
    command = [sys.executable, "benchmarks/tiling.py", "--what", "memory"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command += [] if bar.full else ["--only", "RCAN"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    computed = [row for row in rows if "measured" in row]
    ratios = [row["ratio_vs_measured"] for row in computed]
    largest = max(row["measured"] / row["limit"] for row in computed)
    bar.report(
        "I4 memory",
        f"{len(rows)} networks and sizes: predicted 0.5 to 1.1 of measured, peak below the limit",
        f"predicted {min(ratios):.2f} to {max(ratios):.2f} of measured, peak {largest:.2f} of the limit, "
        f"{len(rows) - len(computed)} refused beforehand",
    )
    assert largest <= 1
    assert min(ratios) >= 0.5 and max(ratios) <= 1.1
