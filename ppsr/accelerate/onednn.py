"""The oneDNN library inside Paddle's own wheel, through ctypes: no compiler, no dependency.

Only what 2-D float32 convolutions and matrix products need is declared, from the C interface of oneDNN 3
(Intel, Apache License 2.0), whose third major version keeps its binary interface; any other version is
refused.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

__all__ = [
    "BIAS",
    "DIFF_BIAS",
    "DIFF_DST",
    "DIFF_SRC",
    "DIFF_WEIGHTS",
    "DST",
    "SRC",
    "WEIGHTS",
    "OneDnn",
    "OneDnnError",
    "Steps",
    "dims",
]

# Values of the enumerations of oneDNN 3 (dnnl_types.h). The first two lines number a primitive's arguments.
SRC, DST, WEIGHTS, BIAS = 1, 17, 33, 41
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS = 129, 145, 161, 169
_SCRATCHPAD = 80
_QUERIES = {
    SRC: 129,
    DIFF_SRC: 130,
    WEIGHTS: 131,
    DIFF_WEIGHTS: 132,
    DST: 133,
    DIFF_DST: 134,
    _SCRATCHPAD: 136,
}
_CPU, _IN_ORDER, _F32, _ANY, _USER_SCRATCHPAD = 1, 1, 3, 1, 1

_P, _PP, _DIMS = c_void_p, POINTER(c_void_p), POINTER(c_int64)
_GEOMETRY = [_DIMS, _DIMS, _DIMS, _DIMS]  # strides, dilations, padding before and after
_FUNCTIONS: dict[str, list] = {
    "engine_create": [_PP, c_int, c_size_t],
    "stream_create": [_PP, _P, c_int],
    "primitive_attr_create": [_PP],
    "primitive_attr_set_scratchpad_mode": [_P, c_int],
    "memory_desc_create_with_strides": [_PP, c_int, _DIMS, c_int, _DIMS],
    "memory_desc_create_with_tag": [_PP, c_int, _DIMS, c_int, c_int],
    "memory_desc_destroy": [_P],
    "memory_create": [_PP, _P, _P, _P],
    "memory_set_data_handle": [_P, _P],
    "memory_destroy": [_P],
    "convolution_forward_primitive_desc_create": [_PP, _P, c_int, c_int, *[_P] * 4, *_GEOMETRY, _P],
    "convolution_backward_data_primitive_desc_create": [_PP, _P, c_int, *[_P] * 3, *_GEOMETRY, _P, _P],
    "convolution_backward_weights_primitive_desc_create": [_PP, _P, c_int, *[_P] * 4, *_GEOMETRY, _P, _P],
    "matmul_primitive_desc_create": [_PP, *[_P] * 6],
    "reorder_primitive_desc_create": [_PP, _P, _P, _P, _P, _P],
    "primitive_desc_destroy": [_P],
    "primitive_create": [_PP, _P],
    "primitive_execute": [_P, _P, c_int, _P],
    "primitive_destroy": [_P],
    "stream_wait": [_P],
}
_ALIGNMENT, _MAX_RANK = 64, 12


class OneDnnError(RuntimeError):
    """The library is missing, is another version, or cannot do what was asked."""


class _Argument(Structure):
    _fields_ = [("arg", c_int), ("memory", c_void_p)]


class _Version(Structure):
    _fields_ = [("major", c_int), ("minor", c_int), ("patch", c_int)]


def dims(values: Sequence[int]) -> ctypes.Array:
    """A list of lengths as the library takes it."""
    return (c_int64 * _MAX_RANK)(*values)


class OneDnn:
    """The loaded library with one CPU engine and one stream; paddle must be imported before it is made.

    Raises:
        OneDnnError: no such file, a function is missing, or not version 3.
    """

    def __init__(self, path: Path) -> None:
        try:
            library = ctypes.CDLL(str(path))
            self._functions = {name: getattr(library, f"dnnl_{name}") for name in _FUNCTIONS}
            library.dnnl_version.restype = POINTER(_Version)
            version = library.dnnl_version().contents
            self.same_desc = library.dnnl_memory_desc_equal
            self.size_of = library.dnnl_memory_desc_get_size
            self._query = library.dnnl_primitive_desc_query_md
        except (OSError, AttributeError) as error:
            raise OneDnnError(f"oneDNN cannot be loaded from {path}: {error}") from error
        self.version = (version.major, version.minor, version.patch)
        if version.major != 3:
            raise OneDnnError(f"oneDNN at {path} is version {self.version}; only version 3 is known")
        for name, function in self._functions.items():
            function.argtypes, function.restype = _FUNCTIONS[name], c_int
        self.same_desc.argtypes, self.same_desc.restype = [_P, _P], c_int
        self.size_of.argtypes, self.size_of.restype = [_P], c_size_t
        self._query.argtypes, self._query.restype = [_P, c_int, c_int], _P
        self.execute = self._functions["primitive_execute"]
        self.set_handle = self._functions["memory_set_data_handle"]
        self.wait = self._functions["stream_wait"]
        self.engine = self.create("engine_create", _CPU, 0)
        self.stream = self.create("stream_create", self.engine, _IN_ORDER)
        self.attributes = self.create("primitive_attr_create")
        self.call("primitive_attr_set_scratchpad_mode", self.attributes, _USER_SCRATCHPAD)

    def call(self, name: str, *arguments: object) -> None:
        status = self._functions[name](*arguments)
        if status:
            raise OneDnnError(f"oneDNN {self.version}: {name} returned status {status}")

    def create(self, name: str, *arguments: object) -> int:
        """Call a function whose first argument receives a handle, and return the handle."""
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        assert handle.value is not None
        return handle.value

    def wanted(self, primitive_desc: int, argument: int) -> int:
        """Description of the layout that a primitive chose for an argument; the primitive's owns it."""
        return self._query(primitive_desc, _QUERIES[argument], 0) or 0


class Steps:
    """Primitives run one after another over the caller's arrays and one scratch area of `scratch_bytes`.

    Not safe under threads: memory handles are set at each run, so the caller holds a lock.
    """

    def __init__(self, library: OneDnn) -> None:
        self.library = library
        self.scratch_bytes = 0
        self._owned: list[tuple[str, int]] = []  # handles to destroy, with the kind of each
        self._steps: list[tuple[int, int, ctypes.Array]] = []
        self._arrays: dict[int, tuple[int, int]] = {}  # argument -> memory object, description
        self._staged: list[tuple[int, int, int]] = []  # argument, memory object, description
        self._scratch: list[tuple[int, int]] = []  # memory object, offset
        self._scratch_at = 0

    def plain(self, shape: Sequence[int], strides: Sequence[int] | None = None) -> int:
        """Description of a float32 array, contiguous unless `strides` tell otherwise."""
        if strides is None:
            strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        return self._describe("memory_desc_create_with_strides", shape, dims(strides))

    def free(self, shape: Sequence[int]) -> int:
        """Description of a float32 array whose layout the primitive may choose."""
        return self._describe("memory_desc_create_with_tag", shape, _ANY)

    def _describe(self, function: str, shape: Sequence[int], layout: object) -> int:
        return self._own("memory_desc", self.library.create(function, len(shape), dims(shape), _F32, layout))

    def primitive(self, function: str, *arguments: object) -> int:
        """Description of a primitive, made by one of the library's functions."""
        return self._own("primitive_desc", self.library.create(function, *arguments))

    def array(self, argument: int, shape: Sequence[int], strides: Sequence[int] | None = None) -> int:
        """Announce an array of the caller, whose address `run` takes under `argument`; its description."""
        description = self.plain(shape, strides)
        self._arrays[argument] = (self._memory(description), description)
        return description

    def add(
        self, primitive_desc: int, inputs: Sequence[int], outputs: Sequence[int], same: Sequence[int]
    ) -> None:
        """Append a primitive, with changes of layout where it wants others than the caller's.

        Args:
            primitive_desc: what to run.
            inputs: arguments read; a layout made for an earlier primitive is used again.
            outputs: arguments written.
            same: further arguments that never change layout (a bias).
        """
        arguments = {argument: self._arrays[argument][0] for argument in same}
        for argument in inputs:
            arguments[argument] = self._input(argument, self.library.wanted(primitive_desc, argument))
        afterwards = []
        for argument in outputs:
            own, wanted = self._arrays[argument], self.library.wanted(primitive_desc, argument)
            arguments[argument] = own[0]
            if not self.library.same_desc(own[1], wanted):
                arguments[argument] = self._scratch_memory(wanted)
                afterwards.append(((arguments[argument], wanted), own))
        self._append(primitive_desc, arguments)
        for source, target in afterwards:
            self._reorder(source, target)

    def _input(self, argument: int, wanted: int) -> int:
        own = self._arrays[argument]
        if self.library.same_desc(own[1], wanted):
            return own[0]
        for staged, memory, description in self._staged:
            if staged == argument and self.library.same_desc(description, wanted):
                return memory
        memory = self._scratch_memory(wanted)
        self._reorder(own, (memory, wanted))
        self._staged.append((argument, memory, wanted))
        return memory

    def _reorder(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        lib = self.library
        engine, attributes = lib.engine, lib.attributes
        desc = self.primitive(
            "reorder_primitive_desc_create", source[1], engine, target[1], engine, attributes
        )
        self._append(desc, {SRC: source[0], DST: target[0]})

    def _append(self, primitive_desc: int, arguments: dict[int, int]) -> None:
        scratchpad = self.library.wanted(primitive_desc, _SCRATCHPAD)
        if scratchpad and self.library.size_of(scratchpad):
            arguments = {**arguments, _SCRATCHPAD: self._scratch_memory(scratchpad)}
        primitive = self._own("primitive", self.library.create("primitive_create", primitive_desc))
        packed = (_Argument * len(arguments))(*(_Argument(*item) for item in arguments.items()))
        self._steps.append((primitive, len(arguments), packed))

    def _scratch_memory(self, description: int) -> int:
        memory = self._memory(description)
        self._scratch.append((memory, self.scratch_bytes))
        self.scratch_bytes += -(-self.library.size_of(description) // _ALIGNMENT) * _ALIGNMENT
        return memory

    def _memory(self, description: int) -> int:
        lib = self.library
        return self._own("memory", lib.create("memory_create", description, lib.engine, None))

    def _own(self, kind: str, handle: int) -> int:
        self._owned.append((kind, handle))
        return handle

    def run(self, scratch_address: int, addresses: dict[int, int]) -> None:
        """Execute; `addresses` holds one for every announced array, `scratch_address` is a multiple of 64."""
        lib = self.library
        if scratch_address != self._scratch_at:
            for memory, offset in self._scratch:
                lib.set_handle(memory, scratch_address + offset)
            self._scratch_at = scratch_address
        for argument, (memory, _) in self._arrays.items():
            lib.set_handle(memory, addresses[argument])
        for primitive, count, arguments in self._steps:
            status = lib.execute(primitive, lib.stream, count, arguments)
            if status:
                raise OneDnnError(f"oneDNN {lib.version}: a primitive returned status {status}")
        lib.wait(lib.stream)

    def close(self) -> None:
        """Destroy everything that was made, newest first."""
        for kind, handle in reversed(self._owned):
            self.library.call(f"{kind}_destroy", handle)
        self._owned.clear()
        self._steps.clear()
