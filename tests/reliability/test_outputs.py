"""Images that claim more than they hold, and disks that fail while a result is written."""

import errno
import io
import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppsr.imaging import write_image
from ppsr.inference.results import exit_code
from ppsr.inference.upscaler import Upscaler
from tests.bars import Bar
from tests.imaging.kinds import packed, png
from tests.inference.helpers import Repeat, list_files, upscale_files

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(300)]
# in a process of its own, whose largest size and times are its own
READ = """
import json, sys, time
from pathlib import Path
from ppsr.errors import DataError
from ppsr.imaging.reading import read_image_file
slowest = refused = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    began = time.perf_counter()
    try:
        read_image_file(path)
    except DataError as error:
        refused += "allowed are" in str(error)
    slowest = max(slowest, time.perf_counter() - began)
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(json.dumps({"refused": refused, "slowest": slowest, "peak": int(peak) // 1024}))
"""


def bombs() -> dict[str, bytes]:
    """Small files whose headers claim hundreds of millions of pixels; the 1-bit PNG holds them."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    jpeg, bmp, gif = (bytearray(packed(pixels, kind)) for kind in ("JPEG", "BMP", "GIF"))
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, 65500, 65500)
    struct.pack_into("<ii", bmp, 18, 40000, 40000)
    struct.pack_into("<HH", gif, 6, 65535, 65535)
    webp = bytearray(packed(pixels, "WEBP"))
    struct.pack_into("<HH", webp, webp.index(b"\x9d\x01\x2a") + 3, 16383, 16383)
    tiff = io.BytesIO()
    Image.fromarray(pixels).save(tiff, "TIFF", compression="tiff_lzw")
    tags = bytearray(tiff.getvalue())
    for tag, side in ((256, 20), (257, 16)):
        entry = tags.index(struct.pack("<HHIH", tag, 3, 1, side))
        struct.pack_into("<HHII", tags, entry, tag, 4, 1, 40000)
    return {
        "2_to_31.png": png(2**31 - 1, 2**31 - 1, 8, 2, zlib.compress(b"")),
        "40000.png": png(40000, 40000, 8, 2, zlib.compress(b"")),
        "1_bit.png": png(32000, 32000, 1, 0, zlib.compress(bytes(32000 * 4001))),
        "a.jpg": bytes(jpeg),
        "a.bmp": bytes(bmp),
        "a.gif": bytes(gif),
        "a.webp": bytes(webp),
        "a.tif": bytes(tags),
    }


def test_bombs_are_refused_by_their_headers(tmp_path: Path, bar: Bar) -> None:
    count = len(bombs())
    for name, content in bombs().items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    bar.report(
        "I3 bombs",
        f"{count} files: refused by their header, each within 1 s, below 400 MB",
        f"{found['refused']} refused, slowest {found['slowest']:.3f} s, {found['peak']} MB",
    )
    assert found["refused"] == count
    assert found["slowest"] < 1
    assert found["peak"] < 400


@contextmanager
def _failing(fault: str) -> Iterator[None]:
    """The first file of more than 5 kB is cut off, or the first call of a function fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    called, name = {"flush": (os, "fsync"), "move": (Path, "replace"), "full": (None, "")}[fault]
    with pytest.MonkeyPatch.context() as patch:
        if called is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        else:
            outcomes, works = iter([OSError(errno.EIO, "the disk fails")]), getattr(called, name)

            def call(*arguments: object) -> object:
                for error in outcomes:
                    raise error
                return works(*arguments)

            patch.setattr(called, name, call)
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_failing_disk_leaves_no_part_of_a_result(tmp_path: Path, bar: Bar) -> None:
    """While a result is written, when it is flushed, and when it is moved into place."""
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for name, rows in (("a", 60), ("b", 2)):
        write_image(tmp_path / "in" / f"{name}.png", image[:rows])
    whole, cases = 0, list(product(("png", "jpg", "webp", "bmp", "tif"), ("full", "flush", "move")))
    for kind, fault in cases:
        out = tmp_path / f"{kind}-{fault}"
        with _failing(fault):
            reports = upscale_files(Upscaler(Repeat()), tmp_path / "in", out, extension=kind)
        right = [report["status"] for report in reports] == ["error", "ok"] and exit_code(reports) == 1
        whole += right and list_files(out) == [f"b.{kind}"]
    bar.report(
        "I6 outputs",
        f"{len(cases)} faults of the disk: exit code 1, no part of a file left, the next input is done",
        f"{whole} of {len(cases)}",
    )
    assert whole == len(cases)
