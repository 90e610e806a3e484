"""TIFF files by tifffile, whose segments imagecodecs unpacks.

What the samples mean is dealt with here: planes, palettes, inverted gray, CMYK, premultiplied alpha, bands.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from ppsr.errors import DataError
from ppsr.imaging.formats.common import (
    MOST_FRAMES,
    STRIP,
    Decoded,
    Target,
    check_size,
    count_frames,
    in_strips,
)
from ppsr.imaging.luma import GRAY_WEIGHTS
from ppsr.imaging.metadata import (
    DAMAGED_EXIF,
    EXIF_HEADER,
    LAYERS,
    LAYOUT,
    Directories,
    Metadata,
    is_sound_exif,
)

_POINTERS = (0x8769, 0x8825)  # to directories of EXIF and GPS
_FOUR_GIGABYTES = 2**32 - 2**20
_LEVEL = 4  # of zlib: beyond it time doubles for a few per cent

_RATIO = 2000  # of unpacked to packed bytes; no codec does better on an image
_JPEG = (6, 7, 33007, 34892)  # compressions whose decoder converts YCbCr to RGB
_LEVELS = (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)  # black and white of Y, Cb, Cr, as fractions
_UNITS = {2: 1.0, 3: 2.54}  # of resolution -> per inch


def tiff_header(handle: BinaryIO) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha, of the first page."""
    with tifffile.TiffFile(handle) as file:
        page: Any = file.pages[0]
        return page.imagewidth, page.imagelength, 1 in page.extrasamples or 2 in page.extrasamples


def decode_tiff(
    content: bytes, max_pixels: int, warnings: list[str], value_range: Sequence[float] | None = None
) -> tuple[Decoded, int]:
    """Decode the first page; returns its orientation too. Floats become [0, 1] of the stated range."""
    try:
        Directories(content, parts=False)
    except (ValueError, struct.error) as error:
        raise DataError(f"the TIFF is damaged: {error}") from None
    logging.getLogger("tifffile").disabled = True  # what it logs is checked, raised or harmless here
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page: Any = file.pages[0]
        if page.is_reduced and page.subifds:
            raise DataError(
                "its first image is a preview, as in raw files of cameras, which are not supported; "
                "convert it"
            )
        check_size((page.imagewidth, page.imagelength), max_pixels)
        _check_samples(page, len(content), value_range is not None)
        count_frames(_pages(content), warnings)
        pixels = page.asarray()
        planar = page.planarconfig == 2 and page.samplesperpixel > 1
        pixels = np.moveaxis(pixels, 0, -1) if planar else pixels
        pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
        if pixels.dtype.kind == "f":
            assert value_range is not None
            pixels = _scaled(pixels, value_range, warnings)
        pixels, alpha = _meaning(page, pixels, warnings)
        orientation = page.tags.valueof(274, 1)
        orientation = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
        return (np.ascontiguousarray(pixels), _metadata(page, content, warnings), alpha), orientation


def _pages(content: bytes) -> int:
    """Number of directories, which may be a chain that leads back; counted up to `MOST_FRAMES` + 1."""
    found, seen, place = Directories(content, parts=False), set[int](), 0
    word, size, first = ("Q", 20, 8) if found.big else ("I", 12, 2)
    place = found.number(word, 8 if found.big else 4)
    while place and place not in seen and len(seen) <= MOST_FRAMES:
        seen.add(place)
        try:
            count = found.number("Q" if found.big else "H", place)
            place = found.number(word, place + first + size * count)
        except ValueError:  # this image may be whole, what follows is not
            break
    return len(seen)


def _scaled(pixels: np.ndarray, value_range: Sequence[float], warnings: list[str]) -> np.ndarray:
    """Floats of a range as float32 in [0, 1]."""
    if not np.isfinite(pixels).all():
        raise DataError("the samples are not all finite")
    low, high = value_range
    outside = float(np.mean((pixels < low) | (pixels > high)))
    if outside:
        warnings.append(f"{outside:.2%} of the samples are outside [{low:g}, {high:g}] and are clipped")
    return ((np.clip(pixels.astype(np.float64), low, high) - low) / (high - low)).astype(np.float32)


def _check_samples(page: Any, length: int, floats: bool) -> None:
    bits = page.bitspersample
    if isinstance(bits, tuple):
        raise DataError(f"samples of {bits} bits are not supported; a TIFF must hold gray or RGB of one type")
    is_float = page.sampleformat == 3 and page.dtype is not None
    if is_float and not floats:
        raise DataError(
            f"{bits}-bit float samples have no range of their own; state it (value_range of a "
            "data set, --value-range), or convert the image to 8 or 16 bit"
        )
    if not is_float and (
        page.sampleformat != 1 or bits > 16 or page.dtype is None or page.dtype.kind not in "ub"
    ):
        name = {2: "signed", 3: "float"}.get(page.sampleformat, "")
        raise DataError(f"{bits}-bit {name} samples are not supported; convert the image to 8 or 16 bit")
    if page.nbytes > _RATIO * length + 2**20:
        raise DataError(f"the TIFF is damaged: {length:,} bytes cannot hold {page.nbytes:,}")
    parts = math.prod(page.chunked)
    if len(page.dataoffsets) != parts or len(page.databytecounts) != parts:
        raise DataError("the TIFF is damaged: it does not state where its parts are")
    if any(place + size > length for place, size in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise DataError("the TIFF is truncated: it points beyond its end")
    if page.imagedepth > 1:
        raise DataError("volumes are not supported; store the slices as pages")


def _meaning(page: Any, pixels: np.ndarray, warnings: list[str]) -> tuple[np.ndarray, bool]:
    """Gray, RGB or bands, with the last channel being alpha if the second value is true."""
    if pixels.dtype.kind == "f":  # gray, RGB or bands, without alpha
        return (1 - pixels if int(page.photometric) == 0 else pixels), False
    kind, bits = int(page.photometric), page.bitspersample
    dtype = np.uint16 if bits > 8 else np.uint8
    top = np.iinfo(dtype).max
    if bits not in (8, 16) and kind != 3:  # the largest of 1 to 15 bits is white
        pixels = (pixels.astype(np.uint32) * top // (2**bits - 1)).astype(dtype)
    if kind == 3:
        table = np.asarray(page.colormap)
        wide = (table[:, pixels[..., 0].astype(int)]).transpose(1, 2, 0)
        return (wide >> 8).astype(np.uint8), False
    if kind == 0:
        pixels = top - pixels
    if kind == 5:
        if pixels.dtype != np.uint8 or pixels.shape[2] < 4:
            raise DataError("CMYK is supported with 8 bits; convert the image to RGB")
        warnings.append("CMYK was converted to RGB without a profile")
        return np.asarray(
            Image.fromarray(np.ascontiguousarray(pixels[..., :4]), "CMYK").convert("RGB")
        ), False
    if kind not in (0, 1, 2, 6):
        raise DataError(f"TIFF files of photometric kind {kind} are not supported; convert the image to RGB")
    if kind == 6 and int(page.compression) not in _JPEG:
        pixels = _from_ycbcr(page, pixels)
    extra = [int(e) for e in page.extrasamples]
    colours = pixels.shape[2] - len(extra) if extra else pixels.shape[2]
    if extra and extra[0] in (1, 2) and colours in (1, 3):
        pixels = pixels[..., : colours + 1]
        return (_straight(pixels, top) if extra[0] == 1 else pixels), True
    if len(extra) == 1 and colours in (1, 3):
        warnings.append("the sample behind the colours is not alpha and is left out")
        return pixels[..., :colours], False
    return pixels, False


def _from_ycbcr(page: Any, pixels: np.ndarray) -> np.ndarray:
    """RGB of YCbCr of BT.601 with full-range levels, which are TIFF's defaults."""
    weights = page.tags.valueof(529, None)
    same = weights is None or np.allclose(np.divide(weights[::2], weights[1::2]), GRAY_WEIGHTS, atol=1e-3)
    levels = page.tags.valueof(532, _LEVELS)
    if pixels.dtype != np.uint8 or pixels.shape[2] < 3 or not same or levels != _LEVELS:
        raise DataError("YCbCr is supported with 8 bits, full range and BT.601; convert the image to RGB")
    rgb = Image.fromarray(np.ascontiguousarray(pixels[..., :3]), "YCbCr").convert("RGB")
    return np.concatenate([np.asarray(rgb), pixels[..., 3:]], axis=2)


def _straight(pixels: np.ndarray, top: int) -> np.ndarray:
    """Divide the alpha out of the colours."""
    alpha = pixels[..., -1:].astype(np.float64)
    colours = np.minimum(np.rint(pixels[..., :-1] * (top / np.maximum(alpha, 1))), top)
    return np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], axis=2)


def _metadata(page: Any, content: bytes, warnings: list[str]) -> Metadata:
    tags = page.tags
    dpi = None
    unit = _UNITS.get(int(tags.valueof(296, 2)))
    sides = [tags.valueof(tag) for tag in (282, 283)]
    if unit and all(isinstance(side, tuple) and len(side) == 2 and all(side) for side in sides):
        dpi = (sides[0][0] / sides[0][1] * unit, sides[1][0] / sides[1][1] * unit)
    icc, xmp = tags.valueof(34675), tags.valueof(700)
    if LAYERS in tags:
        warnings.append("its layers of Photoshop are left out")
    return Metadata(
        icc=icc if isinstance(icc, bytes) else None,
        exif=_exif(content, warnings),
        xmp=xmp if isinstance(xmp, bytes) else None,
        dpi=dpi,
    )


def _exif(content: bytes, warnings: list[str]) -> bytes | None:
    """All tags that do not describe the samples, as an EXIF block."""
    if not is_sound_exif(content):
        warnings.append(DAMAGED_EXIF)
        return None
    exif = Image.Exif()
    big, order = content[2:4] in (b"+\0", b"\0+"), "<" if content[:1] == b"I" else ">"
    if big and order == ">":  # which Pillow takes for a small file
        return None
    exif.bigtiff, exif.endian = big, order
    start = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)[0]
    exif.load_from_fp(io.BytesIO(content), start)  # type: ignore[arg-type]
    kept = Image.Exif()
    for tag, value in exif.items():
        if tag not in LAYOUT and tag not in _POINTERS:
            kept[tag] = value
    for pointer in _POINTERS:
        if pointer in exif:
            kept.get_ifd(pointer).update(exif.get_ifd(pointer))
    return kept.tobytes().removeprefix(EXIF_HEADER) if len(kept) else None


def write_tiff(handle: BinaryIO, target: Target, rows: Iterator[np.ndarray]) -> None:
    """Deflated strips with horizontal differences; BigTIFF above 4 GB."""
    metadata, colour = target.metadata, target.channels - target.alpha == 3
    whole = target.height * target.width * target.channels * target.dtype.itemsize
    parts = _exif_parts(metadata.exif)
    extra = [(tag, *_typed(value), True) for tag, value in parts.pop(0, {}).items()]
    # tifffile does not write the tags themselves
    extra += [(pointer + 1, 4, 1, 0, True) for pointer in parts]
    if metadata.xmp is not None:
        extra.append((700, 1, len(metadata.xmp), metadata.xmp, True))
    with tifffile.TiffWriter(handle, bigtiff=whole > _FOUR_GIGABYTES) as file:
        file.write(
            map(_packed, in_strips(rows, target)),
            shape=(target.height, target.width, target.channels)[: 3 if target.channels > 1 else 2],
            dtype=target.dtype,
            photometric="rgb" if colour else "minisblack",
            planarconfig="contig" if target.channels > 1 else None,
            extrasamples=["unassalpha"] if target.alpha else None,
            rowsperstrip=STRIP,
            compression="zlib",
            predictor=target.dtype.kind == "u",
            software=False,
            metadata=None,
            iccprofile=metadata.icc,
            resolution=metadata.dpi,
            resolutionunit="inch" if metadata.dpi else None,
            extratags=extra,
        )
    for pointer, tags in parts.items():
        _append_directory(handle, pointer, tags)


def _packed(strip: np.ndarray) -> bytes:
    """A deflated strip, of integers as differences to the pixel on the left."""
    different = strip.astype(strip.dtype.newbyteorder("<"))
    if strip.dtype.kind == "u":
        different[:, 1:] -= strip[:, :-1]
    return zlib.compress(different.tobytes(), _LEVEL)


def _exif_parts(block: bytes | None) -> dict[int, dict[int, Any]]:
    """Tags of an EXIF block by directory; 0 is the main one."""
    if block is None:
        return {}
    exif = Image.Exif()
    exif.load(EXIF_HEADER + block)
    pointers = [pointer for pointer in _POINTERS if exif.get_ifd(pointer)]
    # the resolution is stated by the file itself, and what is upright needs no orientation
    own = {tag: value for tag, value in exif.items() if tag not in (*_POINTERS, 274, 282, 283, 296)}
    return {0: own, **{pointer: dict(exif.get_ifd(pointer)) for pointer in pointers}}


def _typed(value: Any) -> tuple[int, int, Any]:
    """Type, count and value of a tag for tifffile."""
    if isinstance(value, str):
        return 2, 0, value
    if isinstance(value, bytes):
        return 7, len(value), value
    if isinstance(value, int):
        return 4, 1, value
    if isinstance(value, TiffImagePlugin.IFDRational):
        return 5, 1, (value.numerator, value.denominator)
    if isinstance(value, float):
        return 12, 1, value
    if isinstance(value, tuple) and value:
        kinds, _, parts = zip(*map(_typed, value), strict=True)
        if kinds[0] != 2 and len(set(kinds)) == 1:
            return kinds[0], len(value), tuple(chain(*parts)) if kinds[0] == 5 else parts
    return 2, 0, str(value)


def _append_directory(handle: BinaryIO, pointer: int, tags: dict[int, Any]) -> None:
    """Write a directory of EXIF behind the file, and its place into the tag that points to it."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0" + bytes(4))
    for tag, value in tags.items():
        directory[tag] = value
    place = handle.seek(0, 2)
    handle.write(directory.tobytes(place))
    handle.seek(0)
    with tifffile.TiffFile(handle) as file:
        tag = file.pages[0].tags[pointer + 1]
    handle.seek(tag.offset)
    handle.write(pointer.to_bytes(2, "little"))
    handle.seek(tag.valueoffset)
    handle.write(place.to_bytes(4, "little"))
