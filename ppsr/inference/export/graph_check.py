"""Check that the graph of an exported network only computes, before a runtime loads it.

A graph is a program. Paddle's has operations that write files, load libraries and call Python, ONNX's may
name files anywhere, and runtimes execute what they are given. So the operations are read here without a
runtime, in time and memory proportional to the file, and every one must be in a list of those that compute.
The formats:

* `.pdmodel`: `ProgramDesc` of paddle/fluid/framework/framework.proto in https://github.com/PaddlePaddle/Paddle
* `.json`: Paddle's new intermediate representation, paddle/fluid/pir/serialize_deserialize there
* `.onnx`: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ppsr.errors import DataError, WeightError
from ppsr.weights.ncnn import read_ncnn
from ppsr.weights.safetensors_files import unique_keys

_LARGEST = 2**31 - 1  # bytes; protobuf's own limit
_DEEPEST = 64  # messages inside each other
_SHOWN = 8
_LONGEST_DESCRIPTION = 256  # bytes, of one tensor's type and sides

# By format. Paddle's two share a list; operations that write into their input have an underscore more.
# Control flow is left out, with all that reads or writes files, prints, runs code or communicates.
_KNOWN = json.loads(Path(__file__).with_name("known_operations.json").read_text(encoding="utf-8"))
_PROGRAM = frozenset({*_KNOWN["paddle"], "feed", "fetch"})
# builtin operations are 0, those of Paddle 1; `p` is a parameter, whose value is in .pdiparams
_PIR = frozenset({f"1.{name}" for name in _PROGRAM} | {"0.combine", "0.slice", "0.split", "p"})
_PIR_OTHERS = re.compile(r"[01]\.[at]_[a-z0-9_]+|(region|block)_[0-9]+")  # attributes, types, containers

_ONNX = frozenset(_KNOWN["onnx"])
_ONNX_DOMAINS = frozenset({"", "ai.onnx"})
_EXTERNAL = 1  # of TensorProto.DataLocation
_OTHER_FILE = "data in another file"

# bytes of a value, by VarType.Type of framework.proto
_VALUE_BYTES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16}

# message -> number of a field -> its message, or in capitals what its value is
_PROGRAM_FIELDS = {"program": {1: "block"}, "block": {4: "op"}, "op": {3: "OPERATION"}}
_ONNX_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {4: "OPERATION", 5: "attribute", 7: "DOMAIN"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "FILE", 14: "LOCATION"},
}


class _MalformedError(ValueError):
    """Not such a file."""


def check_graph(path: Path) -> None:
    """Refuse a graph with operations that are not known to only compute.

    Args:
        path: .pdmodel, .json, .onnx, or ncnn's .param, whose graph must be that of a known network.

    Raises:
        DataError: such an operation, a name of another file, or not a graph.

    Example:
        >>> check_graph(Path("exported/net.onnx"))
    """
    if path.suffix == ".param":
        try:
            read_ncnn(path)
        except (OSError, WeightError) as error:
            raise DataError(f"{path} is refused: {error}; if you trust who made it, use --trust") from None
        return
    unknown = unknown_operations(path)
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise DataError(
            f"{path} is refused: nothing is known of {', '.join(unknown[:_SHOWN])}{more}, and a graph is a "
            "program that may write files or run code; if you trust who made it, use --trust"
        )


def unknown_operations(path: Path) -> list[str]:
    """Operations of a graph that are not known to only compute, and other things that it must not have.

    Raises:
        DataError: unreadable, or not a graph.
    """
    readers: dict[str, Callable[[bytes], set[str]]] = {
        ".pdmodel": _program_unknown,
        ".json": _pir_unknown,
        ".onnx": _onnx_unknown,
    }
    try:
        if path.stat().st_size > _LARGEST:
            raise _MalformedError("it is larger than 2 GB")
        unknown = readers[path.suffix](path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except (_MalformedError, RecursionError) as error:
        raise DataError(f"{path} is not a graph of an exported network: {error}; export again") from None
    return sorted(repr(name) if not name.isprintable() or " " in name else name for name in unknown)


def check_parameters(path: Path) -> None:
    """Refuse a .pdiparams whose tensors are not exactly what it holds: Paddle would read some for ever.

    Raises:
        DataError: unreadable, or such a file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            while handle.tell() < size:
                version, levels, tensor_version, length = struct.unpack("<IQIi", handle.read(20))
                if version or levels or tensor_version or not 0 < length <= _LONGEST_DESCRIPTION:
                    raise _MalformedError("a tensor has another version, levels or a long description")
                described = list(_fields(memoryview(handle.read(length))))
                numbers: list[tuple[int, int]] = [(n, v) for n, v in described if isinstance(v, int)]
                if len(numbers) < len(described):
                    raise _MalformedError("a tensor's description holds more than numbers")
                sides = [value for number, value in numbers if number == 2]
                kind = next(value for number, value in numbers if number == 1)
                values = math.prod(sides) * _VALUE_BYTES[kind]
                if min(sides, default=1) < 0 or handle.tell() + values > size:
                    raise _MalformedError("a tensor is larger than the file")
                handle.seek(values, 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except (struct.error, StopIteration, KeyError, TypeError, _MalformedError) as error:
        raise DataError(f"{path} does not hold the parameters of a network: {error}; export again") from None


def _program_unknown(content: bytes) -> set[str]:
    found = _walk(content, "program", _PROGRAM_FIELDS)
    if not found["OPERATION"]:
        raise _MalformedError("it has no operations")
    return {name for name in found["OPERATION"] if name.removesuffix("_") not in _PROGRAM}


def _onnx_unknown(content: bytes) -> set[str]:
    found = _walk(content, "model", _ONNX_FIELDS)
    if not found["OPERATION"]:
        raise _MalformedError("it has no operations")
    domains = {f"domain {name}" for name in found["DOMAIN"] - _ONNX_DOMAINS}
    return (found["OPERATION"] - _ONNX) | domains | found["FILE"]


def _pir_unknown(content: bytes) -> set[str]:
    """Every object of the program must be of a known kind, wherever it stands."""
    try:
        tree = json.loads(content.decode(), object_pairs_hook=unique_keys)
    except ValueError as error:
        raise _MalformedError(str(error)) from None
    if not isinstance(tree, dict) or "program" not in tree:
        raise _MalformedError("it has no program")
    unknown: set[str] = set()
    rest: list[tuple[Any, bool]] = [(tree["program"], False)]
    operations = 0
    while rest:
        value, is_operation = rest.pop()
        if isinstance(value, dict):
            kind = value.get("#")
            if is_operation or "#" in value:
                operations += is_operation
                if str(kind).removesuffix("_") not in _PIR and (
                    is_operation or not _PIR_OTHERS.fullmatch(str(kind))
                ):
                    unknown.add(str(kind).removeprefix("1."))
            for name, inner in value.items():
                if name == "ops" and isinstance(inner, list):
                    rest += [(each, True) for each in inner]
                else:
                    rest.append((inner, False))
        elif is_operation:
            raise _MalformedError("an operation is not an object")
        elif isinstance(value, list):
            rest += [(each, False) for each in value]
    if not operations:
        raise _MalformedError("it has no operations")
    return unknown


def _walk(content: bytes, message: str, fields: dict[str, dict[int, str]]) -> dict[str, set[str]]:
    """Values of the fields in capitals, wherever they stand.

    Protobuf merges a message whose field comes twice, and the last text wins: all of them are looked at.
    """
    found: dict[str, set[str]] = {"OPERATION": set(), "DOMAIN": set(), "FILE": set()}
    rest = [(memoryview(content), message, 0)]
    while rest:
        view, kind, depth = rest.pop()
        if depth > _DEEPEST:
            raise _MalformedError(f"its messages are deeper than {_DEEPEST}")
        for number, value in _fields(view):
            inner = fields[kind].get(number)
            if inner == "LOCATION" and isinstance(value, int):
                found["FILE"] |= {_OTHER_FILE} if value & 0xFFFF_FFFF == _EXTERNAL else set()
            elif inner in (None, "LOCATION") or isinstance(value, int):
                continue
            elif inner == "FILE":
                found["FILE"].add(_OTHER_FILE)
            elif inner in found:
                found[inner].add(bytes(value[:200]).decode(errors="replace"))
            else:
                rest.append((value, inner, depth + 1))
    return found


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Numbers and values of the fields of a protobuf message; fixed-size numbers are left out."""
    at, end = 0, len(view)
    while at < end:
        tag, at = _varint(view, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise _MalformedError(f"a field has the number {number}")
        if wire == 0:
            value, at = _varint(view, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(view, at)
            if length > end - at:
                raise _MalformedError("it is cut off")
            yield number, view[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise _MalformedError(f"a field is of wire type {wire}")
    if at > end:
        raise _MalformedError("it is cut off")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise _MalformedError("it is cut off")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _MalformedError("a number is too long")
