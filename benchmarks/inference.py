"""Inference on this CPU by every backend against stock Paddle in dynamic mode, and memory against image
size.

    python benchmarks/inference.py [--name srresnet] [--case time] [--repeats 5] [--torch-python F]
    python benchmarks/inference.py --quick                          # one network on a small image

One JSON line per network and backend, first the times:
    {"name": "inference", "case": "srresnet 128x128 openvino", "value": <median seconds>, "unit": "s",
     "ratio_vs_dygraph": <time / time of stock Paddle>, "ratio_vs_torch": ...,
         "ratio_vs_torch_channels_last": ...,
     "ratio_vs_matmul": <time / time that a matrix product takes for the same multiply-accumulates>,
     "error_vs_dygraph": <largest difference / largest value>, "peak_mib": ..., "repeats": ..., "cores": ...,
     "load": ...}

`dygraph` is the network in dynamic mode as Paddle comes (PPSR_ACCELERATE=0, all cores), `paddle` the same
accelerated, `auto` what `--backend auto` takes, named by `"backend"`. Ratios below 1 are faster. One process
per variant; they take turns, one call each, the matrix product (2048 x 2048 in float32, the faster of
Paddle's and numpy's) among them. Torch runs under `--torch-python` and is left out where that has none. Run
it on a quiet machine; `load` shows the load.

Then the memory, each case in a process of its own:
    {"name": "inference", "case": "srresnet 256x256 openvino memory", "value": <MiB>, "unit": "MiB",
     "whole_process": <MiB>}
`value` is what the process grew by at its peak while an `Upscaler` computed the image in one piece, or, for
`"limit"`, in tiles for a limit of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cpu_training import NETWORKS, TORCH, PaddleWork, cores, images
from interleaved import take_turns

NAMES = ("srresnet", "rrdb")
BACKENDS = ("auto", "inference", "onnxruntime", "openvino")
MATMUL_SIDE = 2048
MEMORY_SIDES = (64, 128, 256, 512)
LIMITED_SIDE, LIMIT = 1024, 1_500_000_000
_TRAINING = Path(__file__).with_name("cpu_training.py")


def make_export(name: str, size: int, prefix: str, *, verify: bool) -> None:
    """Worker: export a network; print its multiply-accumulates for the image, and the backends here."""
    from ppsr.generators.macs import count_macs
    from ppsr.inference.backends.benchmark import installed
    from ppsr.inference.backends.exported import BackendOptions
    from ppsr.inference.export import onnx_graph
    from ppsr.inference.export.writer import export_network

    net = PaddleWork("accelerated", name).net
    net.eval()
    formats = ["paddle"] if onnx_graph.missing_packages() else ["paddle", "onnx"]
    export = export_network(net, prefix, formats=formats, verify=None if verify else ())
    print(json.dumps([count_macs(net, (1, 3, size, size)), installed(export, BackendOptions())]))


def serve(call: Any) -> None:
    """Worker: one timed call per input line."""
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        call()
        print(json.dumps([time.perf_counter() - start, _peak()]), flush=True)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_backend(backend: str, name: str, size: int, prefix: str, result: str) -> None:
    """Worker: an exported network, or with "dygraph" and "paddle" the network itself."""
    x = images(1, size)[0]
    if backend in ("dygraph", "paddle"):
        import paddle

        net = PaddleWork("stock" if backend == "dygraph" else "accelerated", name).net
        net.eval()

        def call() -> np.ndarray:
            with paddle.no_grad():
                return net(paddle.to_tensor(x)).numpy()

    else:
        from ppsr import accelerate
        from ppsr.inference.backends.select import open_backend

        accelerate.enable()
        opened = open_backend(prefix, backend)
        Path(result).with_suffix(".txt").write_text(opened.name, encoding="utf-8")

        def call() -> np.ndarray:
            return opened.run(x)

    call()
    np.save(result, call())
    serve(call)


def run_matmul() -> None:
    """Worker: a matrix product, by the faster of Paddle's and numpy's libraries."""
    import paddle

    from ppsr import accelerate

    accelerate.enable()
    x = np.random.default_rng(0).random((MATMUL_SIDE, MATMUL_SIDE), np.float32)
    y = paddle.to_tensor(x)
    calls = [lambda: x @ x, lambda: paddle.matmul(y, y).numpy()]

    def seconds(call: Any) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    serve(min(calls, key=lambda call: min(seconds(call) for _ in range(3))))


def run_memory(backend: str, name: str, size: int, prefix: str, limited: bool) -> None:
    """Worker: print the growth of the process while an image is upscaled, and its peak."""
    from ppsr import accelerate
    from ppsr.inference.upscaler import Upscaler
    from ppsr.memory import resident_memory

    accelerate.enable()
    source = PaddleWork("accelerated", name).net if backend == "paddle" else prefix
    upscaler = Upscaler(
        source, backend=backend, tile=None if limited else 0, max_memory=LIMIT if limited else None
    )
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    upscaler(image[:16, :16])  # what is set up once does not count
    before = (resident_memory() or 0) / 2**20
    upscaler(image)
    print(json.dumps([_peak() - before, _peak()]))


def _environment(variant: str) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "PPSR_ACCELERATE")}
    environment["OPENBLAS_NUM_THREADS"] = str(cores())
    if variant == "dygraph":
        environment |= {"PPSR_ACCELERATE": "0", "OMP_NUM_THREADS": str(cores())}
    return environment


def _command(variant: str, name: str, size: int, folder: Path, torch_python: str) -> list[str]:
    if variant in TORCH:
        result = str(folder / f"{variant}.npy")
        given = ["--worker", variant, "--name", name, "--case", "inference", "--result", result]
        return [torch_python, str(_TRAINING), *given, "--size", str(size)]
    given = ["--worker", variant, "--name", name, "--size", str(size), "--folder", str(folder)]
    return [sys.executable, str(Path(__file__).resolve()), *given]


def _once(variant: str, name: str, size: int, folder: Path) -> Any:
    """What a worker that does one thing prints."""
    done = subprocess.run(
        _command(variant, name, size, folder, ""),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(variant),
    )
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("[")))


def measure_time(
    name: str, size: int, repeats: int, folder: Path, torch_python: str, torch: bool
) -> list[dict[str, Any]]:
    """The lines of one interleaved run."""
    macs, usable = _once("export", name, size, folder)  # a backend that is wrong ends it
    measured = ["paddle", "auto", *usable]
    variants = ["dygraph", "matmul", *measured, *(TORCH if torch else ())]

    def start(variant: str) -> subprocess.Popen:
        return subprocess.Popen(
            _command(variant, name, size, folder, torch_python),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(variant),
        )  # fmt: skip

    turns = take_turns(variants, start, repeats)
    medians = turns.seconds
    product = medians["matmul"] / MATMUL_SIDE**3  # seconds of a multiply-accumulate
    stock = np.load(folder / "dygraph.npy")
    lines = []
    for variant in measured:
        line = {
            "name": "inference",
            "case": f"{name} {size}x{size} {variant}",
            "value": round(medians[variant], 4),
            "unit": "s",
            "ratio_vs_dygraph": round(medians[variant] / medians["dygraph"], 3),
        }
        line |= {f"ratio_vs_{t}": round(medians[variant] / medians[t], 3) for t in TORCH if torch}
        if variant == "auto":
            line["backend"] = (folder / "auto.txt").read_text(encoding="utf-8")
        difference = np.abs(np.load(folder / f"{variant}.npy") - stock).max() / np.abs(stock).max()
        line |= {
            "ratio_vs_matmul": round(medians[variant] / (product * macs), 3),
            "error_vs_dygraph": float(f"{difference:.2g}"),
            "seconds": {v: round(medians[v], 4) for v in (variant, "dygraph", *(TORCH if torch else ()))},
            "matmul_gmacs_per_second": round(1e-9 / product, 1),
            "peak_mib": turns.peak_mib[variant],
            "repeats": repeats,
            "cores": cores(),
            "load": round(turns.load, 2),
        }
        lines.append(line)
    return lines


def measure_memory(
    name: str, sides: tuple[int, ...], limited: bool, folder: Path
) -> Iterator[dict[str, Any]]:
    """A line per backend and size."""
    _, usable = _once("export-only", name, sides[0], folder)
    for backend in ("paddle", *usable):
        cases = [(side, "") for side in sides] + ([(LIMITED_SIDE, "-limited")] if limited else [])
        for side, suffix in cases:
            grown, peak = _once(f"memory-{backend}{suffix}", name, side, folder)
            line = {
                "name": "inference",
                "case": f"{name} {side}x{side} {backend} memory",
                "value": round(grown),
                "unit": "MiB",
                "whole_process": round(peak),
            }
            yield line | ({"limit": round(LIMIT / 2**20)} if suffix else {})


def work(options: argparse.Namespace) -> None:
    """A worker's job, by its name."""
    variant, name, size = options.worker, options.name[0], options.size
    prefix = str(options.folder / "net")
    if variant.startswith("export"):
        make_export(name, size, prefix, verify=variant == "export")
    elif variant == "matmul":
        run_matmul()
    elif variant.startswith("memory-"):
        _, backend, *limited = variant.split("-")
        run_memory(backend, name, size, prefix, bool(limited))
    else:
        run_backend(variant, name, size, prefix, str(options.folder / f"{variant}.npy"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", choices=NAMES, action="append")
    parser.add_argument("--case", choices=("time", "memory"), action="append")
    parser.add_argument("--size", type=int, help="side of the LR image; default: 128, rrdb 64")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="srresnet on 32x32, three repeats")
    parser.add_argument("--torch-python", default=os.environ.get("PPSR_TORCH_PYTHON", sys.executable))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    torch = not subprocess.run(
        [options.torch_python, "-c", "import torch"], capture_output=True, check=False
    ).returncode
    for name in ("srresnet",) if options.quick else options.name or NAMES:
        size = options.size or (32 if options.quick else NETWORKS[name][2][1])
        repeats = 3 if options.quick else options.repeats
        for case in options.case or ("time", "memory"):
            with tempfile.TemporaryDirectory() as folder:
                lines: Iterable[dict[str, Any]]
                if case == "time":
                    lines = measure_time(name, size, repeats, Path(folder), options.torch_python, torch)
                else:
                    sides = MEMORY_SIDES[:1] if options.quick else MEMORY_SIDES
                    lines = measure_memory(name, sides, not options.quick, Path(folder))
                for line in lines:
                    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
