"""Time and memory of the selective scan's forms against Paddle's own gradient of the loop over tokens.

    OMP_NUM_THREADS=1 python benchmarks/selective_scan.py
    python benchmarks/selective_scan.py --quick                       # the shortest length alone, once

One JSON line per form, pass and length:
    {"name": "selective_scan", "case": "chosen forward+backward L=4096", "value": <seconds>, "unit": "s",
     "cpu_seconds": ..., "memory_mb": ..., "faster_than_plain": ..., "memory_of_plain": ...,
     "microseconds_per_token": ..., "backward_cpu_seconds": ..., "backward_faster_than_plain": ...}

plain is the recurrence as it is written, token after token, differentiated by Paddle; sequential and chunked
are the forms of `ppsr.generators.blocks.selective_scan` by tensor operations, and chosen is what it takes by
itself, oneDNN where that can be used. Each case has a process of its own: `memory_mb` is what the passes add
to the largest memory of the process. The inputs are those of the four directions of a state-space layer with
an inner width of 120: 480 channels of 16
states, one image. Ratios and microseconds are of processor time, which a busy machine disturbs less than it
does the clock.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

DIRECTIONS, INNER, STATES = 4, 120, 16
LENGTHS = (1024, 4096, 16384)
SHORT = 32
CHUNKS = {"sequential": 0, "chunked": 64, "chosen": None}
PASSES = ("forward", "forward+backward")


def plain_scan(u, delta, A, B, C, D):
    """As `selective_scan` with softplus, and nothing done to make it fast."""
    import paddle
    from paddle.nn import functional as F

    rows, channels, length = u.shape
    states = A.shape[1]

    def by_token(x):
        """(R, G, N, L) -> (L, R, D, N): what a group shares, for each of its channels."""
        shared = x.unsqueeze(2).expand([rows, DIRECTIONS, channels // DIRECTIONS, states, length])
        return shared.reshape([rows, channels, states, length]).transpose([3, 0, 1, 2])

    dt = F.softplus(delta).transpose([2, 0, 1]).unsqueeze(-1)
    # unbound, because the gradient of an index has the size of the whole tensor: quadratic in the length
    inflow = paddle.unbind(dt * u.transpose([2, 0, 1]).unsqueeze(-1) * by_token(B))
    decay = paddle.unbind(paddle.exp(dt * A))
    state, outputs = paddle.zeros([rows, channels, states]), []
    for factor, addition, weights in zip(decay, inflow, paddle.unbind(by_token(C)), strict=True):
        state = factor * state + addition
        outputs.append((state * weights).sum(-1))
    return paddle.stack(outputs, axis=-1) + u * D.unsqueeze(-1)


def make_inputs(length: int) -> dict:
    """Random tensors that ask for gradients, by the names of the arguments."""
    import numpy as np
    import paddle

    rng = np.random.default_rng(0)
    channels, shared = DIRECTIONS * INNER, (1, DIRECTIONS, STATES, length)
    arrays = {
        "u": rng.standard_normal((1, channels, length), dtype=np.float32),
        "delta": rng.standard_normal((1, channels, length), dtype=np.float32),
        "A": -np.tile(np.arange(1, STATES + 1, dtype=np.float32), (channels, 1)),
        "B": rng.standard_normal(shared, dtype=np.float32),
        "C": rng.standard_normal(shared, dtype=np.float32),
        "D": rng.standard_normal(channels, dtype=np.float32),
    }
    return {name: paddle.to_tensor(array, stop_gradient=False) for name, array in arrays.items()}


def measure(form: str, what: str, length: int, runs: int) -> dict:
    """One case, in this process, which should be a fresh one."""
    import paddle

    from ppsr.generators.blocks.selective_scan import selective_scan

    paddle.set_device("cpu")

    def scan(inputs):
        if form == "plain":
            return plain_scan(**inputs)
        return selective_scan(**inputs, delta_softplus=True, chunk=CHUNKS[form])

    def once(inputs) -> float:
        """Processor time of the backward pass alone."""
        if what == "forward":
            with paddle.no_grad():
                scan(inputs).numpy()
            return 0.0
        y = scan(inputs)
        start = time.process_time()
        y.backward(inputs["u"].detach())
        for x in inputs.values():
            x.clear_gradient()
        return time.process_time() - start

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    once(make_inputs(SHORT))  # what the first call of an operation costs is not the scan's
    inputs = make_inputs(length)
    before = peak()
    wall, cpu, backward = [], [], []
    for _ in range(runs):
        start = time.perf_counter(), time.process_time()
        backward.append(once(inputs))
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return {
        "seconds": min(wall),
        "cpu_seconds": min(cpu),
        "backward_cpu_seconds": min(backward),
        "memory_mb": peak() - before,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the shortest length alone, once")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens")
    parser.add_argument("--runs", type=int, default=3, help="runs per case, of which the best counts")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    # read by the libraries when a child process imports them
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)
    runs = 1 if arguments.quick else arguments.runs
    for length in arguments.lengths[:1] if arguments.quick else arguments.lengths:
        for what in PASSES:
            plain: dict = {}
            for form in ("plain", *CHUNKS):
                with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                    found = pool.submit(measure, form, what, length, runs).result()
                plain = plain or found
                line = {
                    "name": "selective_scan",
                    "case": f"{form} {what} L={length}",
                    "value": round(found["seconds"], 3),
                    "unit": "s",
                    "cpu_seconds": round(found["cpu_seconds"], 3),
                    "memory_mb": round(found["memory_mb"], 1),
                    "faster_than_plain": round(plain["cpu_seconds"] / found["cpu_seconds"], 2),
                    "memory_of_plain": round(found["memory_mb"] / plain["memory_mb"], 3),
                    "microseconds_per_token": round(1e6 * found["cpu_seconds"] / length, 1),
                }
                if what != "forward":
                    ratio = plain["backward_cpu_seconds"] / found["backward_cpu_seconds"]
                    line |= {
                        "backward_cpu_seconds": round(found["backward_cpu_seconds"], 3),
                        "backward_faster_than_plain": round(ratio, 2),
                    }
                print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
