"""Writing RRDBNet and SRVGGNetCompact as ncnn's .param and .bin, as ncnn's own tools do."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ppsr.errors import WeightError
from ppsr.files import atomic_write
from ppsr.weights.identify import NetworkSpec
from ppsr.weights.ncnn.layers import FLOAT16, FLOAT32, MAGIC
from ppsr.weights.ncnn.networks import NETWORKS

_BICUBIC = 3


def write_ncnn(path: str | Path, state: Mapping[str, np.ndarray], network: NetworkSpec) -> Path:
    """Write a pair of files.

    Args:
        state: key -> array with the network's own keys, in PyTorch's layout. Where all numbers are halves,
            as in published ncnn files, they are stored as float16, else as float32: nothing is lost.

    Returns:
        The .param file. Its input is `data`, its result `output`.

    Raises:
        WeightError: another network, or one with parts that such files do not have.
    """
    name, arguments = network
    writer = _Writer(state)
    if name not in NETWORKS or arguments.get("plus"):
        raise WeightError(f"ncnn files are written of {' and '.join(NETWORKS)}, not of {name}")
    result = NETWORKS[name](writer, arguments)
    upscale = arguments.get("upscale", 4)
    outscale = arguments.get("outscale") or upscale
    if outscale != upscale:
        factor = _not_below(outscale / upscale)
        writer.layer("Interp", [result], f"0={_BICUBIC} 1={factor:.9g} 2={factor:.9g}")
    unused = set(state) - writer.used
    if unused:
        raise WeightError(f"{name} as ncnn has no place for {sorted(unused)[0]}")
    param = Path(path).with_suffix(".param")
    atomic_write(param.with_suffix(".bin"), b"".join(writer.numbers))
    atomic_write(param, writer.text())
    return param


def _not_below(factor: float) -> float:
    """The nearest float32 that is not smaller: ncnn rounds sizes down, so 0.333333 would lose a row."""
    stored = np.float32(factor)
    return float(stored if float(stored) >= factor else np.nextafter(stored, np.float32(np.inf)))


class _Writer:
    """Layers in the order of execution, and their numbers."""

    def __init__(self, state: Mapping[str, np.ndarray]) -> None:
        self.state = {key: np.asarray(value, "<f4") for key, value in state.items()}
        weights = [value for value in self.state.values() if value.ndim == 4]
        with np.errstate(over="ignore"):
            self.half = all(np.array_equal(value, value.astype("<f2").astype("<f4")) for value in weights)
        self.used: set[str] = set()
        self.layers: list[tuple[str, str, list[str], str]] = []
        self.numbers: list[bytes] = []

    def layer(self, kind: str, inputs: list[str], options: str, result: str = "") -> str:
        result = result or f"b{len(self.layers)}"
        self.layers.append((kind, result, inputs, options))
        return result

    def conv(self, key: str, x: str, slope: float | None = None) -> str:
        """A 3x3 convolution, with a LeakyReLU where there is a slope."""
        weight, bias = self._take(f"{key}.weight"), self._take(f"{key}.bias")
        tag, dtype = (FLOAT16, "<f2") if self.half else (FLOAT32, "<f4")
        stored = weight.astype(dtype).tobytes()
        self.numbers += [struct.pack("<I", tag), stored, b"\0" * (-len(stored) % 4), bias.tobytes()]
        options = f"0={weight.shape[0]} 1=3 4=1 5=1 6={weight.size}"
        if slope is not None:
            options += f" 9=2 -23310=1,{slope:e}"
        return self.layer("Convolution", [x], options)

    def prelu(self, key: str, x: str) -> str:
        slopes = self._take(f"{key}.weight")
        self.numbers.append(slopes.tobytes())
        return self.layer("PReLU", [x], f"0={slopes.size}")

    def input(self) -> str:
        return self.layer("Input", [], "", "data")

    def concat(self, *inputs: str) -> str:
        return self.layer("Concat", list(inputs), "0=0")

    def total(self, inputs: Sequence[str], factors: Sequence[float] = ()) -> str:
        if not factors:
            return self.layer("BinaryOp", list(inputs), "0=0")
        terms = ",".join(f"{factor:e}" for factor in factors)
        return self.layer("Eltwise", list(inputs), f"0=1 -23301={len(factors)},{terms}")

    def shuffle(self, factor: int, x: str) -> str:
        return self.layer("PixelShuffle", [x], f"0={factor}")

    def unshuffle(self, factor: int, x: str) -> str:
        return self.layer("Reorg", [x], f"0={factor}") if factor > 1 else x

    def nearest(self, factor: int, x: str) -> str:
        return self.layer("Interp", [x], f"0=1 1={factor:e} 2={factor:e}") if factor > 1 else x

    def _take(self, key: str) -> np.ndarray:
        if key not in self.state:
            raise WeightError(f"the weights have no '{key}'")
        self.used.add(key)
        return self.state[key]

    def text(self) -> str:
        """The .param text; a blob with several readers is copied for each by a Split."""
        readers = Counter(name for _, _, inputs, _ in self.layers for name in inputs)
        last = self.layers[-1][1]
        lines, blobs, copies = [], 0, Counter[str]()
        for kind, result, inputs, options in self.layers:
            named = []
            for name in inputs:
                named.append(name if readers[name] == 1 else f"{name}_copy{copies[name]}")
                copies[name] += 1
            shown = "output" if result == last else result
            lines.append(_line(kind, f"l_{result}", named, [shown], options))
            blobs += 1
            if readers[result] > 1:
                split = [f"{result}_copy{k}" for k in range(readers[result])]
                lines.append(_line("Split", f"s_{result}", [result], split, ""))
                blobs += len(split)
        return "\n".join([str(MAGIC), f"{len(lines)} {blobs}", *lines]) + "\n"


def _line(kind: str, name: str, inputs: list[str], outputs: list[str], options: str) -> str:
    words = [f"{kind:<16} {name:<16}", str(len(inputs)), str(len(outputs)), *inputs, *outputs, options]
    return " ".join(words).rstrip()
