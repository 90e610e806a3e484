"""Which files of the package an image passes from the command to the written file."""

import re
import sys
import threading
from pathlib import Path

import pytest

import ppsr
from ppsr.inference.upscaler import Upscaler
from tests.imaging.kinds import colours, packed
from tests.inference.helpers import small_network, upscale_files

PACKAGE = Path(ppsr.__file__).parent
DOCS = PACKAGE.parent / "docs"
# what these ten call, but for the network, which is a file of `generators` and its blocks
HELPERS = {
    "errors.py",
    "files.py",
    "imaging/arrays.py",
    "imaging/io.py",
    "imaging/metadata.py",
    "inference/progress.py",
    "inference/results.py",
    "inference/transparent.py",
}


def _documented(page):
    """The numbered list of the page's section."""
    section = page.read_text(encoding="utf-8").split("<!-- path of an image -->")[1]
    return re.findall(r"^\d+\. `ppsr/(\S+?)`", section, re.M)


@pytest.fixture
def passed(tmp_path):
    """Files whose functions run in any thread while an image is upscaled."""
    seen = set()

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            seen.add(str(path.relative_to(PACKAGE)))

    (tmp_path / "a.png").write_bytes(packed(colours(), "PNG"))
    upscaler = Upscaler(small_network())
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        [report] = upscale_files(upscaler, tmp_path / "a.png", tmp_path / "out")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert report["status"] == "ok", report
    return seen


def test_an_image_passes_the_ten_documented_files(passed):
    ten = _documented(DOCS / "extending.md")
    assert ten == _documented(DOCS / "extending.zh.md")
    assert len(ten) <= 10
    network = "generators/srvgg.py"
    assert network in passed
    parts = ("generators/", "accelerate/", "imaging/formats/")
    others = {name for name in passed if not name.startswith(parts)} - HELPERS
    assert others | {network, "cli/upscale.py"} == set(ten)
