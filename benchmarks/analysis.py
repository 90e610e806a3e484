"""Cost of a LAM against the plain forward and backward passes that it consists of.

The plain passes are one image at a time, the gradient of the sum of the SR image by the input, with all
parameters frozen, which is the least that a step can be; `ratio_vs_training_pass` compares with passes that
also compute the gradients of all parameters. All run interleaved in one process. One JSON line per network:

    {"name": "analysis", "case": "LAM <model>", "value": <median seconds>, "unit": "s",
     "cpu_ratio_vs_plain_passes": <of the processor times, which a busy machine disturbs less>,
     "ratio_vs_plain_passes": ..., "ratio_vs_training_pass": ..., "steps": ..., "size": ..., "batch": ...}

    python benchmarks/analysis.py --models SRVGG-16_x4,Real-SRResNet_x4 --size 32 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time

SWINIR_LIGHT = {
    "upscale": 4,
    "img_size": 64,
    "window_size": 8,
    "embed_dim": 60,
    "depths": [6] * 4,
    "num_heads": [6] * 4,
    "mlp_ratio": 2,
    "upsampler": "pixelshuffledirect",
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="SRVGG-16_x4,Real-SRResNet_x4,SwinIR-light_x4")
    parser.add_argument("--size", type=int, default=32, help="side of the LR image")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", type=int, default=512, help="MiB that a batch may take")
    arguments = parser.parse_args()
    # read by the libraries when they are imported
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)
    for name in arguments.models.split(","):
        print(json.dumps(measure(name, arguments)), flush=True)
    return 0


def measure(name: str, arguments: argparse.Namespace) -> dict:
    """Times of one model."""
    import contextlib

    import numpy as np
    import paddle

    from ppsr import accelerate
    from ppsr.analysis.batches import fitting_batch
    from ppsr.analysis.lam import LamSettings, lam
    from ppsr.analysis.layers import frozen
    from ppsr.generators.apply import apply_generator
    from ppsr.generators.variants import find_variant
    from ppsr.registry import build_generator

    paddle.set_device("cpu")
    accelerate.enable()
    paddle.seed(0)
    light = name == "SwinIR-light_x4"
    net = build_generator("SwinIR", **SWINIR_LIGHT) if light else find_variant(name).build()
    net.eval()
    lq = np.random.default_rng(0).random((3, arguments.size, arguments.size), dtype=np.float32)
    settings = LamSettings(fold=arguments.steps)

    def passes(context) -> None:
        with context:
            for _ in range(arguments.steps):
                x = paddle.to_tensor(lq[None], stop_gradient=False)
                apply_generator(net, x).sum().backward()
                x.grad.numpy()
        for parameter in net.parameters():
            parameter.clear_gradient(False)

    cases = {
        "lam": lambda: lam(net, lq, settings, memory_mib=arguments.memory),
        "plain": lambda: passes(frozen(net)),
        "training": lambda: passes(contextlib.nullcontext()),
    }
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    cpu: dict[str, list[float]] = {case: [] for case in cases}
    apply_generator(net, paddle.to_tensor(lq[None]))  # prepares the convolutions
    for _ in range(arguments.repeats):
        for case, run in cases.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            run()
            seconds[case].append(time.perf_counter() - started)
            cpu[case].append(time.process_time() - cpu_started)
    median = {case: statistics.median(values) for case, values in seconds.items()}
    median_cpu = {case: statistics.median(values) for case, values in cpu.items()}
    with frozen(net):
        batch = fitting_batch(
            net, paddle.to_tensor(lq[None]), memory_mib=arguments.memory, most=arguments.steps
        )
    return {
        "name": "analysis",
        "case": f"LAM {name}",
        "value": round(median["lam"], 3),
        "unit": "s",
        "ratio_vs_plain_passes": round(median["lam"] / median["plain"], 3),
        "ratio_vs_training_pass": round(median["lam"] / median["training"], 3),
        "cpu_ratio_vs_plain_passes": round(median_cpu["lam"] / median_cpu["plain"], 3),
        "steps": arguments.steps,
        "size": arguments.size,
        "batch": batch,
        "repeats": arguments.repeats,
        "threads": arguments.threads,
        "load": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    sys.exit(main())
