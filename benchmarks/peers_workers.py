"""What the processes of peers.py do: one network with the same weights, by ppsr and by others."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cpu_training import cores, images, torch_rrdb
from interleaved import take_calls

_BASE = {"img_size": 64, "window_size": 16, "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6}
_BASE |= {"mlp_ratio": 2, "upscale": 4, "upsampler": "pixelshuffle"}
_SMALL = {**_BASE, "img_size": 32, "window_size": 8, "embed_dim": 60, "depths": [6, 6], "num_heads": [6, 6]}
_SMALL["drop_path_rate"] = 0.0  # random numbers would differ
_HAT = {"compress_ratio": 3, "squeeze_factor": 30, "conv_scale": 0.01, "overlap_ratio": 0.5}
PUBLISHED = {"HAT": "HAT/hat/archs/hat_arch.py", "DRCT": "DRCT/drct/archs/DRCT_arch.py"}
OURS, TORCH = ("paddle", "auto"), ("torch", "torch_channels_last")


@dataclass(frozen=True)
class Work:
    """One row: a network and the images that it gets, or a training step on them."""

    title: str
    network: str
    arguments: dict[str, Any]
    size: int
    batch: int = 1
    training: bool = False


WORKS = {
    "rrdb": Work("RRDBNet of 23 blocks", "RRDBNet", {"num_feat": 64, "num_block": 23, "scale": 4}, 96),
    "hat": Work("HAT base", "HAT", {**_BASE, **_HAT}, 64),
    "drct": Work("DRCT base", "DRCT", _BASE, 64),
    "drct_small": Work("DRCT small", "DRCT", _SMALL, 32),
    "drct_small_step": Work("DRCT small, training step", "DRCT", _SMALL, 32, batch=2, training=True),
}


def threads() -> int:
    """Of every variant: those that OMP_NUM_THREADS says, else one per core."""
    return int(os.environ.get("OMP_NUM_THREADS", cores()))


def our_network(work: Work) -> Any:
    """The network in dynamic mode; the same weights in every process."""
    import paddle

    from ppsr import accelerate, build_generator

    accelerate.enable()
    paddle.seed(0)
    net = build_generator(work.network, **work.arguments)
    return net.train() if work.training else net.eval()


def prepare(work: Work, folder: Path, formats: list[str]) -> None:
    """Worker: the weights in torch's layout, and the files that the other engines read."""
    from ppsr.inference.export.writer import export_network
    from ppsr.weights.loading import transposed_keys
    from ppsr.weights.ncnn import write_ncnn

    net = our_network(work)
    turned = transposed_keys(net)
    arrays = {key: value.numpy() for key, value in net.state_dict().items()}
    state = {key: value.T if key in turned else value for key, value in arrays.items()}
    np.savez(folder / "state.npz", **state)
    if "onnx" in formats:
        export_network(net, folder / "net", formats=["paddle", "onnx"], verify=())
    if "ncnn" in formats:
        write_ncnn(folder / "net.param", state, (work.network, work.arguments))


def our_call(work: Work, variant: str, folder: Path) -> Callable[[], np.ndarray]:
    """A forward pass or a training step by ppsr."""
    import paddle

    from ppsr.inference.backends.select import open_backend
    from ppsr.solver.multi_tensor import Adam

    net = our_network(work)
    lq, gt = images(work.batch, work.size)
    if not work.training:
        backend = open_backend(net, variant, tile=work.size)
        (folder / f"{variant}.txt").write_text(backend.name, encoding="utf-8")
        return lambda: backend.run(lq)
    adam = Adam(1e-4, parameters=net.parameters())
    x, target = paddle.to_tensor(lq), paddle.to_tensor(gt)

    def step() -> np.ndarray:
        loss = (net(x) - target).abs().mean()
        loss.backward()
        adam.step()
        adam.clear_grad()
        return loss.numpy()

    return step


def torch_call(work: Work, variant: str, folder: Path, published: Path) -> Callable[[], np.ndarray]:
    """The same by torch, with our weights."""
    import torch

    torch.set_num_threads(threads())
    state = {key: torch.from_numpy(np.array(value)) for key, value in np.load(folder / "state.npz").items()}
    if work.network == "RRDBNet":
        net = torch_rrdb(torch, work.arguments["num_feat"], work.arguments["num_block"])
        state = dict(zip(net.state_dict(), state.values(), strict=True))  # both in the order of execution
        net.load_state_dict(state)
    else:
        net = published_class(work.network, published)(**work.arguments)
        missing, unexpected = net.load_state_dict(state, strict=False)
        lost = [key for key in missing if not key.endswith(("relative_position_index", "attn_mask"))]
        lost = [key for key in lost if not key.startswith("relative_position_index")]
        assert not lost and not unexpected, f"other weights: {[*lost, *unexpected][:3]}"
    layout = torch.channels_last if variant == "torch_channels_last" else torch.contiguous_format
    net = net.train(work.training).to(memory_format=layout)
    lq, gt = (
        torch.from_numpy(array).contiguous(memory_format=layout) for array in images(work.batch, work.size)
    )
    adam = torch.optim.Adam(net.parameters(), 1e-4)

    def step() -> np.ndarray:
        if not work.training:
            with torch.no_grad():
                return net(lq).numpy()
        loss = (net(lq) - gt).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach().numpy()

    return step


def published_class(name: str, folder: Path) -> Any:
    """The network's class from a clone of its repository; of BasicSR, which it imports, it needs little."""
    import torch

    if importlib.util.find_spec("basicsr") is None:
        registry = types.SimpleNamespace(register=lambda: lambda cls: cls)
        parts = {
            "basicsr.utils.registry": {"ARCH_REGISTRY": registry},
            "basicsr.archs.arch_util": {
                "to_2tuple": lambda x: x if isinstance(x, tuple) else (x, x),
                "trunc_normal_": torch.nn.init.trunc_normal_,
            },
        }
        for module in ("basicsr", "basicsr.utils", "basicsr.archs", *parts):
            sys.modules[module] = types.ModuleType(module)
            vars(sys.modules[module]).update(parts.get(module, {}))
    spec = importlib.util.spec_from_file_location(name, folder / PUBLISHED[name])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def engine_call(work: Work, variant: str, folder: Path) -> Callable[[], np.ndarray]:
    """A forward pass by another engine on our files, in float32."""
    lq, _ = images(work.batch, work.size)
    if variant == "openvino":
        import openvino

        core = openvino.Core()
        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        hints["INFERENCE_NUM_THREADS"] = str(threads())
        model = core.compile_model(core.read_model(folder / "net.onnx"), "CPU", hints)
        return lambda: model([lq])[0]
    if variant == "onnxruntime":
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads()
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(folder / "net.onnx", settings, providers=providers)
        name = session.get_inputs()[0].name
        return lambda: session.run(None, {name: lq})[0]
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    net.load_param(str(folder / "net.param"))
    net.load_model(str(folder / "net.bin"))

    def run() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(lq[0]))
        return np.array(extractor.extract("output")[1])[None]

    return run


def run_worker(options: argparse.Namespace) -> None:
    """What one process does."""
    work, variant, folder = WORKS[options.only], options.worker, options.folder
    if variant == "prepare":
        prepare(work, folder, options.formats.split(","))
        return
    if variant in TORCH:
        call = torch_call(work, variant, folder, options.published)
    else:
        call = (our_call if variant in OURS else engine_call)(work, variant, folder)
    clock = time.process_time if options.busy else time.perf_counter
    np.save(folder / f"{variant}.npy", call())
    call()
    take_calls(call, clock)
