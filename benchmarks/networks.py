"""Forward time of every published model on this CPU against the time that its multiply-accumulates need.

One JSON line per case:
    {"name": "networks", "case": <model>, "value": <median seconds>, "unit": "s", "min": ..., "runs": ...,
     "size": <LR side>, "threads": ..., "gmacs": ..., "gmacs_per_second": ..., "matmul_gmacs_per_second": ...,
     "ratio_vs_matmul": <time / time at the matmul rate>, "peak_memory_mb": ..., "forward_memory_mb": ...,
     "share_outside_products": ...}

`ratio_vs_matmul` 1.0 would be a network that runs as fast as a large matrix product on the same threads; the
product is timed before and after the forward passes, in the same process. `share_outside_products` is the
part of the forward time that remains when convolutions, linear layers and matrix products are replaced by
zeros of the right shape.

    python benchmarks/networks.py --quick
    python benchmarks/networks.py --only drct --size 64 --runs 3
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor

QUICK = ("SRVGG-16_x4", "Real-SRResNet_x4", "SwinIR-light_x4")
MATMUL_SIDE = 1024


def matmul_rate(seconds: float = 0.3) -> float:
    """Multiply-accumulates per second of a large float32 matrix product."""
    import paddle

    x = paddle.rand([MATMUL_SIDE, MATMUL_SIDE])
    paddle.matmul(x, x).numpy()
    runs, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        paddle.matmul(x, x).numpy()
        runs += 1
    return runs * MATMUL_SIDE**3 / (time.perf_counter() - start)


def measure(name: str, size: int, runs: int, threads: int) -> dict:
    """Time one model in this process, which should be a fresh one: peak memory is the process's."""
    import paddle

    from ppsr import accelerate
    from ppsr.generators.macs import count_macs, products_replaced
    from ppsr.generators.variants import find_variant

    accelerate.enable()
    paddle.set_device("cpu")
    net = find_variant(name).build()
    net.eval()
    multiple = getattr(net, "size_multiple", 1)
    size = -(-size // multiple) * multiple
    shape = (1, 3, size, size)
    macs = count_macs(net, shape)
    x = paddle.rand(list(shape))
    # a high-water mark only grows: read it before the matrix product takes its memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def forward() -> float:
        start = time.perf_counter()
        with paddle.no_grad():
            y = net(x)
            (y[-1] if isinstance(y, (list, tuple)) else y).numpy()
        return time.perf_counter() - start

    forward()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rates = [matmul_rate()]
    times = [forward() for _ in range(runs)]
    rates.append(matmul_rate())
    with products_replaced():
        forward()
        rest = min(forward() for _ in range(runs))
    median, rate = statistics.median(times), statistics.mean(rates)
    return {
        "name": "networks",
        "case": name,
        "value": round(median, 4),
        "unit": "s",
        "min": round(min(times), 4),
        "runs": runs,
        "size": size,
        "threads": threads,
        "gmacs": round(macs / 1e9, 3),
        "gmacs_per_second": round(macs / median / 1e9, 2),
        "matmul_gmacs_per_second": round(rate / 1e9, 2),
        "ratio_vs_matmul": round(median * rate / macs, 2),
        "peak_memory_mb": round(memory / 1024),
        "forward_memory_mb": round((memory - before) / 1024),
        "share_outside_products": round(rest / min(times), 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"one small size and only {', '.join(QUICK)}")
    parser.add_argument("--only", default="", help="models whose name contains this text")
    parser.add_argument("--size", type=int, help="side of the LR image (64, or 32 with --quick)")
    parser.add_argument("--runs", type=int, help="forward passes per model (5, or 3 with --quick)")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    # read by the libraries when a child process imports them
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)
    from ppsr.generators.variants import all_variants

    names = [v.name for v in all_variants() if arguments.only.lower() in v.name.lower()]
    if arguments.quick:
        names = [name for name in names if name in QUICK]
    size = arguments.size or (32 if arguments.quick else 64)
    runs = arguments.runs or (3 if arguments.quick else 5)
    for name in names:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            line = pool.submit(measure, name, size, runs, arguments.threads).result()
        print(json.dumps(line), flush=True)
    return 0 if names else 2


if __name__ == "__main__":
    sys.exit(main())
