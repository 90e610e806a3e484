"""The page of the real command, used through a real browser.

Playwright drives the Chromium of the system; without one these tests are skipped.
"""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("playwright", reason="needs the package 'playwright'")

from playwright.sync_api import sync_playwright

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


@pytest.fixture
def visit(browser, site):
    """Opens tabs, which must ask nobody else for anything and complain about nothing."""
    contexts, foreign, errors = [], [], []

    def opened(locale="en-US", width=1280, **more):
        context = browser.new_context(viewport={"width": width, "height": 900}, locale=locale, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(_SECONDS)
        page.on("request", lambda request: foreign.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site.url)
        page.locator("#model option").first.wait_for(state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not [url for url in foreign if not url.removeprefix("blob:").startswith((site.url, "data:"))]
    assert not errors


def _file(folder, pixels, name="my image.png"):
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def _upscale(page, *paths):
    page.locator("#files").set_input_files(list(paths))
    page.locator("#run").click()


def _status(page, text):
    page.locator("#status").get_by_text(text).wait_for()
    return page.locator("#status").inner_text()


def _downloaded(page, link):
    with page.expect_download() as download:
        link.click()
    content = Path(download.value.path()).read_bytes()
    return np.asarray(Image.open(io.BytesIO(content))), download.value.suggested_filename


def test_several_images_go_in_and_come_out_larger(visit, site, tmp_path, rng):
    images = [rng.integers(0, 256, (40, width, 3), dtype=np.uint8) for width in (60, 50)]
    page = visit()
    page.locator("#files").set_input_files(
        [_file(tmp_path, image, f"image {number}.png") for number, image in enumerate(images)]
    )
    assert page.locator("#before").evaluate("image => image.decode().then(() => image.naturalWidth)") == 50
    assert page.locator("#after").is_hidden()
    page.locator("#run").click()
    net = site.nets["small"]
    for number, image in enumerate(images):
        link = page.locator("#list li").nth(number).get_by_role("link", name="Download")
        pixels, name = _downloaded(page, link)
        np.testing.assert_array_equal(pixels, Upscaler(net)(image))
        assert name == f"image {number}_x{net.scale}.png"
    assert f"50 × 40 → {50 * net.scale} × {40 * net.scale} in" in _status(page, "with small")
    page.locator("#list li").first.click()
    assert "60 × 40 →" in page.locator("#status").inner_text()
    assert page.locator("#progress").get_attribute("value") == "1"


def test_the_slider_moves_between_before_and_after(visit, tmp_path):
    page = visit()
    page.locator("#model").select_option("other")
    _upscale(page, _file(tmp_path, np.full((40, 60, 3), 128, np.uint8)))
    _status(page, "→")
    page.locator("#after").evaluate("image => image.decode()")
    seen = {}
    for place in ("0", "50", "100"):
        page.locator("#slider").fill(place)
        pixels = Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB")
        seen[place] = np.asarray(pixels)[60:-5, 5:-5].astype(float)  # below the names, without the edge
    half = seen["0"].shape[1] // 2
    assert np.abs(seen["100"] - 128).max() < 1
    assert np.abs(seen["0"] - 128).mean() > 1
    np.testing.assert_array_equal(seen["50"][:, : half - 5], seen["100"][:, : half - 5])
    np.testing.assert_array_equal(seen["50"][:, half + 5 :], seen["0"][:, half + 5 :])
    narrow = page.locator("#stage").bounding_box()["width"]
    page.get_by_role("button", name="Actual size").click()
    assert page.locator("#stage").bounding_box()["width"] != narrow


def test_options_are_closed_at_first_and_reach_the_result(visit, site, tmp_path, rng):
    pixels = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    page = visit()
    assert page.locator("#tile").is_hidden()
    page.get_by_text("Options").click()
    page.locator("#model").select_option("other")
    page.locator("#format").select_option("tif")
    page.locator("#tile").fill("32")
    page.locator("#outscale").fill("1.5")
    page.locator("#ensemble").check()
    _upscale(page, _file(tmp_path, pixels, "a.png"))
    result, name = _downloaded(page, page.get_by_role("link", name="Download"))
    assert name == "a_x1.5.tif"
    expected = Upscaler(site.nets["other"], tile=32, outscale=1.5, self_ensemble=True)(pixels)
    assert np.abs(result.astype(int) - expected).max() <= 1
    page.get_by_text("The browser cannot show this format.").wait_for()


def test_catalogue_models_show_their_size_and_strength(visit, site):
    page = visit()
    assert page.locator("#model option").first.inner_text() == "small"
    general = page.locator("#model option[value=realesr-general-x4v3]")
    assert general.inner_text() == "realesr-general-x4v3 (download: 4.9 MB)"
    assert page.locator("#strength").is_hidden()
    page.locator("#model").select_option("realesr-general-x4v3")
    page.locator("#strength").fill("0.5")
    assert page.locator("output").inner_text() == "0.5"
    page.locator("#model").select_option("srvgg-8x32-x4")  # comes with ppsr
    assert page.locator("#strength").is_hidden()


@pytest.mark.parametrize(
    ("locale", "stage", "left", "stopped"),
    [
        ("en-US", r"Tile \d+ of \d+", "s left", "Stopped."),
        ("zh-CN", r"第 \d+ 块，共 \d+ 块", "剩余", "已停止。"),
    ],
)
def test_progress_is_shown_and_stop_stops(visit, site, tmp_path, rng, locale, stage, left, stopped):
    page = visit(locale)
    page.locator("#model").select_option("other")
    page.locator("#options").evaluate("options => { options.open = true }")
    page.locator("#tile").fill("16")
    page.locator("#ensemble").check()
    _upscale(page, _file(tmp_path, rng.integers(0, 256, (400, 400), dtype=np.uint8)))
    assert re.match(stage, _status(page, left))
    assert 0 < float(page.locator("#progress").get_attribute("value")) < 1
    page.locator("#stop").click()
    _status(page, stopped)
    for _ in range(100):
        state = page.request.get(f"{site.url}/api/status").json()
        if not state["requests"]:
            break
        page.wait_for_timeout(50)
    assert state["requests"] == 0
    assert page.locator("#run").is_enabled()


@pytest.mark.parametrize(
    ("locale", "none", "broken", "large"),
    [
        ("en-US", "Choose an image first.", "the file is not an image", "the limit is 250,000"),
        ("zh-CN", "请先选择图片。", "文件不是可以读取的图片", "像素过多：图片不超过 250,000"),
    ],
)
def test_mistakes_are_explained(visit, tmp_path, locale, none, broken, large):
    page = visit(locale)
    page.locator("#run").click()
    _status(page, none)
    (tmp_path / "broken.png").write_bytes(b"no image at all")
    paths = str(tmp_path / "broken.png"), _file(tmp_path, np.zeros((600, 500), np.uint8), "large.png")
    _upscale(page, *paths)
    _status(page, large)
    page.locator("#list li").first.click()
    _status(page, broken)


@pytest.mark.parametrize(
    ("locale", "run"), [("en-US", "Upscale"), ("zh-CN", "放大"), ("zh-TW", "放大"), ("de", "Upscale")]
)
def test_the_texts_are_in_the_language_of_the_browser(visit, locale, run):
    page = visit(locale)
    assert page.locator("#run").inner_text() == run
    page.locator("#options").evaluate("options => { options.open = true }")
    text = page.locator("body").inner_text()
    for words in ("0.3 百万像素", "选择图片", "分块越小"):
        assert (words in text) == locale.startswith("zh")
    assert "undefined" not in text
    assert not re.search(r"[{}]", text)
