"""Where a CPU training step of DRCT and of HAT spends its time: stock Paddle against accelerated.

One JSON line per network and variant, for one group of the published width (180, windows of 16, batch
2x3x64x64, x4), L1 and Adam:
    {"name": "attention_profile", "case": "DRCT", "variant": "accelerated",
     "value": <median seconds of a step>, "unit": "s", "forward": ..., "products": ...,
     "convolutions": ..., "normalisation": ..., "copies": ..., "additions": ..., "other": ...,
     "share_outside_products": ..., "load": ...}

The parts are seconds of one more step under Paddle's profiler; `share_outside_products` is the part of that
step outside matrix products and convolutions. Each variant runs in a process of its own.

    python benchmarks/attention_profile.py --only DRCT
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

KINDS = {
    "products": ("matmul", "addmm", "product"),
    "convolutions": ("conv", "convolution"),
    "normalisation": ("layernorm", "layer_norm", "layer_normalization", "softmax", "gelu", "eltwise"),
    "copies": [
        "transpose",
        "reshape",
        "concat",
        "split",
        "slice",
        "gather",
        "unbind",
        "stack",
        "pixel_shuffle",
        "pad",
        "expand",
        "assign",
        "reorder",
    ],
    "additions": ("binary", "add", "subtract", "multiply", "scale", "sum", "mean", "abs"),
}
SIDE, BATCH, SCALE, STEPS = 64, 2, 4, 3


def kind_of(operator: str) -> str:
    """The part that an operator of the profile counts for."""
    name = operator.lower().replace("gradnode", "").removeprefix("global_").removesuffix(" dygraph")
    for kind, words in KINDS.items():
        if any(name == word or name.startswith((f"{word}_", word)) for word in words):
            return kind
    return "other"


class Watch:
    """Seconds inside oneDNN, which the profile of operators does not see, by the kind of primitive."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self._names: dict[int, str] = {}  # of descriptions and of primitives

    def install(self) -> None:
        """Before the first operation, as primitives are made once."""
        from ppsr.accelerate import runtime

        plans = runtime.usable_plans()
        if plans is None:
            return
        library = plans._library
        create, execute = library.create, library.execute

        def named(function: str, *arguments: Any) -> int:
            handle = create(function, *arguments)
            name = function.removesuffix("_primitive_desc_create")
            self._names[handle] = self._names[arguments[0]] if function == "primitive_create" else name
            return handle

        def timed(primitive: int, *arguments: Any) -> int:
            started = time.perf_counter()
            status = execute(primitive, *arguments)
            self.seconds[kind_of(self._names[primitive])] += time.perf_counter() - started
            return status

        library.create, library.execute = named, timed


def measure(name: str) -> dict[str, Any]:
    """Times of one network in this process."""
    import paddle

    import ppsr
    from ppsr import accelerate

    accelerate.enable()
    paddle.set_device("cpu")
    paddle.seed(0)
    net = ppsr.build_generator(
        name,
        img_size=32,
        window_size=16,
        embed_dim=180,
        depths=[6],
        num_heads=[6],
        mlp_ratio=2,
        upscale=SCALE,
    )
    optimizer = paddle.optimizer.Adam(1e-4, parameters=net.parameters())
    x = paddle.rand([BATCH, 3, SIDE, SIDE])
    y = paddle.rand([BATCH, 3, SIDE * SCALE, SIDE * SCALE])

    def step() -> float:
        started = time.perf_counter()
        loss = (net(x) - y).abs().mean()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        float(loss)
        return time.perf_counter() - started

    watch = Watch()
    watch.install()
    step()
    median = statistics.median(step() for _ in range(STEPS))
    with paddle.no_grad():
        net(x)
        started = time.perf_counter()
        net(x)
        forward = time.perf_counter() - started
    watch.seconds = dict.fromkeys(KINDS, 0.0)
    profiler = paddle.profiler.Profiler(
        targets=[paddle.profiler.ProfilerTarget.CPU], on_trace_ready=lambda _: None
    )
    profiler.start()
    profiled = step()
    profiler.stop()
    parts = dict.fromkeys((*KINDS, "other"), 0.0)
    for root in profiler.profiler_result.get_data().values():
        _add(root, parts)
    for kind, seconds in watch.seconds.items():
        parts[kind] += seconds
    parts["other"] = max(0.0, profiled - sum(v for k, v in parts.items() if k != "other"))
    outside = 1 - (parts["products"] + parts["convolutions"]) / profiled
    rounded = {key: round(value, 3) for key, value in parts.items()}
    return {"value": round(median, 3), "unit": "s", "forward": round(forward, 3), **rounded} | {
        "share_outside_products": round(outside, 3)
    }


def _add(node: Any, parts: dict[str, float]) -> None:
    """Add the outermost operators below a node of the profile; those through oneDNN are timed elsewhere."""
    if str(node.type).endswith("TracerEventType.Operator"):
        if "PyLayer" not in node.name:
            parts[kind_of(node.name)] += (node.end_ns - node.start_ns) / 1e9
        return
    for child in node.children_node:
        _add(child, parts)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("DRCT", "HAT"), action="append")
    parser.add_argument("--worker", choices=("DRCT", "HAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.worker)))
        return 0
    for name in arguments.only or ("DRCT", "HAT"):
        for variant, switch in (("stock", "0"), ("accelerated", "1")):
            environment = {"OMP_NUM_THREADS": "1", **os.environ, "PPSR_ACCELERATE": switch}
            command = [sys.executable, __file__, "--worker", name]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            load = round(os.getloadavg()[0], 2)
            line = {"name": "attention_profile", "case": name, "variant": variant, **result, "load": load}
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
