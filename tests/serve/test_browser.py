"""The page of the real command, used through a real browser.

Playwright drives the Chromium of the system; without one these tests are skipped. The environment variable
PPSR_SCREENSHOTS names a folder to keep an image of the page in, serve.jpg, and PPSR_SCREENSHOT_WEIGHTS the
weights of the model that it shows.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra 'serve'")
pytest.importorskip("playwright", reason="needs the package 'playwright'")

from playwright.sync_api import sync_playwright
from skimage.data import chelsea

from ppsr.imaging.io import write_image
from ppsr.imaging.resize import matlab_resize
from ppsr.inference.upscaler import Upscaler
from tests.serve.command import Command

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
_SECONDS = 30_000  # in ms

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(_NAMES)} is in PATH"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    found = Command(tmp_path_factory.mktemp("site"), "--max-pixels", "250000", "--max-upload", "1MB")
    yield found
    found.end()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A tab, with everything that it asked for and complained about."""

    def __init__(self, browser, site, locale="en-US"):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, locale=locale)
        self.page = self.context.new_page()
        self.requests, self.failed, self.errors = [], [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("response", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.goto(site.url)
        self.page.locator("#run").wait_for()

    def _note(self, answer):
        if answer.status >= 400:
            self.failed.append(f"{answer.status} {answer.url}")

    def button(self, name):
        return self.page.get_by_role("button", name=name)

    def choose(self, path):
        self.page.locator("#image input[type=file]").set_input_files(str(path))

    def upscale(self, path):
        """Upload an image and press the button."""
        self.choose(path)
        self.page.locator("#image a[href]").wait_for()  # the name is already there while it uploads
        self.page.locator("#run").click()

    def result(self):
        """The file that the download button gives, and its name."""
        button = self.button(re.compile(r"^(Download|下载) ."))
        button.and_(self.page.locator(":enabled")).wait_for(timeout=_SECONDS)
        with self.page.expect_download() as download:
            button.click()
        return Path(download.value.path()).read_bytes(), download.value.suggested_filename

    def status(self, text):
        self.page.locator("#status").get_by_text(text).wait_for(timeout=_SECONDS)
        return self.page.locator("#status").inner_text()

    def message(self, text):
        """A pop-up with this text."""
        toast = self.page.locator("[data-testid=toast-body]").get_by_text(text)
        toast.first.wait_for(timeout=_SECONDS)

    def pick(self, place, option):
        """An entry of a drop-down list."""
        self.page.locator(f"{place} input").click()
        self.page.get_by_role("option", name=option).click()

    def seen(self, place="#slider"):
        """The pixels that are on the screen at a place."""
        return np.asarray(Image.open(io.BytesIO(self.page.locator(place).screenshot())).convert("RGB"))


@pytest.fixture
def visit(browser, site):
    tab = Visit(browser, site)
    yield tab
    tab.context.close()


def _image(folder, rng, height, width, name="my image.png"):
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return folder / name, pixels


def test_an_image_goes_in_and_comes_out_larger(visit, site, tmp_path, rng):
    path, pixels = _image(tmp_path, rng, 40, 60)
    visit.upscale(path)
    content, name = visit.result()
    net = site.nets["small"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), Upscaler(net)(pixels))
    assert name == f"my image_x{net.scale}.png"
    assert f"60 × 40 → {60 * net.scale} × {40 * net.scale}" in visit.status("→")
    shown = visit.page.locator("#slider img")
    sizes = shown.evaluate_all("all => all.map(i => [i.naturalWidth, i.naturalHeight])")
    assert sizes == [[60 * net.scale, 40 * net.scale]] * 2
    assert all(address.startswith(site.url) for address in visit.requests)
    assert not visit.failed
    assert not visit.errors


def test_a_photograph_is_shown_as_the_documentation_shows_it(browser, tmp_path):
    """docs/images/serve.jpg is what this test saw."""
    weights = os.environ.get("PPSR_SCREENSHOT_WEIGHTS")
    options = ("--load", f"real-srresnet={weights}") if weights else ()
    photograph = np.clip(matlab_resize(chelsea()[2:-2, 1:-2] / 255, 0.25), 0, 1)
    height, width = photograph.shape[:2]
    write_image(tmp_path / "chelsea.png", photograph)
    own = Command(tmp_path, *options)
    tab = Visit(browser, own)
    try:
        if weights:
            tab.pick("#model", "real-srresnet")
        tab.page.locator("#tile input[type=number]").fill("64")
        tab.upscale(tmp_path / "chelsea.png")
        scale = 4 if weights else own.nets["small"].scale
        assert f"{width} × {height} → {width * scale} × {height * scale}" in tab.status("→")
        assert tab.result()[1] == f"chelsea_x{scale}.png"
        tab.page.locator("#slider img").nth(1).wait_for()
        tab.page.wait_for_timeout(500)
        if "PPSR_SCREENSHOTS" in os.environ:
            path = Path(os.environ["PPSR_SCREENSHOTS"]) / "serve.jpg"
            tab.page.screenshot(path=path, type="jpeg", quality=85)
        seen = tab.seen().astype(float)
        assert seen[100:400, 100:-100].std() > 20  # no empty frame
        assert not tab.failed
        assert not tab.errors
    finally:
        tab.context.close()
        own.end()


def test_the_slider_moves_between_before_and_after(visit, tmp_path, rng):
    visit.upscale(_image(tmp_path, rng, 40, 60)[0])
    visit.status("→")
    visit.page.locator("#slider img").nth(1).wait_for()
    visit.page.wait_for_timeout(500)
    box = visit.page.locator("#slider").bounding_box()
    middle, row = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    images = {}
    at = middle
    for place, share in (("left", 0.25), ("right", 0.75)):
        to = box["x"] + box["width"] * share
        visit.page.mouse.move(at, row)
        visit.page.mouse.down()
        visit.page.mouse.move(to, row, steps=8)
        visit.page.mouse.up()
        visit.page.wait_for_timeout(300)
        images[place], at = visit.seen(), to
    between = slice(round(box["width"] * 0.35), round(box["width"] * 0.65))
    rows = slice(round(box["height"] * 0.55), round(box["height"] * 0.95))
    smooth, sharp = (images[place][rows, between].astype(float) for place in ("right", "left"))
    assert np.abs(smooth - sharp).mean() > 5
    outside = slice(round(box["width"] * 0.1), round(box["width"] * 0.2))
    assert np.abs(images["left"][rows, outside].astype(float) - images["right"][rows, outside]).mean() < 1


def test_options_reach_the_result(visit, site, tmp_path, rng):
    path, pixels = _image(tmp_path, rng, 50, 70, "a.png")
    visit.pick("#model", "other")
    visit.pick("#format", "tif")
    visit.page.locator("#tile input[type=number]").fill("32")
    visit.page.locator("#outscale input").fill("1.5")
    visit.page.locator("#ensemble input").check()
    visit.upscale(path)
    content, name = visit.result()
    assert name == "a_x1.5.tif"
    expected = Upscaler(site.nets["other"], tile=32, outscale=1.5, ensemble=True)(pixels)
    difference = np.asarray(Image.open(io.BytesIO(content))).astype(int) - expected
    assert np.abs(difference).max() <= 1
    assert "tiles of" in visit.status("→")


def _take_long(tab, path, stage="Tile "):
    """Begin what takes far longer than a test looks at it."""
    tab.pick("#model", "other")
    tab.page.locator("#tile input[type=number]").fill("16")
    tab.page.locator("#ensemble input").check()
    tab.upscale(path)
    tab.status(stage)


def test_progress_is_shown_and_stop_stops(visit, site, tmp_path, rng):
    _take_long(visit, _image(tmp_path, rng, 440, 500, "large.png")[0])
    visit.page.locator("#slider").get_by_text("tiles").first.wait_for(timeout=_SECONDS)
    visit.button("Stop").click()
    visit.status("Stopped.")
    for _ in range(100):
        state = visit.page.request.get(f"{site.url}/api/status").json()
        if not state["requests"]:
            break
        visit.page.wait_for_timeout(100)
    assert state["requests"] == 0
    assert state["tiles"] is None
    assert visit.page.locator("#status").inner_text() == "Stopped."


def test_an_image_that_waits_is_stopped_at_once(browser, site, visit, tmp_path, rng):
    path = _image(tmp_path, rng, 440, 500, "large.png")[0]
    second = Visit(browser, site)
    try:
        _take_long(visit, path)
        second.upscale(path)
        second.status("Waiting for another image")
        second.button("Stop").click()
        second.status("Stopped.")
        assert "Tile " in visit.page.locator("#status").inner_text()
        visit.button("Stop").click()
        visit.status("Stopped.")
        assert second.page.locator("#status").inner_text() == "Stopped."
        assert not second.errors
    finally:
        second.context.close()


def test_mistakes_are_explained(visit, tmp_path, rng):
    visit.button("Upscale").click()
    visit.message("Choose an image first.")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image at all")
    visit.upscale(broken)
    visit.message("the file is not an image")
    visit.page.reload()
    Image.fromarray(np.zeros((600, 500), np.uint8)).save(tmp_path / "large.png")
    visit.upscale(tmp_path / "large.png")
    visit.message("allowed are 250,000")


def test_a_file_above_the_limit_is_not_taken(visit, site, tmp_path, rng):
    path = _image(tmp_path, rng, 600, 600, "heavy.png")[0]
    assert path.stat().st_size > 1_000_000
    visit.choose(path)
    visit.message("exceed")
    assert not list(site.temporary.rglob("heavy*"))


@pytest.mark.parametrize(
    ("locale", "run", "download"),
    [
        ("en-US", "Upscale", "Download"),
        ("zh-CN", "放大", "下载"),
        ("zh-TW", "放大", "下载"),
        ("de", "Upscale", "Download"),
    ],
)
def test_the_texts_are_in_the_language_of_the_browser(browser, site, locale, run, download):
    tab = Visit(browser, site, locale)
    try:
        assert tab.page.locator("#run").inner_text() == run
        assert tab.page.locator("#download").inner_text() == download
        text = tab.page.locator("body").inner_text()
        for words in ("0.2 百万像素", "双三次插值 | 模型", "一次计算的最大边长"):
            assert (words in text) == locale.startswith("zh")
        assert "[object" not in text
        assert "__i18n" not in text
        assert not tab.failed
        assert not tab.errors
    finally:
        tab.context.close()


@pytest.fixture
def chinese(browser, site):
    tab = Visit(browser, site, "zh-CN")
    yield tab
    tab.context.close()


def _english(tab, *names):
    """Words of a tab that are left when names and units are taken away."""
    text = tab.page.locator("#status").inner_text()
    for name in names:
        text = text.replace(name, "")
    return re.findall(r"[A-Za-z]+", text)


def test_a_run_in_chinese_speaks_chinese(chinese, site, tmp_path, rng):
    path = _image(tmp_path, rng, 40, 60, "a.png")[0]
    chinese.upscale(path)
    content, name = chinese.result()
    scale = site.nets["small"].scale
    assert Image.open(io.BytesIO(content)).size == (60 * scale, 40 * scale)
    assert chinese.page.locator("#download").inner_text() == f"下载 {name}"
    assert f"60 × 40 → {60 * scale} × {40 * scale}，用时" in chinese.status("→")
    assert "整图一次算完" in chinese.status("→")
    assert not _english(chinese, "small")
    chinese.page.locator("#tile input[type=number]").fill("32")
    chinese.button("放大").click()
    chinese.status("分 4 块")
    assert not _english(chinese, "small")


def test_progress_waiting_and_stopping_are_chinese(browser, site, chinese, tmp_path, rng):
    path = _image(tmp_path, rng, 440, 500, "large.png")[0]
    second = Visit(browser, site, "zh-CN")
    try:
        _take_long(chinese, path, "第 ")
        assert re.fullmatch(r"第 \d+ 块，共 \d+ 块", chinese.page.locator("#status").inner_text())
        chinese.page.locator("#slider").get_by_text("块").first.wait_for(timeout=_SECONDS)
        second.upscale(path)
        second.status("正在等待另一张图片")
        for tab in (second, chinese):
            tab.button("停止").click()
            tab.status("已停止。")
        assert not second.errors + chinese.errors
    finally:
        second.context.close()


def test_mistakes_are_explained_in_chinese(chinese, tmp_path, rng):
    chinese.button("放大").click()
    chinese.message("请先选择图片。")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image at all")
    chinese.upscale(broken)
    chinese.message("文件不是可以读取的图片")
    chinese.page.reload()
    Image.fromarray(np.zeros((600, 500), np.uint8)).save(tmp_path / "large.png")
    chinese.upscale(tmp_path / "large.png")
    chinese.message("像素过多：图片不超过 250,000")
    chinese.page.reload()
    chinese.page.locator("#outscale input").fill("-1")
    chinese.upscale(_image(tmp_path, rng, 20, 20)[0])
    chinese.message("有选项超出允许的范围")
