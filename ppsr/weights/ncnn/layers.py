"""The layers of an ncnn network: a text graph (.param), and their numbers in its order (.bin).

A .param file is `7767517`, then `<layers> <blobs>`, then one layer a line: `Type name n_in n_out in...
out... k=v...`. Convolution weights begin with four bytes that name their storage; biases and slopes are
bare float32.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppsr.weights.dtypes import from_bits
from ppsr.weights.opcodes import CorruptFile, UnsafeFile

MAGIC = 7767517
FLOAT32, FLOAT16, BFLOAT16 = 0, 0x01306B47, 0x01348B83
_REFUSED = {0x000D4B38: "int8, which needs scales", 0x0002C056: "float32 with extra scaling"}
_ARRAY = -23300
_OPTION = re.compile(r"(-?\d{1,6})=(\S+)")
_LARGEST = 64 << 20  # bytes of a text graph; that of the largest network seen has 120 kB

Number = int | float


@dataclass
class Layer:
    """One line of a graph.

    Attributes:
        options: by number; an array option is a list.
    """

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    options: dict[int, Number | list[Number]] = field(default_factory=dict)

    def number(self, key: int, default: Number = 0) -> Number:
        value = self.options.get(key, default)
        if isinstance(value, list):
            raise CorruptFile(f"layer '{self.name}': option {key} is an array")
        return value

    def count(self, key: int, default: int = 0) -> int:
        value = self.number(key, default)
        if not float(value).is_integer():
            raise CorruptFile(f"layer '{self.name}': option {key} is {value}, not a whole number")
        return int(value)

    def array(self, key: int) -> list[Number]:
        value = self.options.get(key, [])
        return value if isinstance(value, list) else [value]


def parse_param(path: Path) -> list[Layer]:
    """Read the layers of a text graph.

    Raises:
        CorruptFile: not a text graph, or a damaged one.
    """
    if (size := path.stat().st_size) > _LARGEST:
        raise CorruptFile(f"{path} is not an ncnn graph: it has {size:,} bytes, more than {_LARGEST:,}")
    content = path.read_bytes()
    if content[:4] == struct.pack("<i", MAGIC):
        raise CorruptFile(f"{path} is a binary graph (.param.bin); give the text one (.param)")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")  # of editors of Windows
    lines = text.split("\n")
    if lines[0].strip() != str(MAGIC):
        raise CorruptFile(f"{path} is not an ncnn graph: its first line is not {MAGIC}")
    rows = [line.split() for line in lines[1:] if line.strip()]
    try:
        layers, blobs = map(int, rows[0])
        found = [_layer(row) for row in rows[1:]]
    except (ValueError, IndexError) as error:
        raise CorruptFile(f"{path}: damaged graph: {error}") from None
    made = [name for layer in found for name in layer.outputs]
    if layers != len(found) or blobs != len(made):
        raise CorruptFile(
            f"{path} announces {layers} layers and {blobs} blobs, and has {len(found)} and {len(made)}"
        )
    if len(set(made)) != len(made):
        raise CorruptFile(f"{path}: a blob is made twice")
    return found


def _layer(row: list[str]) -> Layer:
    kind, name, inputs, outputs = row[0], row[1], int(row[2]), int(row[3])
    ends = 4 + inputs, 4 + inputs + outputs
    if min(inputs, outputs) < 0 or ends[1] > len(row):
        raise ValueError(f"layer '{name}' is cut short")
    layer = Layer(kind, name, row[4 : ends[0]], row[ends[0] : ends[1]])
    for word in row[ends[1] :]:
        match = _OPTION.fullmatch(word)
        if match is None:
            raise ValueError(f"layer '{name}': '{word}' is not an option")
        key, values = int(match[1]), [_number(text) for text in match[2].split(",")]
        if key <= _ARRAY:
            if values[0] != len(values) - 1:
                raise ValueError(f"layer '{name}': '{word}' does not have the length that it states")
            layer.options[_ARRAY - key] = values[1:]
        else:
            layer.options[key] = values[0] if len(values) == 1 else values
    return layer


def _number(text: str) -> Number:
    return float(text) if re.search(r"[.eE]|inf|nan", text) else int(text)


class Numbers:
    """The numbers of a .bin file, in order; nothing is allocated that the file does not hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = memoryview(path.read_bytes())
        self.position = 0

    def _take(self, size: int, what: str) -> memoryview:
        end = self.position + size
        if size < 0 or end > len(self.content):
            left = len(self.content) - self.position
            raise CorruptFile(f"{self.path} ends early: {what} needs {size} bytes, {left} are left")
        part, self.position = self.content[self.position : end], end
        return part

    def bare(self, count: int, what: str) -> np.ndarray:
        """`count` float32 numbers."""
        return np.frombuffer(self._take(4 * count, what), "<f4")

    def tagged(self, count: int, what: str) -> np.ndarray:
        """`count` float32 numbers in the storage that the four bytes before them name."""
        (tag,) = struct.unpack("<I", self._take(4, what))
        if tag == FLOAT32:
            return self.bare(count, what)
        if tag not in (FLOAT16, BFLOAT16):
            stored = _REFUSED.get(tag, "indices into a table of 256 numbers")
            raise UnsafeFile(
                f"{self.path}: refused: {what} is stored as {stored} (tag 0x{tag:08X}); float32, float16 and "
                "bfloat16 are read"
            )
        padded = self._take(2 * count + 2 * count % 4, what)[: 2 * count]
        if tag == BFLOAT16:
            return from_bits(np.frombuffer(padded, "<u2"))
        return np.frombuffer(padded, "<f2").astype("f4")

    def finish(self) -> None:
        """Check that the whole file was used."""
        left = len(self.content) - self.position
        if left:
            raise CorruptFile(f"{self.path}: {left} bytes are left after the last layer")
