"""How much longer `ppsr upscale` takes for files than the network alone takes for the same pixels.

    python benchmarks/pipelines.py                                   # on a quiet machine, both cores
    python benchmarks/pipelines.py --images 20 --frames 5 --repeats 1

One JSON line per work: `{"name": "pipelines", "case": "folder of 100 images, 96x96", "value": <seconds of the
pipeline>, "computing": <seconds of computing alone>, "ratio": ..., "repeats": ..., "load": ...}`: minima of
alternating turns of one process, on the clock, after a first call of each. The pipeline reads the files,
computes, and writes PNG files or an H.264 video; alone, decoded images and frames are computed and dropped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from runs import start


def main() -> None:
    """Measure the three works."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--load", default="srvgg-8x32-x4", help="weights")
    parser.add_argument("--images", type=int, default=100, help="images of 96x96 in the folder")
    parser.add_argument("--side", type=int, default=2400, help="width of the large image, of 3:2")
    parser.add_argument("--frames", type=int, default=20, help="frames of 480x270 in the video")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    start(arguments.threads)
    from ppsr import Upscaler, accelerate
    from ppsr.imaging import write_image

    accelerate.enable(arguments.threads)
    upscaler = Upscaler(arguments.load)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        small = [_texture(rng, 96, 96) for _ in range(arguments.images)]
        for index, image in enumerate(small):
            write_image(place / f"small/{index:03}.png", image)
        height = arguments.side * 2 // 3
        large = [_texture(rng, height, arguments.side)]
        write_image(place / "large/large.png", large[0])
        frames = [_texture(rng, 270, 480) for _ in range(arguments.frames)]
        _write_video(place / "video/video.mp4", frames)
        for case, folder, images in (
            (f"folder of {len(small)} images, 96x96", "small", small),
            (f"image of {arguments.side}x{height}", "large", large),
            (f"video of {len(frames)} frames, 480x270", "video", frames),
        ):
            tile = 512 if folder == "large" else None
            taken = Upscaler(arguments.load, tile=tile) if tile else upscaler
            _measure(case, taken, images, place / folder, arguments.repeats)


def _measure(case: str, upscaler: Callable, images: list[np.ndarray], folder: Path, repeats: int) -> None:
    from ppsr.inference.outputs import plan_jobs
    from ppsr.inference.upscale_files import upscale_jobs

    target = folder.with_name("results")

    def pipeline() -> None:
        reports = upscale_jobs(upscaler, plan_jobs([folder], target), target)
        assert {report["status"] for report in reports} == {"ok"}, reports

    def computing() -> None:
        for image in images:
            upscaler(image)

    seconds: dict[Callable, list[float]] = {pipeline: [], computing: []}
    load = os.getloadavg()[0]
    for turn in range(repeats + 1):
        for call, times in seconds.items():
            shutil.rmtree(target, ignore_errors=True)
            began = time.perf_counter()
            call()
            if turn:  # the first call warms up
                times.append(time.perf_counter() - began)
    whole, alone = min(seconds[pipeline]), min(seconds[computing])
    row = {"name": "pipelines", "case": case, "value": round(whole, 3), "unit": "s"}
    row |= {"computing": round(alone, 3), "ratio": round(whole / alone, 3), "repeats": repeats, "load": load}
    print(json.dumps(row), flush=True)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth structures with some noise, which PNG compresses about as well as photographs."""
    y, x = np.mgrid[:height, :width] / 16
    waves = np.stack([np.sin(x * a + y * b) for a, b in rng.uniform(-1, 1, (3, 2))], axis=-1)
    noise = rng.normal(0, 0.02, waves.shape)
    return np.clip(0.5 + 0.4 * waves + noise, 0, 1).astype(np.float32)


def _write_video(path: Path, frames: list[np.ndarray]) -> None:
    import av

    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            pixels = (frame * 255).round().astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main()
