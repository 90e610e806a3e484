"""Primitives of oneDNN one after another: their arrays, their layouts, their scratch memory."""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ppsr.accelerate.onednn import (
    BIAS,
    DST,
    OTHER,
    SCRATCHPAD,
    SRC,
    TRAINING,
    WEIGHTS,
    Argument,
    OneDnn,
    OneDnnError,
    dims,
)

__all__ = [
    "ABS",
    "ADD",
    "DIVIDE",
    "EXP",
    "GELU",
    "LINEAR",
    "LOGISTIC",
    "MULTIPLY",
    "RELU",
    "Array",
    "PostOp",
    "Steps",
    "largest_divisor",
]

_ALIGNMENT = 64
_POST_OP, _TAGS = 1 << 15, 1000
_F32, _ANY, _SOFTMAX = 3, 1, 0x30000  # of the enumerations of oneDNN 3
ADD, MULTIPLY, DIVIDE = 0x1FFF0, 0x1FFF1, 0x1FFF4
RELU, ABS, LINEAR, LOGISTIC, EXP, GELU = 0x20, 0x24, 0x26, 0x29, 0x2A, 0x31


class Array(NamedTuple):
    """A view of one of the caller's arrays, or of the scratch area."""

    memory: int
    description: int
    key: int | None  # of the caller's array; None: the scratch area
    offset: int  # in bytes


class PostOp(NamedTuple):
    """What a primitive does with its result before it writes it: a function of one number, or ADD or MULTIPLY
    with an array; ADD without one adds what was in the place of the result."""

    kind: int
    other: Array | None = None
    alpha: float = 0.0
    beta: float = 0.0


class _Segment(NamedTuple):
    """Primitives that run one after another."""

    steps: list[tuple[int, int, ctypes.Array]]
    views: list[tuple[int, int, int]]  # memory object, key of an array of the caller, offset in bytes


class Steps:
    """Primitives run one after another over the caller's arrays and one scratch area.

    Not safe under threads: memory handles are set at each run, so the caller holds a lock.

    Args:
        library: the loaded library.
        needs_grad: keys of the gradients of a backward pass.
        extras: keys of what a forward pass leaves to a backward pass.
    """

    def __init__(
        self, library: OneDnn, needs_grad: frozenset[int] = frozenset(), extras: frozenset[int] = frozenset()
    ) -> None:
        self.library, self.needs_grad, self.callers = library, needs_grad, needs_grad | extras
        self._arrays_bytes = self._pad_bytes = 0
        self._pads: list[int] = []  # memory objects of what primitives use while they run
        self._owned: list[tuple[str, int]] = []  # handles to destroy, with the kind of each
        self._segments = [_Segment([], [])]
        self.order: list[tuple[int, Mapping[int, int]]] = [(0, {})]
        self._staged: list[tuple[int, Array]] = []  # memory object, its values in another layout
        self._scratch: list[tuple[int, int]] = []  # memory object, offset
        self._scratch_at = 0
        self._constants: list[np.ndarray] = []
        self._made: dict[tuple, int] = {}  # descriptions and primitives by what they were made from

    def any_layout(self, shape: Sequence[int]) -> int:
        """Description of a float32 array whose layout the primitive may choose."""
        return self.layout(shape, _ANY)

    def layout(self, shape: Sequence[int], tag: int) -> int:
        """Description of a float32 array in a layout from `find_tag`."""
        arguments = (len(shape), dims(shape), _F32, tag)
        return self._once((tag, *shape), "memory_desc", "memory_desc_create_with_tag", *arguments)

    def find_tag(self, primitive_desc: int, argument: int, shape: Sequence[int]) -> int:
        """Number of the layout that a primitive chose for an argument, for arrays of other shapes as well."""
        chosen = self.library.chosen_layout(primitive_desc, argument)
        for tag in range(_ANY + 1, _TAGS):
            with contextlib.suppress(OneDnnError):  # of another rank
                if self.library.same_desc(self.layout(shape, tag), chosen):
                    return tag
        raise OneDnnError(f"oneDNN {self.library.version} chose a layout without a number")

    def plain(self, shape: Sequence[int], strides: Sequence[int] | None = None) -> int:
        """Description of a float32 array, contiguous unless `strides` are given."""
        if strides is None:
            strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        known, arguments = (tuple(shape), tuple(strides)), (len(shape), dims(shape), _F32, dims(strides))
        return self._once(known, "memory_desc", "memory_desc_create_with_strides", *arguments)

    def primitive(self, function: str, *arguments: object) -> int:
        """Description of a primitive on this engine, made by one of the library's functions.

        Raises:
            OneDnnError: the library refuses it, or has a plain loop for it, which is slower than Paddle.
        """
        library = self.library
        known = (function, *(bytes(x) if isinstance(x, ctypes.Array) else x for x in arguments))
        desc = self._once(known, "primitive_desc", function, library.engine, *arguments)
        name = library.implementation(desc)
        if name.startswith("ref"):
            raise OneDnnError(f"oneDNN {library.version} has only a plain loop, {name}")
        return desc

    def _once(self, known: tuple, kind: str, function: str, *arguments: object) -> int:
        """A handle that is made by a function of the library, and found again under `known`."""
        if known not in self._made:
            self._made[known] = self._own(kind, self.library.create(function, *arguments))
        return self._made[known]

    def attributes(self, then: Sequence[PostOp]) -> int:
        """Attributes of a primitive with operations on its result."""
        library = self.library
        known = ("then", *((x.kind, x.other and x.other.description, x.alpha, x.beta) for x in then))
        if not then:
            return library.attributes
        if known not in self._made:
            operations = self._own("post_ops", library.create("post_ops_create"))
            for kind, other, alpha, beta in then:
                if other is not None:
                    library.call("post_ops_append_binary", operations, kind, other.description)
                elif kind == ADD:
                    library.call("post_ops_append_sum", operations, 1.0, 0, 0)
                else:
                    library.call("post_ops_append_eltwise", operations, kind, alpha, beta)
            self._made[known] = self._own("primitive_attr", library.new_attributes())
            library.call("primitive_attr_set_post_ops", self._made[known], operations)
        return self._made[known]

    def array(
        self, key: int, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0
    ) -> Array:
        """A view of the array whose address `run` takes under a key; `offset` and `strides` in elements."""
        return self._view(self.plain(shape, strides), key, 4 * offset)

    def scratch(self, shape: Sequence[int], tag: int = 0) -> Array:
        """An array for what one primitive leaves to the next."""
        return self._temporary(self.layout(shape, tag) if tag else self.plain(shape))

    def viewed(
        self,
        array: Array,
        shape: Sequence[int],
        strides: Sequence[int] | None = None,
        offset: int = 0,
        tag: int = 0,
    ) -> Array:
        """The same numbers, from `offset` on, in another shape; `tag`: in a layout from `find_tag`."""
        description = self.layout(shape, tag) if tag else self.plain(shape, strides)
        return self._view(description, array.key, array.offset + 4 * offset)

    def _view(self, description: int, key: int | None, offset: int) -> Array:
        memory = self._memory(description)
        if key is None:
            self._scratch.append((memory, offset))
        else:
            self._segments[-1].views.append((memory, key, offset))
        return Array(memory, description, key, offset)

    def _temporary(self, description: int) -> Array:
        start = self._arrays_bytes
        self._arrays_bytes += -(-self.library.size_of(description) // _ALIGNMENT) * _ALIGNMENT
        return self._view(description, None, start)

    @property
    def scratch_bytes(self) -> int:
        """Size of the area that `run` needs: its arrays, and what primitives use while they run."""
        return self._arrays_bytes + self._pad_bytes

    def wanted(self, key: int, shape: Sequence[int]) -> Array:
        """An array of the caller if this gradient or what is left to a backward pass is needed; a primitive
        computes it in any case."""
        return self.array(key, shape) if key in self.callers else self.scratch(shape)

    def constant(self, values: np.ndarray) -> Array:
        """An array of these float32 numbers."""
        self._constants.append(values)
        description = self.plain(values.shape)
        return Array(self._memory(description, values.ctypes.data), description, None, 0)

    def ones(self, shape: Sequence[int]) -> Array:
        """An array of ones; a product with it sums along an axis faster than Paddle does."""
        return self.constant(np.ones(shape, np.float32))

    def segment(self) -> int:
        """Begin another group of primitives, with views of the caller's arrays of its own. `order` says what
        runs when: a segment, and by how many elements the caller's arrays are moved."""
        self._segments.append(_Segment([], []))
        return len(self._segments) - 1

    def product(
        self, left: Array, right: Array, result: Array, bias: Array | None = None, factor: float = 1.0
    ) -> None:
        """Append factor * (left @ right + bias)."""
        extra = None if bias is None else bias.description
        attributes = self.attributes([] if factor == 1 else [PostOp(LINEAR, alpha=factor)])
        operands = (left.description, right.description, extra, result.description)
        desc = self.primitive("matmul_primitive_desc_create", *operands, attributes)
        arrays = {SRC: left, WEIGHTS: right, DST: result} | ({} if bias is None else {BIAS: bias})
        self._append(desc, {argument: array.memory for argument, array in arrays.items()})

    def combine(
        self, kind: int, target: Array, other: Array, into: Array | None = None, then: Sequence[PostOp] = ()
    ) -> None:
        """Append the sum, product or quotient of two arrays, the second repeated to the shape of the first.

        Args:
            kind: ADD, MULTIPLY or DIVIDE.
            target: the first array, which is overwritten without `into`.
            other: the second array.
            into: the result.
            then: operations on the result.
        """
        into = into or target
        operands = (target.description, other.description, into.description, self.attributes(then))
        desc = self.primitive("binary_primitive_desc_create", kind, *operands)
        arguments = {SRC: target.memory, OTHER: other.memory, DST: into.memory}
        self._append(desc, arguments | _operands(then))

    def softmax(self, rows: Array) -> None:
        """Append softmax along the second axis, in place."""
        operands = (TRAINING, _SOFTMAX, rows.description, rows.description, 1, self.library.attributes)
        desc = self.primitive("softmax_forward_primitive_desc_create", *operands)
        self._append(desc, {SRC: rows.memory, DST: rows.memory})

    def add(self, primitive_desc: int, inputs: Mapping[int, Array], outputs: Mapping[int, Array]) -> None:
        """Append a primitive, with changes of layout where it chose others than those of the arrays; a layout
        made for an earlier primitive is used again, so that no array may have changed since."""
        arguments = {argument: self.stage(primitive_desc, argument, own) for argument, own in inputs.items()}
        afterwards = []
        for argument, own in outputs.items():
            arguments[argument] = own.memory
            chosen = self._other_layout(primitive_desc, argument, own)
            if chosen:
                other = self._temporary(chosen)
                arguments[argument] = other.memory
                afterwards.append((other, own))
        self._append(primitive_desc, arguments)
        for source, target in afterwards:
            self.copy(source, target)

    def _other_layout(self, primitive_desc: int, argument: int, own: Array) -> int:
        """The layout that a primitive chose; 0 where it is that of the array."""
        chosen = self.library.chosen_layout(primitive_desc, argument)
        return 0 if not chosen or self.library.same_desc(own.description, chosen) else chosen

    def stage(self, primitive_desc: int, argument: int, own: Array) -> int:
        """Append a change of layout where a primitive chose another one for an input, unless it exists."""
        chosen = self._other_layout(primitive_desc, argument, own)
        if not chosen:
            return own.memory
        for original, staged in self._staged:
            if original == own.memory and self.library.same_desc(staged.description, chosen):
                return staged.memory
        staged = self._temporary(chosen)
        self.copy(own, staged)
        self._staged.append((own.memory, staged))
        return staged.memory

    def copy(self, source: Array, target: Array) -> None:
        """Append a copy between arrays of one shape, whose layouts may differ."""
        lib = self.library
        arguments = (source.description, lib.engine, target.description, lib.engine, lib.attributes)
        desc = self._own("primitive_desc", lib.create("reorder_primitive_desc_create", *arguments))
        self._append(desc, {SRC: source.memory, DST: target.memory})

    def _append(self, primitive_desc: int, arguments: dict[int, int]) -> None:
        scratchpad = self.library.chosen_layout(primitive_desc, SCRATCHPAD)
        if scratchpad and (size := self.library.size_of(scratchpad)):
            self._pads.append(self._memory(scratchpad))
            self._pad_bytes = max(self._pad_bytes, size)
            arguments = {**arguments, SCRATCHPAD: self._pads[-1]}
        known = ("run", primitive_desc)
        primitive = self._once(known, "primitive", "primitive_create", primitive_desc)
        packed = (Argument * len(arguments))(*(Argument(*item) for item in arguments.items()))
        self._segments[-1].steps.append((primitive, len(arguments), packed))

    def _memory(self, description: int, address: int | None = None) -> int:
        lib = self.library
        return self._own("memory", lib.create("memory_create", description, lib.engine, address))

    def _own(self, kind: str, handle: int) -> int:
        self._owned.append((kind, handle))
        return handle

    def run(self, scratch_address: int, addresses: dict[int, int]) -> None:
        """Execute; `addresses` holds one for every key, `scratch_address` is a multiple of 64."""
        lib = self.library
        if scratch_address != self._scratch_at:
            for memory, offset in self._scratch:
                lib.set_handle(memory, scratch_address + offset)
            for memory in self._pads:
                lib.set_handle(memory, scratch_address + self._arrays_bytes)
            self._scratch_at = scratch_address
        for index, shifts in self.order:
            steps, views = self._segments[index]
            for memory, key, offset in views:
                lib.set_handle(memory, addresses[key] + offset + 4 * shifts.get(key, 0))
            for primitive, count, arguments in steps:
                status = lib.execute(primitive, lib.stream, count, arguments)
                if status:
                    raise OneDnnError(f"oneDNN {lib.version}: a primitive returned status {status}")
        lib.wait(lib.stream)

    def close(self) -> None:
        """Destroy everything that was made, newest first."""
        for kind, handle in reversed(self._owned):
            self.library.call(f"{kind}_destroy", handle)
        self._owned.clear()
        self._segments.clear()


def _operands(then: Sequence[PostOp]) -> dict[int, int]:
    """Memory objects of operations on a result, by their number."""
    others = [post.other for post in then]
    return {_POST_OP * (i + 1) | OTHER: x.memory for i, x in enumerate(others) if x is not None}


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor that is not above a limit, at least 1."""
    return next(k for k in range(max(1, min(number, limit)), 0, -1) if number % k == 0)
