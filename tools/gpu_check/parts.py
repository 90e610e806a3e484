"""The parts of the check, in the order in which they run."""

from __future__ import annotations

import json
import math
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from record import ROOT, Check, Monitor, last_line

__all__ = ["PARTS", "check_machine"]

# Largest difference from float32 on the CPU, of the largest output. float32 differs by the order of summation
# alone; TF32 and float16 round to 11 bits (5e-4 a product, which layers add up), bfloat16 to 8 bits.
TOLERANCE = {"float32": 1e-4, "TF32": 1e-2, "float16": 2e-2, "bfloat16": 1.5e-1}
SYSTEMS = {
    "CDDNet": ("quickstart.yaml", ["model.generator.num_feat=64", "dataset.train.batch_size=16"]),
    "DRN": ("quickstart_drn.yaml", ["model.generator.n_feats=20", "dataset.train.batch_size=16"]),
    "Real-SRResNet": (
        "quickstart_reflash_dropout.yaml",
        ["model.generator.num_feat=64", "dataset.train.batch_size=16"],
    ),
    "DRCT": ("quickstart_drct.yaml", ["model.generator.embed_dim=96", "dataset.train.batch_size=16"]),
}
PRECISIONS = {
    "float32": [],
    "O1": ["--amp"],
    "O2": ["--amp", "--amp_level", "O2"],
}


def check_machine(check: Check) -> dict[str, str]:
    """Versions and device, for the head of the report."""
    import paddle

    import ppsr

    about = {
        "ppsr": ppsr.__version__,
        "paddle": paddle.__version__,
        "python": platform.python_version(),
        "device": "CPU" if check.cpu else paddle.device.cuda.get_device_name(0),
    }
    if not check.cpu:
        about |= {
            "cuda": paddle.version.cuda(),
            "cudnn": paddle.version.cudnn(),
            "capability": ".".join(map(str, paddle.device.cuda.get_device_capability(0))),
            "devices": str(paddle.device.cuda.device_count()),
        }
    return about


def check_parity(check: Check) -> None:
    """Every network on the device in every precision, against float32 on the CPU by Paddle's own kernels."""
    import numpy as np
    import paddle

    from ppsr import accelerate
    from ppsr.registry import GENERATORS

    accelerate.enable()
    for name in GENERATORS.names():
        cls = GENERATORS.get(name)
        if not check.in_time("parity", name):
            return
        paddle.set_device("cpu")
        paddle.seed(0)
        net = cls(**cls.test_args)
        net.eval()
        side = max(16, getattr(net, "size_multiple", 1))
        inputs = _inputs(net, side)
        with paddle.no_grad(), accelerate.disabled():
            expected = _last(net(*map(paddle.to_tensor, inputs))).numpy()
        paddle.set_device(check.device)
        net.to(device=check.device)
        largest = float(np.abs(expected).max())
        for precision, tolerance in TOLERANCE.items():
            if check.cpu and precision != "float32":
                continue
            if precision == "float16" and not getattr(net, "fp16_safe", True):
                continue  # ppsr takes bfloat16 for it
            with paddle.no_grad(), _precision(precision):
                actual = _last(net(*map(paddle.to_tensor, inputs))).astype("float32").numpy()
            error = float(np.abs(actual - expected).max()) / largest
            passed = math.isfinite(error) and error <= tolerance
            check.add("parity", f"{name} {precision}", passed, f"{error:.1e}", f"{tolerance:.0e}")
    paddle.set_device("cpu")


def _inputs(net: Any, side: int) -> list:
    import numpy as np

    if hasattr(net, "example_inputs"):
        return list(net.example_inputs(1, side, side))
    channels = getattr(net, "num_in_ch", None) or getattr(net, "in_chans", None) or 3
    image = np.random.default_rng(0).random((1, channels, side, side), dtype=np.float32)
    return [image * np.float32(getattr(net, "rgb_range", 1.0))]


def _last(result: Any) -> Any:
    return result[-1] if isinstance(result, (list, tuple)) else result


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """The switches of one precision."""
    import paddle

    from ppsr.compat.paddle import full_precision

    half = name in ("float16", "bfloat16")
    cast = paddle.amp.auto_cast(dtype=name) if half else nullcontext()
    with cast, full_precision() if name == "float32" else nullcontext():
        yield


def check_training(check: Check) -> None:
    """The four systems in float32, O1 and O2: half of the steps, a resume, the other half."""
    steps = 4 if check.cpu else 200
    done = check.run("-m", "ppsr", "prepare", "samples")
    for split in ("train", "val"):
        source = f"data/samples/{split}"
        if done.returncode == 0:
            done = check.run(
                "-m", "ppsr", "prepare", "bicubic", source, f"{source}_bicubic", "--scales", "2,4"
            )
    if done.returncode:
        check.add("training", "data", False, note=last_line(done))
        return
    for system, (config, larger) in SYSTEMS.items():
        for precision, flags in PRECISIONS.items():
            if check.cpu and precision != "float32":
                check.add("training", f"{system} {precision}", None, note="mixed precision needs a GPU")
            elif check.in_time("training", f"{system} {precision}"):
                _train(check, f"{system} {precision}", config, [] if check.cpu else larger, flags, steps)


def _train(check: Check, case: str, config: str, larger: list[str], flags: list[str], steps: int) -> None:
    output = check.folder / "output" / case.replace(" ", "-")
    common = [ROOT / "tools/main.py", "-c", ROOT / "configs" / config, *flags, "--device", check.device]
    options = [
        *larger,
        f"output_dir={output}",
        "validate.interval=0",
        "log_config.interval=1",
        f"snapshot_config.interval={steps // 2}",
    ]
    if check.cpu:
        options += ["dataset.train.batch_size=1", "dataset.train.num_workers=0"]
    with Monitor(not check.cpu)() as monitor:
        done = check.run(*common, "-o", f"total_iters={steps // 2}", *options)
        if done.returncode == 0:
            done = check.run(*common, "--resume", "auto", "-o", f"total_iters={steps}", *options)
    if done.returncode:
        check.add("training", case, False, note=last_line(done))
        return
    run = next(output.glob("*/scalars.jsonl")).parent
    scalars = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    losses = [_loss(line) for line in scalars if line["split"] == "train"]
    resumed = f"at step {steps // 2}" in (run / "log.txt").read_text()
    speeds = [float(s) for s in re.findall(r"ips: ([\d.]+)", (run / "log.txt").read_text())]
    early, late = sum(losses[: steps // 4]), sum(losses[-(steps // 4) :])
    learns = all(map(math.isfinite, losses)) and (check.cpu or late < early)
    check.add(
        "training",
        case,
        resumed and len(losses) == steps and learns,
        f"{sorted(speeds)[len(speeds) // 2]:.1f} images/s",
        "resumes; all losses finite, the last quarter below the first",
        f"loss {early * 4 / steps:.4f} -> {late * 4 / steps:.4f}; {monitor}".rstrip("; "),
    )


def _loss(scalars: dict[str, Any]) -> float:
    """The first loss of a step, which is the pixel loss in all four systems."""
    losses = (v for key, v in scalars.items() if key not in ("step", "split", "lr", "skipped"))
    return float(next(losses, math.nan))


def check_ranks(check: Check) -> None:
    """Two ranks, on two GPUs where there are two."""
    import paddle

    case = "two ranks"
    if not check.cpu and paddle.device.cuda.device_count() < 2:
        check.add("ranks", case, None, note="this machine has one GPU")
        return
    if not check.in_time("ranks", case):
        return
    ranks = ["--nproc_per_node", "2"] if check.cpu else ["--gpus", "0,1"]
    steps = 2 if check.cpu else 50
    done = check.run(
        "-m", "paddle.distributed.launch", *ranks, "--log_dir", "ranks", ROOT / "tools/main.py",
        "-c", ROOT / "configs/quickstart_drct.yaml", "--device", check.device, "-o", f"total_iters={steps}",
        "output_dir=output/ranks", "validate.interval=0", "dataset.train.batch_size=2",
    )  # fmt: skip
    check.add("ranks", case, done.returncode == 0, note="" if done.returncode == 0 else last_line(done))


def check_export(check: Check) -> None:
    """An export with every installed backend verified, then compared on the device."""
    weights = _random_weights(check, "SRVGGNetCompact", num_feat=16, num_conv=4)
    if not check.in_time("export", "export"):
        return
    done = check.run("-m", "ppsr", "export", "--load", weights, "-o", "export/net", "--device", check.device)
    found = re.findall(r"^\s*(\w+)\s+(error .*|failed: .*)$", done.stdout, re.MULTILINE)
    check.add("export", "export", done.returncode == 0, note="" if done.returncode == 0 else last_line(done))
    for backend, text in found:
        check.add("export", backend, not text.startswith("failed"), note=text[:120])


def check_upscaling(check: Check) -> None:
    """An image of 8K from the command line."""
    width, height = (96, 64) if check.cpu else (1920, 1080)
    import numpy as np

    from ppsr.imaging import write_image

    image = np.random.default_rng(0).random((height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    write_image(check.folder / "frame.png", image.astype(np.float32))
    large = {"SRVGGNetCompact": {"num_feat": 64, "num_conv": 16}, "RRDBNet": {"num_block": 6}}
    tiny = {"SRVGGNetCompact": {"num_feat": 8, "num_conv": 2}, "RRDBNet": {"num_feat": 8, "num_block": 1}}
    for name, arguments in (tiny if check.cpu else large).items():
        weights = _random_weights(check, name, **arguments)
        for half in (False,) if check.cpu else (False, True):
            case = f"{name} {width * 4}x{height * 4}{' half' if half else ''}"
            if not check.in_time("upscaling", case):
                return
            target = Path("upscaled", f"{name}{'_half' if half else ''}.png")
            flags = ["--precision", "fp16"] if half else []
            started = time.perf_counter()
            with Monitor(not check.cpu)() as monitor:
                done = check.run(
                    "-m", "ppsr", "upscale", "frame.png", "-o", target, "--load", weights, "--device",
                    check.device, *flags,
                )  # fmt: skip
            seconds = time.perf_counter() - started
            right = done.returncode == 0 and (check.folder / target).exists()
            check.add(
                "upscaling", case, right, f"{seconds:.1f} s", note=str(monitor) if right else last_line(done)
            )


def _random_weights(check: Check, name: str, **arguments: int) -> Path:
    """A file with fresh weights of a network."""
    import paddle

    from ppsr.registry import GENERATORS
    from ppsr.weights import write_state

    paddle.seed(0)
    path = check.folder / f"{name}-{len(arguments)}-{abs(hash(tuple(arguments.items()))) % 1000}.pdparams"
    net = GENERATORS.build({"name": name, **arguments})
    write_state(path, {key: value.numpy() for key, value in net.state_dict().items()})
    return path


PARTS: dict[str, Callable[[Check], None]] = {
    "parity": check_parity,
    "training": check_training,
    "ranks": check_ranks,
    "export": check_export,
    "upscaling": check_upscaling,
}
