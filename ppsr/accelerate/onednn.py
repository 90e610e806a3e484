"""The oneDNN library inside Paddle's own wheel, through ctypes: no compiler, no dependency.

Only what float32 convolutions, matrix products and the layers of transformers need is declared, from the C
interface of oneDNN 3 (Intel, Apache License 2.0), whose third major version keeps its binary interface; any
other version is refused.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from pathlib import Path

# Values of the enumerations of oneDNN 3 (dnnl_types.h). The first lines number a primitive's arguments.
SRC, OTHER, DST, WEIGHTS, BIAS = 1, 2, 17, 33, 41
MEAN, VARIANCE, SCALE, SHIFT = 49, 50, 51, 52
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS, DIFF_SCALE, DIFF_SHIFT = 129, 145, 161, 169, 255, 256
SCRATCHPAD = 80
TRAINING = 64  # kind of propagation; also without gradients, as another kind may round differently
_QUERIES = {
    SRC: 129,
    DIFF_SRC: 130,
    WEIGHTS: 131,
    DIFF_WEIGHTS: 132,
    DST: 133,
    DIFF_DST: 134,
    SCRATCHPAD: 136,
}
_CPU, _IN_ORDER, _USER_SCRATCHPAD, _IMPLEMENTATION = 1, 1, 1, 8

_P, _PP, _DIMS = c_void_p, POINTER(c_void_p), POINTER(c_int64)
_GEOMETRY = [_DIMS, _DIMS, _DIMS, _DIMS]  # strides, dilations, padding before and after
_FUNCTIONS: dict[str, list] = {
    "engine_create": [_PP, c_int, c_size_t],
    "stream_create": [_PP, _P, c_int],
    "primitive_attr_create": [_PP],
    "primitive_attr_destroy": [_P],
    "primitive_attr_set_scratchpad_mode": [_P, c_int],
    "primitive_attr_set_post_ops": [_P, _P],
    "post_ops_create": [_PP],
    "post_ops_destroy": [_P],
    "post_ops_append_binary": [_P, c_int, _P],
    "post_ops_append_eltwise": [_P, c_int, c_float, c_float],
    "post_ops_append_sum": [_P, c_float, c_int, c_int],
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
    "binary_primitive_desc_create": [_PP, _P, c_int, *[_P] * 4],
    "eltwise_forward_primitive_desc_create": [_PP, _P, c_int, c_int, _P, _P, c_float, c_float, _P],
    "eltwise_backward_primitive_desc_create": [_PP, _P, c_int, *[_P] * 3, c_float, c_float, _P, _P],
    "prelu_forward_primitive_desc_create": [_PP, _P, c_int, *[_P] * 4],
    "prelu_backward_primitive_desc_create": [_PP, _P, *[_P] * 7],
    "softmax_forward_primitive_desc_create": [_PP, _P, c_int, c_int, _P, _P, c_int, _P],
    "layer_normalization_forward_primitive_desc_create": [
        *[_PP, _P, c_int],
        *[_P] * 3,
        *[c_float, c_uint, _P],
    ],
    "layer_normalization_backward_primitive_desc_create": [
        *[_PP, _P, c_int],
        *[_P] * 4,
        *[c_float, c_uint, _P, _P],
    ],
    "reorder_primitive_desc_create": [_PP, _P, _P, _P, _P, _P],
    "primitive_desc_destroy": [_P],
    "primitive_create": [_PP, _P],
    "primitive_execute": [_P, _P, c_int, _P],
    "primitive_destroy": [_P],
    "stream_wait": [_P],
}
_MAX_RANK = 12


class OneDnnError(RuntimeError):
    """The library is missing, is another version, or cannot do what was asked."""


class Argument(Structure):
    """A memory object by the number that a primitive knows it by."""

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
            self._query_text = library.dnnl_primitive_desc_query
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
        self._query_text.argtypes, self._query_text.restype = [_P, c_int, c_int, POINTER(c_char_p)], c_int
        self.execute = self._functions["primitive_execute"]
        self.set_handle = self._functions["memory_set_data_handle"]
        self.wait = self._functions["stream_wait"]
        self.engine = self.create("engine_create", _CPU, 0)
        self.stream = self.create("stream_create", self.engine, _IN_ORDER)
        self.attributes = self.new_attributes()

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

    def new_attributes(self) -> int:
        """Attributes of a primitive whose scratch memory comes from the caller."""
        attributes = self.create("primitive_attr_create")
        self.call("primitive_attr_set_scratchpad_mode", attributes, _USER_SCRATCHPAD)
        return attributes

    def implementation(self, primitive_desc: int) -> str:
        """Name of the code that a primitive runs; that of a plain loop begins with `ref`."""
        name = c_char_p()
        self._query_text(primitive_desc, _IMPLEMENTATION, 0, byref(name))
        return (name.value or b"").decode()

    def chosen_layout(self, primitive_desc: int, argument: int) -> int:
        """Description of the layout that a primitive chose for an argument, which it owns; 0: that of the
        caller."""
        return self._query(primitive_desc, _QUERIES[argument], 0) or 0 if argument in _QUERIES else 0
