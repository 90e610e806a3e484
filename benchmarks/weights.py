"""Reading a .pdparams file of about 94 MB: the safe reader against `paddle.load`, interleaved.

Run: OMP_NUM_THREADS=1 python benchmarks/weights.py
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import paddle

from ppsr.weights import read_weight_file, write_state


def main() -> None:
    rng = np.random.default_rng(0)
    state = {f"layer{i}.weight": rng.standard_normal((256, 256, 3, 3), dtype=np.float32) for i in range(40)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pdparams"
        write_state(path, state)
        readers = {
            "paddle.load": lambda: paddle.load(str(path), return_numpy=True),
            "safe reader": lambda: read_weight_file(path, allow_nonfinite=True),
            "safe reader, numbers checked": lambda: read_weight_file(path),
        }
        seconds: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(7):
            for name, read in readers.items():
                start = time.perf_counter()
                read()
                seconds[name].append(time.perf_counter() - start)
        base = statistics.median(seconds["paddle.load"])
        for name, times in seconds.items():
            value = statistics.median(times)
            case = f"{name}, {path.stat().st_size / 1e6:.0f} MB"
            line = {"name": "weights", "case": case, "value": round(value, 4), "unit": "s"}
            print(json.dumps({**line, "ratio_vs_paddle.load": round(base / value, 2)}))


if __name__ == "__main__":
    main()
