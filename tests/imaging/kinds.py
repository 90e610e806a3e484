"""The kinds of files that people hand to an upscaler, made from nothing."""

import io
import zlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms

HEIGHT, WIDTH = 24, 36


def colours(seed=0):
    """A smooth RGB image, so that JPEG keeps it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    phase = seed * 0.7
    planes = [np.sin(x / 9 + phase), np.cos(y / 7 + phase), np.sin((x + y) / 11)]
    return np.rint(np.stack(planes, -1) * 110 + 127).astype(np.uint8)


def packed(image, kind="PNG", **options):
    """Bytes of an image as Pillow writes it."""
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half(jpeg):
    """A JPEG without the second half of its image."""
    return jpeg[: (jpeg.rindex(b"\xff\xda") + len(jpeg)) // 2]


def by_opencv(suffix, image, options=()):
    """Bytes of an image as OpenCV writes it; RGB order in, any depth."""
    order = {2: Ellipsis, 3: [2, 1, 0], 4: [2, 1, 0, 3]}
    pixels = image if image.ndim == 2 else image[..., order[image.shape[2]]]
    done, content = cv2.imencode(suffix, np.ascontiguousarray(pixels), options)
    assert done
    return content.tobytes()


def chunk(kind, data):
    """A chunk of a PNG."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width, height, depth, colour, content, *, end=True, before=b""):
    """A PNG from its parts; the sizes may lie."""

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0])
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", content)
    return b"\x89PNG\r\n\x1a\n" + body + (chunk(b"IEND", b"") if end else b"")


def tiff(image, *, order="<", planar=False, tile=None, rows=7, deflate=False, big=False, tags=None):
    """A TIFF of H x W or H x W x C integers; `tags` replace or add some, whatever they claim."""
    image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    samples = image.shape[2] if image.ndim == 3 else 1
    added, stream = dict(tags or {}), io.BytesIO()
    extra = added.pop(338, [2] if samples in (2, 4) else None)
    new = [(274, 3, 1, *added.pop(274), True)] if 274 in added else []
    with tifffile.TiffWriter(stream, bigtiff=big, byteorder=order) as file:
        file.write(
            np.moveaxis(image, 2, 0) if planar and samples > 1 else image,
            photometric="minisblack" if samples < 3 else "rgb",
            planarconfig=None if samples == 1 else "separate" if planar else "contig",
            extrasamples=extra,
            tile=(tile, tile) if tile else None,
            rowsperstrip=None if tile else rows,
            compression="zlib" if deflate else None,
            predictor=deflate,
            metadata=None,
            software=False,
            extratags=new,
        )
    stream.seek(0)
    with tifffile.TiffFile(stream, mode="r+") as file:
        for tag, values in added.items():
            file.pages[0].tags[tag].overwrite(values, dtype=4 if max(values) > 65_535 else None)
    return stream.getvalue()


def exif(orientation=6):
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "Maker"
    tags.get_ifd(0x8769)[0xA002] = WIDTH
    tags.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    tags.get_ifd(0x8825)[1] = "N"
    return tags


@lru_cache
def profile():
    """A colour profile; those of two calls would differ in their time stamp."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def write_kinds(folder: Path) -> dict[str, np.ndarray | None]:
    """Write one file of each kind; the values are the pixels to be seen, None: it cannot be used."""
    rgb = colours()
    deep = rgb.astype(np.uint16) * 257 + 3
    clear = np.clip(np.mgrid[:HEIGHT, :WIDTH][1] * 9, 1, 255).astype(np.uint8)
    jpeg = packed(rgb, "JPEG", quality=92)
    seen = np.asarray(Image.open(io.BytesIO(jpeg)))
    plain = packed(rgb, "PNG")
    palette = Image.fromarray(rgb).quantize(64)
    palette_rgb = np.asarray(palette.convert("RGB"))
    see_through = np.dstack([palette_rgb, np.where(np.asarray(palette) == 5, 0, 255).astype(np.uint8)])
    cmyk = Image.fromarray(rgb).convert("CMYK")
    cmyk_jpeg = packed(cmyk, "JPEG", quality=92)
    adobe = cmyk_jpeg.index(b"Adobe")
    ycck_jpeg = cmyk_jpeg[: adobe + 11] + b"\2" + cmyk_jpeg[adobe + 12 :]
    bits = rgb[..., 0] > 127
    others = [Image.fromarray(colours(1)), Image.fromarray(colours(2))]
    pages = {"save_all": True, "append_images": others}
    gif = packed(palette, "GIF", save_all=True, append_images=[other.quantize(64) for other in others])
    webp = packed(rgb, "WEBP", lossless=True, **pages)
    la16 = np.dstack([deep[..., 0], deep[..., 1]]).astype(">u2")
    la16_png = png(WIDTH, HEIGHT, 16, 4, zlib.compress(b"".join(b"\0" + row.tobytes() for row in la16)))
    key = deep[4:5, 3:4].astype(">u2")
    see_through_16 = {}
    for colour, pixels, value in ((0, deep[..., :1], key[..., :1]), (2, deep, key)):
        rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2"))
        made = png(WIDTH, HEIGHT, 16, colour, zlib.compress(rows), before=chunk(b"tRNS", value.tobytes()))
        alpha = np.where((pixels == value).all(axis=2, keepdims=True), 0, 65_535).astype(np.uint16)
        see_through_16[colour] = made, np.concatenate([pixels, alpha], axis=2)
    bad = bytearray(plain)
    bad[plain.index(b"IDAT") + 30] ^= 0x55
    files: dict[str, tuple[bytes, np.ndarray | None]] = {
        "truncated.jpg": (half(jpeg), None),
        "no_end_marker.jpg": (jpeg[:-2], seen),
        "truncated.png": (plain[: len(plain) // 2], None),
        "no_iend.png": (plain[:-12], None),
        "bad_data.png": (bytes(bad), None),
        "bad_stream.png": (png(WIDTH, HEIGHT, 8, 2, zlib.compress(b"short")), None),
        "gray16.png": (by_opencv(".png", deep[..., 0]), deep[..., 0]),
        "rgb16.png": (by_opencv(".png", deep), deep),
        "rgba16.png": (by_opencv(".png", np.dstack([deep, deep[..., 0]])), np.dstack([deep, deep[..., 0]])),
        "la16.png": (la16_png, la16.astype(np.uint16)),
        "gray16_clear.png": see_through_16[0],
        "rgb16_clear.png": see_through_16[2],
        "dark16.png": (by_opencv(".png", deep // 257), deep // 257),
        "rgb16.tif": (by_opencv(".tiff", deep), deep),
        "gray8.png": (packed(rgb[..., 0], "PNG"), rgb[..., 0]),
        "bilevel.png": (packed(Image.fromarray(bits), "PNG"), bits.astype(np.uint8) * 255),
        "rgba.png": (packed(np.dstack([rgb, clear]), "PNG"), np.dstack([rgb, clear])),
        "la.png": (
            packed(Image.merge("LA", [Image.fromarray(rgb[..., 0]), Image.fromarray(clear)]), "PNG"),
            np.dstack([rgb[..., 0], clear]),
        ),
        "palette_clear.png": (packed(palette, "PNG", transparency=5), see_through),
        "palette.png": (packed(palette, "PNG"), palette_rgb),
        "cmyk.jpg": (cmyk_jpeg, np.asarray(Image.open(io.BytesIO(cmyk_jpeg)).convert("RGB"))),
        "ycck.jpg": (ycck_jpeg, np.asarray(Image.open(io.BytesIO(ycck_jpeg)).convert("RGB"))),
        "turned.jpg": (packed(rgb, "JPEG", quality=92, exif=exif()), np.rot90(seen, -1)),
        "turned.png": (packed(rgb, "PNG", exif=exif()), np.rot90(rgb, -1)),
        "turned.tif": (packed(rgb, "TIFF", tiffinfo={274: 6}), np.rot90(rgb, -1)),
        "animated.gif": (gif, np.asarray(Image.open(io.BytesIO(gif)).convert("RGB"))),
        "animated.webp": (webp, rgb),
        "animated.png": (packed(rgb, "PNG", **pages), rgb),
        "pages.tif": (packed(rgb, "TIFF", **pages), rgb),
        "photo.avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(64), None),
        # without compression: some versions of OpenCV otherwise store logarithms in 16 bits
        "float32.tif": (
            by_opencv(".tiff", rgb.astype(np.float32) / 255, [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
            None,
        ),
        "float32_gray.tif": (packed(rgb[..., 0].astype(np.float32), "TIFF"), None),
        "empty.png": (b"", None),
        "text.png": (b"no image at all\n" * 5, None),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", None),
        "notes.txt": (b"a list of files\n", None),
        "claims_2_to_31.png": (png(2**31 - 1, 2**31 - 1, 8, 2, zlib.compress(b"")), None),
        "zero_width.png": (png(0, 10, 8, 2, zlib.compress(b"")), None),
        "claims_40000.png": (png(40000, 40000, 8, 2, zlib.compress(b"")), None),
        "bomb_32000.png": (png(32000, 32000, 1, 0, zlib.compress(bytes(32000 * 4001))), None),
        "thin.png": (packed(np.tile(rgb[:1], (1, 28000, 1))[:, :1_000_000], "PNG"), None),
        "tiny.png": (packed(rgb[:1, :1], "PNG"), rgb[:1, :1]),
        "ünï 图片 with spaces.png": (plain, rgb),
        "image.bmp": (packed(rgb, "BMP"), rgb),
        "image without suffix": (plain, rgb),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    kinds = {name: pixels for name, (_, pixels) in files.items()}
    kinds["thin.png"] = np.tile(rgb[:1], (1, 28000, 1))[:, :1_000_000]
    return {**kinds, "folder.png": None, "dangling.png": None}
