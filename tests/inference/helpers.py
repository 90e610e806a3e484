"""Backends whose answers are known without Paddle, and small networks."""

import numpy as np
from paddle import nn

from ppsr.generators.network_info import NetworkInfo
from ppsr.inference.outputs import plan_jobs
from ppsr.inference.upscale_files import upscale_jobs
from ppsr.registry import GENERATORS


class Repeat:
    """Enlarges by repeating pixels; remembers the sizes that it was given."""

    name = "repeat"

    def __init__(self, scale=2, channels=3, *, multiple=1, radius=0, rgb_range=1.0):
        facts = {"scale": scale, "channels": channels, "rgb_range": rgb_range}
        self.info = NetworkInfo("Repeat", **facts, size_multiple=multiple, receptive_radius=radius)
        self.seen = []

    def run(self, x):
        self.seen.append(x.shape)
        assert x.dtype == np.float32
        assert x.shape[1] == self.info.channels
        assert x.shape[2] % self.info.size_multiple == 0
        assert x.shape[3] % self.info.size_multiple == 0
        return x.repeat(self.info.scale, axis=2).repeat(self.info.scale, axis=3)


class ShortOfMemory(Repeat):
    """Refuses inputs of more pixels than a limit."""

    def __init__(self, limit, error, **more):
        super().__init__(**more)
        self.limit, self.error = limit, error

    def run(self, x):
        if x.shape[2] * x.shape[3] > self.limit:
            raise self.error
        return super().run(x)


def small_network(name="SRVGGNetCompact", **more) -> nn.Layer:
    """A network with arguments for tests and weights that let neighbours matter."""
    cls = GENERATORS.get(name)
    net = cls(**{**cls.test_args, **more})
    rng = np.random.default_rng(1)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            fan = float(np.prod(parameter.shape[1:]))
            values = rng.normal(0, 1 / np.sqrt(fan), list(parameter.shape))
            parameter.set_value(values.astype(np.float32))
    net.eval()
    return net


def list_files(folder):
    """Names of all files below a folder but for reports, relative to it, in order."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    return sorted(str(path.relative_to(folder)) for path in found)


def upscale_files(upscaler, source, target, *, suffix="", extension="png", recursive=True, **options):
    """The inputs that a source names, upscaled."""
    jobs = plan_jobs(source, target, suffix=suffix, extension=extension, recursive=recursive)
    return upscale_jobs(upscaler, jobs, target, **options)
