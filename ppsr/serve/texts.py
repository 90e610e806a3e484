"""The texts of the page in English and Chinese; the browser's language chooses.

Those that stand on the page from the beginning go to the browser in all languages. What is said later, about
an image, is written by the server in the language that the request asks for.
"""

from __future__ import annotations

from ppsr.serve.limits import Limits, RefusedError
from ppsr.serve.watched import LARGEST_TILE, SMALLEST_TILE

__all__ = ["PREFIX", "language_of", "refusal", "say", "texts"]

PREFIX = "ppsr_"  # gradio has keys of its own, `slider` among them

_TEXTS = {
    "intro": (
        "Images of up to {pixels:.1f} megapixels and {size:.0f} MiB. They stay on the machine that runs "
        "this page.",
        "图片不超过 {pixels:.1f} 百万像素、{size:.0f} MiB，只保存在运行本页面的机器上。",
    ),
    "image": ("Image", "图片"),
    "model": ("Model", "模型"),
    "run": ("Upscale", "放大"),
    "stop": ("Stop", "停止"),
    "options": ("Options", "选项"),
    "tile": ("Tile (pixels)", "分块（像素）"),
    "tile_info": ("Largest side of what is computed at once", "一次计算的最大边长"),
    "memory": ("Memory (GB)", "内存（GB）"),
    "memory_info": ("0: what is free", "0：使用空闲内存"),
    "outscale": ("Enlarge by", "放大倍数"),
    "outscale_info": ("0: as the model does", "0：模型的倍数"),
    "format": ("Format", "格式"),
    "ensemble": ("Self-ensemble", "自集成"),
    "ensemble_info": ("A little better, 8 times slower", "效果略好，耗时 8 倍"),
    "slider": ("Bicubic | model", "双三次插值 | 模型"),
    "download": ("Download", "下载"),
}

_SAID = {
    "no_image": ("Choose an image first.", "请先选择图片。"),
    "waiting": ("Waiting for another image", "正在等待另一张图片"),
    "reading": ("Reading", "正在读取"),
    "at": ("Tile {done} of {total}", "第 {done} 块，共 {total} 块"),
    "unit": ("tiles", "块"),
    "stopped": ("Stopped.", "已停止。"),
    "file": ("Download {name}", "下载 {name}"),
    "whole": ("{plan}", "整图一次算完"),
    "tiles": ("{plan}", "分 {count} 块"),
    "summary": (
        "{before} → **{after}** in {seconds:.2f} s, {tiles}, {model}.",
        "{before} → **{after}**，用时 {seconds:.2f} 秒，{tiles}，模型 {model}。",
    ),
    "note": (" Note: {warning}.", " 注意：{warning}。"),
}

# By the code of what is refused; in English the service's own message is shown. Why an image cannot be
# decoded comes from the libraries that read it, who speak English.
_REFUSALS = {
    "bad_option": f"有选项超出允许的范围：分块 {SMALLEST_TILE} 至 {LARGEST_TILE} 像素，"
    "内存与放大倍数不能为负，放大倍数也不能过大",
    "too_many_requests": "正在处理的图片已有 {max_requests} 张，达到上限，请稍后再试",
    "not_an_image": "文件不是可以读取的图片，请使用 PNG、JPEG、WebP、BMP、TIFF 或 GIF",
    "too_many_pixels": "像素过多：图片不超过 {max_pixels:,}，结果不超过 {max_output_pixels:,}，"
    "请换一张较小的图片",
    "time_limit": "计算超过 {max_seconds:g} 秒的上限，请换一张较小的图片",
    "out_of_memory": "内存不足，请换一张较小的图片",
    "cannot_upscale": "无法放大这张图片：{message}",
}
_LANGUAGES = ("en", "zh")


def texts(limits: Limits) -> dict[str, dict[str, str]]:
    """Language -> key with `PREFIX` -> text."""
    numbers = {"pixels": limits.max_pixels / 1e6, "size": limits.max_bytes / 2**20}
    return {
        language: {PREFIX + key: both[place].format(**numbers) for key, both in _TEXTS.items()}
        for place, language in ((0, "en"), (1, "zh"), (1, "zh-CN"), (1, "zh-TW"))
    }


def language_of(accepted: str) -> str:
    """The language for a request: "en" or "zh".

    Args:
        accepted: the header Accept-Language, such as "zh-CN,zh;q=0.9,en;q=0.8". Its first entry counts, as it
            does for the texts that the browser chooses.
    """
    first = accepted.split(",", maxsplit=1)[0].partition(";")[0].strip().lower()
    return "zh" if first.partition("-")[0] == "zh" else "en"


def say(language: str, key: str, **values: object) -> str:
    """A text about an image, with its numbers and names.

    Args:
        language: "en" or "zh".
        key: of the text.
        values: what it names.
    """
    return _SAID[key][_LANGUAGES.index(language)].format(**values)


def refusal(error: RefusedError, language: str, limits: Limits) -> str:
    """Why an image is refused, and what to do."""
    text = _REFUSALS.get(error.code)
    if language == "en" or text is None:
        return str(error)
    return text.format(message=error, **vars(limits))
