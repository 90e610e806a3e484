"""Looking through a pickle's opcodes before it is unpickled: only those that build data may occur.

CPython's memo grows with the index that a pickle names, so a file of six bytes can ask for gigabytes;
indices are bounded by the number of opcodes. Hashes of numbers and tuples are not secret, so a file can make
every key of a dictionary collide; what becomes a key must be a text or a small whole number.
"""

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Iterable
from typing import IO, Any, cast

from ppsr.errors import WeightError

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
_GETS = ("GET", "BINGET", "LONG_BINGET")
_INTEGERS = ("INT", "LONG", "LONG1", "BININT", "BININT1", "BININT2")
_TEXTS = frozenset(("str", "bytes", "bytes_or_str", "bool", "None", "small"))
_LARGEST_KEY = 1 << 60  # equal hashes begin with the modulus of hashing, 2**61 - 1
_MARK = pickletools.markobject.name


class UnsafeFile(WeightError):  # noqa: N818 - named after what the file is
    """The file asks for something that weights never need."""


class CorruptFile(WeightError):  # noqa: N818
    """The file is damaged or not what its name says."""


def is_plain_key(key: Any) -> bool:
    """Whether this may be the key of a dictionary."""
    if isinstance(key, (str, bytes, bool)) or key is None:
        return True
    return isinstance(key, int) and -_LARGEST_KEY < key < _LARGEST_KEY


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


class _Stack:
    """Kinds of the values that a pickle has on its stack and in its memo, without the values."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.kinds: list[str] = []
        self.memo: dict[int, str] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name in _PUTS or name == "MEMOIZE":
            self.memo[len(self.memo) if name == "MEMOIZE" else int(str(argument))] = self.kinds[-1]
            return
        if name == "DUP":
            self.kinds.append(self.kinds[-1])
            return
        before, after = (
            [kind.name for kind in opcode.stack_before],
            [kind.name for kind in opcode.stack_after],
        )
        if name == "POP" and self.kinds[-1:] == [_MARK]:
            self.kinds.pop()
            return
        taken = self._slice() if _MARK in before else []
        self._check_keys(name, taken)
        fixed = len([kind for kind in before if kind not in (_MARK, "stackslice")])
        if fixed > len(self.kinds):
            raise CorruptFile(f"{self.source}: damaged pickle: empty stack")
        del self.kinds[len(self.kinds) - fixed :]
        if name in _GETS:
            after = [self.memo.get(int(str(argument)), "any")]
        elif name in _INTEGERS:
            after = ["small" if is_plain_key(argument) else "large"]
        self.kinds += after

    def _slice(self) -> list[str]:
        """Pop the values above the last mark, and the mark."""
        end = len(self.kinds)
        while end and self.kinds[end - 1] != _MARK:
            end -= 1
        if not end:
            raise CorruptFile(f"{self.source}: damaged pickle: no mark")
        taken = self.kinds[end:]
        del self.kinds[end - 1 :]
        return taken

    def _check_keys(self, name: str, taken: list[str]) -> None:
        keys: Iterable[str] = ()
        if name == "SETITEM":
            keys = self.kinds[-2:-1]
        elif name in ("SETITEMS", "DICT"):
            keys = taken[::2]
        elif name in ("ADDITEMS", "FROZENSET"):
            keys = taken
        wrong = [kind for kind in keys if kind not in _TEXTS]
        if wrong:
            raise UnsafeFile(f"{self.source}: refused: a dictionary has a key of the kind '{wrong[0]}'")


def scan(content: bytes | mmap.mmap, source: str, start: int = 0) -> int:
    """Check one pickle.

    Returns:
        Position after its STOP.

    Raises:
        UnsafeFile: an opcode that can do more than build data, or a key that can be made to collide.
        CorruptFile: not a whole pickle.
    """
    count = 0
    stack = _Stack(source)
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
            stack.step(opcode, argument)
    except WeightError:
        raise
    except Exception as error:  # genops raises a dozen unrelated classes on damaged bytes
        raise CorruptFile(f"{source}: damaged pickle: {error}") from None
    raise CorruptFile(f"{source}: truncated pickle")
