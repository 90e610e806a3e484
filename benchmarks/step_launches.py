"""Kernel launches, host waits and time of training steps, on the CPU.

    python benchmarks/step_launches.py [--name hat] [--repeats 5]

One JSON line per model. Launches are counted by Paddle's profiler: `step` is a whole step, `update` what
remains of it without forward and backward passes (gradient norm, clipping, optimizer, average). Views
(reshape, flatten, slice) and allocations (empty) start no kernel on a GPU; they are counted apart, and the
kernel that scales gradients is not counted. `host_waits` are values that the host read from tensors during
a step. `seconds` is the least processor time of a step, `update_seconds` that minus the least of both passes
alone.

On a GPU `merged_adam` starts a kernel per parameter, from one call in C++.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paddle
from host_waits import HostWaits

from ppsr.config.schema import Precision, StepOptions
from ppsr.engine.distributed import Group
from ppsr.engine.step import TrainStep
from ppsr.models.base import Batch
from ppsr.registry import build_model
from ppsr.solver.ema import EMA
from ppsr.solver.optimizers import build_optimizers
from ppsr.solver.schedules import ConstantLR

GENERATOR = {"name": "Adam", "net_names": ["generator"]}
DISCRIMINATOR = {"name": "Adam", "net_names": ["discriminator"]}
GAN = {
    "discriminator": {"name": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 8},
    "gan_criterion": {"name": "GANLoss", "loss_weight": 0.1},
    "artifact_criterion": {"name": "ArtifactLoss"},
}
PIXEL = {"pixel_criterion": {"name": "L1Loss"}}
# as many blocks and parameters as HAT's published size, but narrow
HAT = {
    "name": "HAT",
    "img_size": 16,
    "window_size": 8,
    "embed_dim": 12,
    "depths": [6] * 6,
    "num_heads": [2] * 6,
}
HAT |= {"compress_ratio": 3, "squeeze_factor": 6, "mlp_ratio": 2, "upscale": 4, "upsampler": "pixelshuffle"}
CDDNET: dict[str, Any] = {
    "name": "CDDNet",
    "generator": {"name": "CDDNet", "num_feat": 32, "num_block": 4, "num_models": 5, "upscale": 4},
    "predictor": {"name": "DegradationPredictor", "nf": 16, "num_params": 33, "num_networks": 5},
    "regression_criterion": {"name": "L1Loss"},
}
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hat": ({"name": "SRModel", "generator": HAT, **PIXEL}, GENERATOR),
    "cddnet": (
        {**CDDNET, **PIXEL, **GAN},
        {"optimG": {**GENERATOR, "net_names": ["generator", "predictor"]}, "optimD": DISCRIMINATOR},
    ),
}
NO_KERNEL = {"reshape", "flatten", "slice", "squeeze", "unsqueeze", "empty"}


def build(name: str) -> tuple[TrainStep, Batch]:
    """A step with clipping and average, and its batch."""
    paddle.seed(0)
    config, optimizers = MODELS[name]
    model = build_model(config)
    ema = EMA(model.nets, decay=0.999, net_names=["generator"])
    model.ema = ema.nets
    step = TrainStep(
        model=model,
        optimizers=build_optimizers(optimizers, model.nets),
        schedules=defaultdict(lambda: ConstantLR(learning_rate=1e-5)),
        options=StepOptions(clip_norm=1e-3),
        precision=Precision(),
        group=Group(),
        ema=ema,
    )
    lq, gt = paddle.rand([1, 3, 16, 16]), paddle.rand([1, 3, 64, 64])
    return step, Batch({"lq": lq, "gt": gt, "degradation_params": paddle.rand([1, 33])})


def gradients(step: TrainStep, batch: Batch) -> None:
    """The forward and backward passes of a step alone."""
    for phase in step.model.phases():
        step.train_only(phase.nets)
        sum(phase.losses(batch).values()).backward()
    for net in step.model.nets.values():
        for parameter in net.parameters():
            parameter.clear_gradient(False)


def launches(run: Callable[[], Any]) -> Counter[str]:
    """How often each kernel is launched, by Paddle's profiler."""
    targets = [paddle.profiler.ProfilerTarget.CPU]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler = paddle.profiler.Profiler(targets=targets, scheduler=(0, 1))
        profiler.start()
        run()
        profiler.stop()
        profiler.export(str(path), "json")
        events = json.loads(path.read_text())["traceEvents"]
    return Counter(e["name"].split()[0] for e in events if e.get("cat") == "DygraphKernelLaunch")


def seconds(run: Callable[[], Any]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(name: str, repeats: int) -> dict[str, Any]:
    """All figures of one model."""
    step, batch = build(name)

    def whole() -> None:
        step.run([Batch(batch)], 0, 0)

    def passes() -> None:
        gradients(step, Batch(batch))

    whole()
    with HostWaits() as waits:
        whole()
    every, forward_backward = launches(whole), launches(passes)
    update = Counter({key: every[key] - forward_backward[key] for key in every})
    times = [(seconds(whole), seconds(passes)) for _ in range(repeats)]
    least, least_passes = map(min, zip(*times, strict=True))
    return {
        "name": name,
        "paddle": paddle.__version__,
        "parameters": sum(len(net.parameters()) for net in step.model.nets.values()),
        "step": sum(v for k, v in every.items() if k not in NO_KERNEL),
        "update": sum(v for k, v in update.items() if k not in NO_KERNEL),
        "update_views": sum(v for k, v in update.items() if k in NO_KERNEL),
        "update_kernels": dict(update.most_common(12)),
        "host_waits": waits.count,
        "seconds": round(least, 4),
        "update_seconds": round(least - least_passes, 4),
    }


def main() -> int:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", choices=sorted(MODELS), nargs="+", default=sorted(MODELS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    paddle.set_device("cpu")
    for name in options.name:
        print(json.dumps(measure(name, options.repeats)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
