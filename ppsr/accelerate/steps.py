"""Primitives of oneDNN one after another: their arrays, their layouts, their scratch memory."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ppsr.accelerate.descriptions import LINEAR, Array, Descriptions, PostOp
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
)

_ALIGNMENT, _POST_OP, _DIRECT, _SOFTMAX = 64, 1 << 15, 1, 0x30000


class _Segment(NamedTuple):
    """Primitives that run one after another."""

    steps: list[tuple[int, int, ctypes.Array]]
    views: list[tuple[int, int, int]]  # memory object, key of an array of the caller, offset in bytes


class Steps(Descriptions):
    """Primitives run one after another over the caller's arrays and one scratch area.

    Not safe under threads: memory handles are set at each run, so the caller holds a lock.

    Args:
        needs_grad: keys of the gradients of a backward pass.
        extras: keys of what a forward pass leaves to a backward pass.
    """

    def __init__(
        self, library: OneDnn, needs_grad: frozenset[int] = frozenset(), extras: frozenset[int] = frozenset()
    ) -> None:
        super().__init__(library)
        self.needs_grad, self.callers = needs_grad, needs_grad | extras
        self._arrays_bytes = self._pad_bytes = 0
        self._pads: list[int] = []  # memory objects of what primitives use while they run
        self._segments = [_Segment([], [])]
        self.order: list[tuple[int, Mapping[int, int]]] = [(0, {})]
        self._staged: list[tuple[int, Array]] = []  # memory object, its values in another layout
        self._scratch: list[tuple[int, int]] = []  # memory object, offset
        self._scratch_at = 0
        self._locals: dict[int, int] = {}  # offsets in the scratch area by key
        self._constants: list[np.ndarray] = []

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

    def local(self, key: int, shape: Sequence[int]) -> None:
        """Scratch memory for `array` under a key of its own, whose views can be moved as the caller's can."""
        self._locals[key] = self._reserve(self.plain(shape))

    def _temporary(self, description: int) -> Array:
        return self._view(description, None, self._reserve(description))

    def _reserve(self, description: int) -> int:
        start = self._arrays_bytes
        self._arrays_bytes += -(-self.library.size_of(description) // _ALIGNMENT) * _ALIGNMENT
        return start

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
        self,
        left: Array,
        right: Array,
        result: Array,
        bias: Array | None = None,
        factor: float = 1.0,
        then: Sequence[PostOp] = (),
    ) -> None:
        """Append factor * (left @ right + bias), and operations on it."""
        extra = None if bias is None else bias.description
        then = [*([] if factor == 1 else [PostOp(LINEAR, alpha=factor)]), *then]
        operands = (left.description, right.description, extra, result.description)
        desc = self.primitive("matmul_primitive_desc_create", *operands, self.attributes(then))
        arrays = {SRC: left, WEIGHTS: right, DST: result} | ({} if bias is None else {BIAS: bias})
        arguments = {argument: array.memory for argument, array in arrays.items()}
        self._append(desc, arguments | _operands(then))

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

    def convolution(
        self,
        kind: str,
        layouts: Sequence[int | None],
        geometry: tuple,
        *last: int,
        then: Sequence[PostOp] = (),
    ) -> int:
        """Description of a convolution: `forward`, `backward_data` or `backward_weights`.

        Args:
            layouts: descriptions of x, weights, bias (data: without) and result, or of their gradients.
            geometry: strides, dilations, padding before and after.
            last: the forward description, for the others.
            then: operations on the result.
        """
        begin = (TRAINING, _DIRECT) if kind == "forward" else (_DIRECT,)
        end = *layouts, *geometry, *last, self.attributes(then)
        return self.primitive(f"convolution_{kind}_primitive_desc_create", *begin, *end)

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

    def copy(self, source: Array, target: Array, then: Sequence[PostOp] = ()) -> None:
        """Append a copy between arrays of one shape, whose layouts may differ; `then`: ADD alone."""
        lib = self.library
        attributes = self.attributes(then)
        arguments = (source.description, lib.engine, target.description, lib.engine, attributes)
        desc = self.own("primitive_desc", lib.create("reorder_primitive_desc_create", *arguments))
        self._append(desc, {SRC: source.memory, DST: target.memory})

    def _append(self, primitive_desc: int, arguments: dict[int, int]) -> None:
        scratchpad = self.library.chosen_layout(primitive_desc, SCRATCHPAD)
        if scratchpad and (size := self.library.size_of(scratchpad)):
            self._pads.append(self._memory(scratchpad))
            self._pad_bytes = max(self._pad_bytes, size)
            arguments = {**arguments, SCRATCHPAD: self._pads[-1]}
        known = ("run", primitive_desc)
        primitive = self.once(known, "primitive", "primitive_create", primitive_desc)
        packed = (Argument * len(arguments))(*(Argument(*item) for item in arguments.items()))
        self._segments[-1].steps.append((primitive, len(arguments), packed))

    def _memory(self, description: int, address: int | None = None) -> int:
        lib = self.library
        return self.own("memory", lib.create("memory_create", description, lib.engine, address))

    def run(self, scratch_address: int, addresses: dict[int, int]) -> None:
        """Execute; `addresses` holds one for every key, `scratch_address` is a multiple of 64."""
        lib = self.library
        if scratch_address != self._scratch_at:
            for memory, offset in self._scratch:
                lib.set_handle(memory, scratch_address + offset)
            for memory in self._pads:
                lib.set_handle(memory, scratch_address + self._arrays_bytes)
            self._scratch_at = scratch_address
        addresses = addresses | {key: scratch_address + offset for key, offset in self._locals.items()}
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
        super().close()
        self._segments.clear()


def _operands(then: Sequence[PostOp]) -> dict[int, int]:
    """Memory objects of operations on a result, by their number."""
    others = [post.other for post in then]
    return {_POST_OP * (i + 1) | OTHER: x.memory for i, x in enumerate(others) if x is not None}


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor that is not above a limit, at least 1."""
    return next(k for k in range(max(1, min(number, limit)), 0, -1) if number % k == 0)
