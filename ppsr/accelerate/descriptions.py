"""Cache of oneDNN's descriptors of arrays and primitives, which are destroyed together."""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Sequence
from typing import NamedTuple

from ppsr.accelerate.onednn import OneDnn, OneDnnError, dims

_TAGS = 1000  # more than oneDNN's enumeration of layouts has
_F32, _ANY = 3, 1  # of the enumerations of oneDNN 3
ADD, MULTIPLY, DIVIDE = 0x1FFF0, 0x1FFF1, 0x1FFF4
RELU, ABS, LINEAR, LOGISTIC, EXP, GELU = 0x20, 0x24, 0x26, 0x29, 0x2A, 0x31


class Array(NamedTuple):
    """A view of one of the caller's arrays, or of the scratch area."""

    memory: int
    description: int
    key: int | None  # of the caller's array; None: the scratch area
    offset: int  # in bytes


class PostOp(NamedTuple):
    """An operation on a primitive's result before it is written: an elementwise function, or ADD or MULTIPLY
    with an array. ADD without an array adds the previous contents of the output."""

    kind: int
    other: Array | None = None
    alpha: float = 0.0
    beta: float = 0.0


class Descriptions:
    """Creates descriptors and primitives, each once, and owns them."""

    def __init__(self, library: OneDnn) -> None:
        self.library = library
        self._owned: list[tuple[str, int]] = []  # handles to destroy, with the kind of each
        self._made: dict[tuple, int] = {}  # descriptions and primitives by what they were made from

    def any_layout(self, shape: Sequence[int]) -> int:
        """Description of a float32 array whose layout the primitive may choose."""
        return self.layout(shape, _ANY)

    def layout(self, shape: Sequence[int], tag: int) -> int:
        """Description of a float32 array in a layout from `find_tag`."""
        arguments = (len(shape), dims(shape), _F32, tag)
        return self.once((tag, *shape), "memory_desc", "memory_desc_create_with_tag", *arguments)

    def find_tag(self, primitive_desc: int, argument: int, shape: Sequence[int]) -> int:
        """Tag of the layout that a primitive chose for an argument; it is valid for other shapes too."""
        chosen = self.library.chosen_layout(primitive_desc, argument)
        for tag in range(_ANY + 1, _TAGS):
            with contextlib.suppress(OneDnnError):  # of another rank
                if self.library.same_desc(self.layout(shape, tag), chosen):
                    return tag
        raise OneDnnError(f"oneDNN {self.library.version} chose a layout that has no tag")

    def plain(self, shape: Sequence[int], strides: Sequence[int] | None = None) -> int:
        """Description of a float32 array, contiguous unless `strides` are given."""
        if strides is None:
            strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        known, arguments = (tuple(shape), tuple(strides)), (len(shape), dims(shape), _F32, dims(strides))
        return self.once(known, "memory_desc", "memory_desc_create_with_strides", *arguments)

    def primitive(self, function: str, *arguments: object) -> int:
        """Description of a primitive on this engine, made by one of the library's functions.

        Raises:
            OneDnnError: the library refuses it, or has a plain loop for it, which is slower than Paddle.
        """
        library = self.library
        known = (function, *(bytes(x) if isinstance(x, ctypes.Array) else x for x in arguments))
        desc = self.once(known, "primitive_desc", function, library.engine, *arguments)
        name = library.implementation(desc)
        if name.startswith("ref"):
            raise OneDnnError(f"oneDNN {library.version} has only a plain loop, {name}")
        return desc

    def once(self, known: tuple, kind: str, function: str, *arguments: object) -> int:
        """The handle that a function of the library creates; an equal `known` returns the same one."""
        if known not in self._made:
            self._made[known] = self.own(kind, self.library.create(function, *arguments))
        return self._made[known]

    def attributes(self, then: Sequence[PostOp]) -> int:
        """Attributes of a primitive with operations on its result."""
        library = self.library
        known = ("then", *((x.kind, x.other and x.other.description, x.alpha, x.beta) for x in then))
        if not then:
            return library.attributes
        if known not in self._made:
            operations = self.own("post_ops", library.create("post_ops_create"))
            for kind, other, alpha, beta in then:
                if other is not None:
                    library.call("post_ops_append_binary", operations, kind, other.description)
                elif kind == ADD:
                    library.call("post_ops_append_sum", operations, 1.0, 0, 0)
                else:
                    library.call("post_ops_append_eltwise", operations, kind, alpha, beta)
            self._made[known] = self.own("primitive_attr", library.new_attributes())
            library.call("primitive_attr_set_post_ops", self._made[known], operations)
        return self._made[known]

    def own(self, kind: str, handle: int) -> int:
        self._owned.append((kind, handle))
        return handle

    def close(self) -> None:
        """Destroy everything that was made, newest first."""
        for kind, handle in reversed(self._owned):
            self.library.call(f"{kind}_destroy", handle)
        self._owned.clear()
