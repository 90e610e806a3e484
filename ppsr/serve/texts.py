"""The texts of the page in English and Chinese; the browser's language chooses."""

from __future__ import annotations

from ppsr.serve.limits import Limits

__all__ = ["PREFIX", "texts"]

PREFIX = "ppsr_"  # gradio has keys of its own, `slider` among them

_TEXTS = {
    "intro": (
        "Pictures of up to {pixels:.1f} megapixels and {size:.0f} MiB. They stay on the machine that runs "
        "this page.",
        "图片不超过 {pixels:.1f} 百万像素、{size:.0f} MiB，只保存在运行本页面的机器上。",
    ),
    "picture": ("Picture", "图片"),
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


def texts(limits: Limits) -> dict[str, dict[str, str]]:
    """Language -> key with `PREFIX` -> text."""
    numbers = {"pixels": limits.max_pixels / 1e6, "size": limits.max_bytes / 2**20}
    return {
        language: {PREFIX + key: both[place].format(**numbers) for key, both in _TEXTS.items()}
        for place, language in enumerate(("en", "zh-CN"))
    }
