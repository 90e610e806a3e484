"""Time of CPU training steps and inference: stock Paddle, accelerated Paddle, torch, torch channels-last.

    python benchmarks/cpu_training.py [--name srresnet] [--case train_step] [--repeats 5] [--torch-python F]

One worker process per variant; they take turns, one timed call each, and the medians of the same run are
compared. All use every core. One JSON line per name and case: seconds of the accelerated variant, ratios
(below 1 is faster), peak memory of each process in MiB, and the largest difference from stock relative to the
largest value (for `train_step`: of the losses of three steps). Torch workers run under `--torch-python` (or
PPSR_TORCH_PYTHON), by default this interpreter, and are left out where it has no torch. Run it on a quiet
machine; `load` shows the load.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import take_calls, take_turns

logger = logging.getLogger(__name__)

# name -> (registry name, arguments, inference N and size, training N and size)
NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, int], tuple[int, int]]] = {
    "srresnet": ("MSRResNet", {"num_feat": 64, "num_block": 16, "upscale": 4}, (1, 128), (4, 48)),
    "rrdb": ("RRDBNet", {"num_feat": 64, "num_block": 6, "scale": 4}, (1, 64), (2, 32)),
    "cddnet": ("CDDNet", {"num_feat": 32, "num_block": 4, "upscale": 4}, (1, 64), (4, 32)),
    "drct": (
        "DRCT",
        {
            "img_size": 32,
            "window_size": 8,
            "embed_dim": 60,
            "depths": [6, 6],
            "num_heads": [6, 6],
            "upscale": 4,
        },
        (1, 64),
        (2, 32),
    ),
}
CASES = ("train_step", "inference")
PADDLE, TORCH = ("stock", "accelerated"), ("torch", "torch_channels_last")
SCALE = 4


def images(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """LR and HR images."""
    rng = np.random.default_rng(1)
    return (
        rng.random((n, 3, size, size), np.float32),
        rng.random((n, 3, size * SCALE, size * SCALE), np.float32),
    )


class PaddleWork:
    """A network of this package with its optimizer."""

    def __init__(self, variant: str, name: str) -> None:
        import paddle

        from ppsr import accelerate, build_generator

        accelerate.enable()
        assert accelerate.is_enabled() == (variant == "accelerated"), (
            "the worker is not the variant it stands for"
        )
        self._paddle = paddle
        paddle.seed(0)
        registered, arguments, self.eval_case, self._train = NETWORKS[name]
        self.net = build_generator(registered, **arguments)
        rng = np.random.default_rng(0)
        for parameter in self.net.parameters():
            if parameter.ndim > 1:
                fan_in = np.prod(parameter.shape[1:])
                values = rng.standard_normal(parameter.shape, np.float32)
                parameter.set_value(values * np.float32(1 / np.sqrt(fan_in)))
        self._adam = paddle.optimizer.Adam(1e-4, parameters=self.net.parameters())

    def _arrays(self, n: int, size: int) -> tuple[list, Any]:
        lq, gt = images(n, size)
        more = self.net.example_inputs(n, size, size)[1:] if hasattr(self.net, "example_inputs") else ()
        return [self._paddle.to_tensor(a) for a in (lq, *more)], self._paddle.to_tensor(gt)

    def inference(self) -> np.ndarray:
        inputs, _ = self._arrays(*self.eval_case)
        self.net.eval()
        with self._paddle.no_grad():
            return self.net(*inputs).numpy()

    def train_step(self) -> np.ndarray:
        inputs, gt = self._arrays(*self._train)
        self.net.train()
        loss = (self.net(*inputs) - gt).abs().mean()
        loss.backward()
        self._adam.step()
        self._adam.clear_grad()
        return loss.numpy()


class TorchWork:
    """The same networks written with torch; weights are torch's own, only the time is compared."""

    def __init__(self, variant: str, name: str) -> None:
        import torch

        self._torch = torch
        torch.set_num_threads(cores())
        torch.manual_seed(0)
        self._layout = torch.channels_last if variant == "torch_channels_last" else torch.contiguous_format
        _, arguments, self.eval_case, self._train = NETWORKS[name]
        make = {"srresnet": _torch_srresnet, "rrdb": torch_rrdb}[name]
        self.net = make(torch, arguments["num_feat"], arguments["num_block"]).to(memory_format=self._layout)
        self._adam = torch.optim.Adam(self.net.parameters(), 1e-4)

    def _arrays(self, n: int, size: int) -> list:
        arrays = (self._torch.from_numpy(a) for a in images(n, size))
        return [a.contiguous(memory_format=self._layout) for a in arrays]

    def inference(self) -> np.ndarray:
        with self._torch.no_grad():
            return self.net(self._arrays(*self.eval_case)[0]).numpy()

    def train_step(self) -> np.ndarray:
        lq, gt = self._arrays(*self._train)
        loss = (self.net(lq) - gt).abs().mean()
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss.detach().numpy()


def _torch_srresnet(torch: Any, width: int, blocks: int) -> Any:
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1), nn.ReLU(True), nn.Conv2d(width, width, 3, padding=1)
            )

        def forward(self, x: Any) -> Any:
            return x + self.pair(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [
                nn.Conv2d(3, width, 3, padding=1),
                nn.LeakyReLU(0.1, True),
                *(Block() for _ in range(blocks)),
            ]
            for _ in range(2):
                layers += [
                    nn.Conv2d(width, 4 * width, 3, padding=1),
                    nn.PixelShuffle(2),
                    nn.LeakyReLU(0.1, True),
                ]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.1, True)]
            self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

        def forward(self, x: Any) -> Any:
            base = functional.interpolate(x, scale_factor=SCALE, mode="bilinear", align_corners=False)
            return self.layers(x) + base

    return Net()


def torch_rrdb(torch: Any, width: int, blocks: int, grow: int = 32) -> Any:
    """RRDBNet in torch."""
    nn, functional = torch.nn, torch.nn.functional

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [(width + k * grow, grow if k < 4 else width) for k in range(5)]
            self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in widths)

        def forward(self, x: Any) -> Any:
            dense = [x]
            for conv in self.convs[:4]:
                dense.append(functional.leaky_relu(conv(torch.cat(dense, 1)), 0.2, True))
            return x + 0.2 * self.convs[4](torch.cat(dense, 1))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Sequential(Dense(), Dense(), Dense())

        def forward(self, x: Any) -> Any:
            return x + 0.2 * self.dense(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, width, 3, padding=1)
            self.body = nn.Sequential(
                *(Block() for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1)
            )
            self.tail = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
            self.last = nn.Conv2d(width, 3, 3, padding=1)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            x = x + self.body(x)
            for index, conv in enumerate(self.tail):
                x = functional.interpolate(x, scale_factor=2) if index < 2 else x
                x = functional.leaky_relu(conv(x), 0.2, True)
            return self.last(x)

    return Net()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(variant: str, name: str, case: str, result: Path, size: int | None = None) -> None:
    """Worker: three calls that warm up and whose results are stored, then one timed call per input line."""
    job = (PaddleWork if variant in PADDLE else TorchWork)(variant, name)
    if size is not None:
        job.eval_case = 1, size
    call = getattr(job, case)
    np.save(result, np.stack([call() for _ in range(3)]))
    take_calls(call)


def _start(variant: str, name: str, case: str, folder: Path, torch_python: str) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "PPSR_ACCELERATE")}
    if variant == "stock":
        environment.update(PPSR_ACCELERATE="0", OMP_NUM_THREADS=str(cores()))
    arguments = [
        "--worker",
        variant,
        "--name",
        name,
        "--case",
        case,
        "--result",
        str(folder / f"{variant}.npy"),
    ]
    python = torch_python if variant in TORCH else sys.executable
    return subprocess.Popen(
        [python, str(Path(__file__).resolve()), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def measure(
    name: str, case: str, repeats: int, folder: Path, torch_python: str, torch: bool
) -> dict[str, Any]:
    """One interleaved run of all variants."""
    variants = [*PADDLE, *(TORCH if torch and name in ("srresnet", "rrdb") else ())]
    start = partial(_start, name=name, case=case, folder=folder, torch_python=torch_python)
    turns = take_turns(variants, start, repeats)
    medians = turns.seconds
    stock, fast = (np.load(folder / f"{v}.npy") for v in PADDLE)
    line = {"name": name, "case": case, "value": round(medians["accelerated"], 4), "unit": "s"}
    for variant in variants:
        if variant != "accelerated":
            line[f"ratio_vs_{variant}"] = round(medians["accelerated"] / medians[variant], 3)
    line |= {
        "seconds": {v: round(t, 4) for v, t in medians.items()},
        "peak_mib": turns.peak_mib,
        "error_vs_stock": float(np.abs(fast - stock).max() / np.abs(stock).max()),
        "repeats": repeats,
        "cores": cores(),
        "load": round(turns.load, 2),
    }
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", choices=NETWORKS, action="append")
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--torch-python", default=os.environ.get("PPSR_TORCH_PYTHON", sys.executable))
    parser.add_argument("--worker", choices=(*PADDLE, *TORCH), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)  # of the image of `inference`
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.name[0], options.case[0], options.result, options.size)
        return
    from ppsr.registry import GENERATORS

    torch = subprocess.run([options.torch_python, "-c", "import torch"], capture_output=True, check=False)
    for name in options.name or NETWORKS:
        if NETWORKS[name][0] not in GENERATORS:
            logger.warning("%s: the registry has no %s", name, NETWORKS[name][0])
            continue
        for case in options.case or CASES:
            with tempfile.TemporaryDirectory() as folder:
                line = measure(
                    name, case, options.repeats, Path(folder), options.torch_python, torch.returncode == 0
                )
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
