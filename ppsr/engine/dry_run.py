"""Building everything and doing one step before a long job: sizes, memory, seconds, time to the end."""

from __future__ import annotations

import logging
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import paddle

from ppsr.config.loader import Config
from ppsr.config.schema import Experiment
from ppsr.engine.distributed import Group
from ppsr.engine.loader import build_stream, check_samples
from ppsr.engine.trainer import OutOfMemoryError, Trainer
from ppsr.generators.macs import count_macs
from ppsr.memory import is_out_of_memory
from ppsr.models.base import BaseModel


def peak_memory() -> float:
    """Largest memory so far, in MB: of the allocator of the present GPU, elsewhere of this process."""
    device = paddle.get_device()
    if device.startswith("gpu"):
        return paddle.device.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def dry_run(config: Config, experiment: Experiment, model: BaseModel, group: Group) -> int:
    """Do a warm-up step and a timed one, read a validation image, and print what a run will need."""
    logging.getLogger("ppsr").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="ppsr-dry-run-") as folder:
        trainer = Trainer(config, experiment, model, group, Path(folder))
        check_samples(trainer.dataset, "dataset.train", limit=None)
        stream = build_stream(trainer.dataset, trainer.loading, group, seed=experiment.seed, samples_done=0)
        seconds, losses = 0.0, {}
        for step in range(2):
            started = time.perf_counter()
            batches = [next(stream) for _ in range(experiment.step.accumulate)]
            try:
                losses = trainer.state.train_step.run(batches, step, experiment.seed)
            except Exception as error:
                if is_out_of_memory(error):
                    raise OutOfMemoryError(step, error) from error
                raise
            seconds = time.perf_counter() - started
        if not group.is_main:
            return 0
        print(f"{config.path}: everything builds, one step runs")
        for name, net in model.nets.items():
            count = sum(p.size for p in net.parameters())
            print(f"  {name:<16} {type(net).__name__:<24} {count:>12,} parameters")
        with trainer.state.train_step.inference():
            macs = count_macs(model.inference_net(), (1, batches[0]["lq"].shape[1], 64, 64))
        print(f"  MACs of the inference network for a 64x64 image: {macs / 1e9:.3f} G")
        print("  losses of the step: " + ", ".join(f"{name} {value:.4g}" for name, value in losses.items()))
        print(f"  {seconds:.3f} s per step, peak memory {peak_memory():.0f} MB on {paddle.get_device()}")
        print(f"  {trainer.total} steps: about {timedelta(seconds=int(seconds * trainer.total))}")
    return 0
