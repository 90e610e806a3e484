"""Looking through a pickle's opcodes before it is unpickled: only those that build data may occur.

CPython's memo grows with the index that a pickle names, so a file of six bytes can ask for gigabytes;
indices are bounded by the number of opcodes.
"""

from __future__ import annotations

import mmap
import pickletools
from typing import IO, cast

from ppsr.errors import WeightError

__all__ = ["CorruptFile", "UnsafeFile", "scan"]

_MAX_OPCODES = 5_000_000

_BUILDING = """
PROTO FRAME STOP MARK POP POP_MARK EMPTY_DICT EMPTY_LIST EMPTY_TUPLE EMPTY_SET DICT LIST TUPLE
TUPLE1 TUPLE2 TUPLE3 SETITEM SETITEMS APPEND APPENDS ADDITEMS BININT BININT1 BININT2 INT LONG1 LONG
BINFLOAT NONE NEWTRUE NEWFALSE UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES
SHORT_BINBYTES BINBYTES8 BINSTRING SHORT_BINSTRING PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET
LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD NEWOBJ NEWOBJ_EX BINPERSID FROZENSET FLOAT STRING DUP
"""
_ALLOWED = frozenset(_BUILDING.split())
_COPIED = 4096
_BINSTRING = b"T"
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class UnsafeFile(WeightError):  # noqa: N818 - named after what the file is
    """The file asks for something that weights never need."""


class CorruptFile(WeightError):  # noqa: N818
    """The file is damaged or not what its name says."""


class _Skimmer:
    """The part of a file's interface that `genops` uses, which does not copy the numbers of large arrays."""

    def __init__(self, content: bytes | mmap.mmap, start: int) -> None:
        self.content = content
        self.view = memoryview(content)
        self.position = start

    def tell(self) -> int:
        return self.position

    def read(self, size: int) -> bytes | memoryview:
        start, self.position = self.position, min(self.position + max(size, 0), len(self.content))
        part = self.view[start : self.position]
        # genops decodes what BINSTRING holds, which a view cannot do; its length takes four bytes
        return bytes(part) if size <= _COPIED or self.content[start - 5 : start - 4] == _BINSTRING else part

    def readline(self) -> bytes:
        end = self.content.find(b"\n", self.position)
        start, self.position = self.position, len(self.content) if end < 0 else end + 1
        return self.content[start : self.position]


def scan(content: bytes | mmap.mmap, source: str, start: int = 0) -> int:
    """Check one pickle.

    Returns:
        Position after its STOP.

    Raises:
        UnsafeFile: an opcode that can do more than build data.
        CorruptFile: not a whole pickle.
    """
    count = 0
    try:
        for opcode, argument, position in pickletools.genops(cast("IO[bytes]", _Skimmer(content, start))):
            count += 1
            if opcode.name not in _ALLOWED:
                raise UnsafeFile(f"{source}: refused pickle opcode {opcode.name}")
            if opcode.name in _PUTS and int(str(argument)) > count:
                raise UnsafeFile(f"{source}: refused memo index {argument}")
            if count > _MAX_OPCODES:
                raise UnsafeFile(f"{source}: refused, more than {_MAX_OPCODES} pickle opcodes")
            if opcode.name == "STOP":
                return (position or 0) + 1
    except WeightError:
        raise
    except Exception as error:  # genops raises a dozen unrelated classes on damaged bytes
        raise CorruptFile(f"{source}: damaged pickle: {error}") from None
    raise CorruptFile(f"{source}: truncated pickle")
