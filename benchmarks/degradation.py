"""Degrading while training: pairs per second of ppsr's data sets against the published code, on this CPU.

    git clone https://github.com/XPixelGroup/BasicSR SOURCES/BasicSR
    git clone https://github.com/xinntao/Real-ESRGAN SOURCES/Real-ESRGAN
    git clone https://github.com/csjliang/DASR SOURCES/DASR
    python benchmarks/degradation.py IMAGES --torch-python PYTHON_WITH_TORCH --published SOURCES
    python benchmarks/degradation.py IMAGES --busy ...   # processor time: where other programs run as well

From HR images in files to batches of pairs, by the published options: windows of 400 pixels, crops of 256,
x4, the same ranges and probabilities. Both have two loader workers. ppsr degrades in them; the published data
sets draw kernels there, and `feed_data` of their models sharpens and degrades the batch on the CPU that would
train. The pool of training pairs is left out on both sides. The processes take turns of some batches each,
the workers' start included. The published code needs torch, OpenCV, SciPy, PyYAML, tqdm and requests. One
JSON line per data set; `ratio` above 1 means that ppsr makes more pairs.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from cpu_training import cores
from interleaved import take_calls, take_turns

_WORKERS = 2
_OURS, _PUBLISHED = "ppsr", "published"


class Case(NamedTuple):
    """A data set of ours and the published one.

    Attributes:
        ours: name of our data set.
        repository: with the package `package`, which has the published data set and model.
        basicsr: the repository whose BasicSR it uses.
        dataset: module and class.
        model: module and class.
        options: file of the published options.
    """

    ours: str
    batch: int
    repository: str
    package: str
    basicsr: str
    dataset: tuple[str, str]
    model: tuple[str, str]
    options: str


CASES = {
    "dasr": Case(
        "DASRDataset", 6, "DASR", "dasr", "DASR",
        ("DASR_dataset", "DASRDataset"), ("DASR_model", "DASRModel"), "options/train/DASR/train_DASR.yml",
    ),
    "realesrgan": Case(
        "RealESRGANDataset", 12, "Real-ESRGAN", "realesrgan", "BasicSR",
        ("realesrgan_dataset", "RealESRGANDataset"), ("realesrnet_model", "RealESRNetModel"),
        "options/train_realesrnet_x4plus.yml",
    ),
}  # fmt: skip


def our_call(case: Case, images: Path, batches: int) -> Callable[[], None]:
    """Batches of our data set."""
    import paddle
    from paddle.io.dataloader.collate import default_collate_fn

    from ppsr import accelerate
    from ppsr.config.schema import LoaderOptions
    from ppsr.engine.workers import batches_of_workers
    from ppsr.registry import DATASETS

    paddle.set_device("cpu")
    accelerate.enable()
    dataset = DATASETS.build({"name": case.ours, "gt_folder": str(images)})
    options = LoaderOptions(batch_size=case.batch, num_workers=_WORKERS)
    keys = ((epoch, index) for epoch in itertools.count() for index in range(len(dataset)))

    def make(chosen: list[tuple[int, int]]) -> dict[str, Any]:
        return default_collate_fn([dataset.sample(key) for key in chosen])

    def call() -> None:
        chosen = [list(itertools.islice(keys, case.batch)) for _ in range(batches)]
        assert len(list(batches_of_workers(make, chosen, options))) == batches

    return call


def _package(name: str, folder: Path | None = None) -> ModuleType:
    """A package of which only what is asked for is imported; without a folder, an empty one."""
    module: Any = ModuleType(name)
    module.__path__ = [] if folder is None else [str(folder)]
    sys.modules[name] = module
    return module


def _published_classes(case: Case, sources: Path) -> tuple[Any, Any, Any]:
    """Data set, model, and BasicSR's tools, without the training code around them and without torchvision."""
    import torch

    def gray(image: torch.Tensor, num_output_channels: int = 1) -> torch.Tensor:
        red, green, blue = image.unbind(dim=-3)
        return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(dim=-3)

    for name in ("torchvision", "torchvision.transforms"):
        _package(name)
    for name in ("functional", "functional_tensor"):
        _package(f"torchvision.transforms.{name}").rgb_to_grayscale = gray
    _package("torchvision.utils").make_grid = None
    basicsr = sources / case.basicsr / "basicsr"
    _package("basicsr", basicsr)
    _package("basicsr.data", basicsr / "data")
    _package("basicsr.models")
    for name, base in (("sr_model", "SRModel"), ("srgan_dynamic_model", "SRGANDynamicModel")):
        setattr(_package(f"basicsr.models.{name}"), base, object)
    tools = _package("basicsr.utils", basicsr / "utils")
    for name in ("file_client", "img_util", "img_process_util", "diffjpeg", "logger", "registry"):
        module = importlib.import_module(f"basicsr.utils.{name}")
        vars(tools).update({key: value for key, value in vars(module).items() if not key.startswith("_")})
    own = sources / case.repository / case.package
    _package(case.package, own)
    classes = []
    for kind, (module_name, name) in (("data", case.dataset), ("models", case.model)):
        _package(f"{case.package}.{kind}", own / kind)
        classes.append(getattr(importlib.import_module(f"{case.package}.{kind}.{module_name}"), name))
    return classes[0], classes[1], tools


def published_call(case: Case, images: Path, batches: int, sources: Path, folder: Path) -> Callable[[], None]:
    """Batches of the published data set, degraded by the published model."""
    import torch
    import yaml

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", cores())))
    dataset_class, model_class, tools = _published_classes(case, sources)
    options = yaml.safe_load((sources / case.repository / case.options).read_text())
    own = options["datasets"]["train"]
    names = [path.name for path in sorted(images.iterdir())]
    repeated = itertools.islice(itertools.cycle(names), batches * case.batch)
    listed = folder / "names.txt"
    listed.write_text("\n".join(repeated))
    own |= {"dataroot_gt": str(images), "meta_info": str(listed), "batch_size_per_gpu": case.batch}
    module = sys.modules[model_class.__module__]
    filter2d = module.filter2D
    # newer versions of torch hand over layouts that its `view` refuses
    module.filter2D = lambda image, kernel: filter2d(image.contiguous(), kernel)
    model = SimpleNamespace(
        opt=options, opt_train=own, is_train=True, device="cpu", _dequeue_and_enqueue=lambda: None,
        jpeger=tools.DiffJPEG(differentiable=False), usm_sharpener=tools.USMSharp(),
        # of the description of DASR's degradations
        num_degradation_params=33, road_map=[0, 10, 18, 26, 33],
        resize_mode_list=["area", "bilinear", "bicubic"],
    )  # fmt: skip
    dataset = dataset_class(own)

    def call() -> None:
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=case.batch, shuffle=True, num_workers=_WORKERS, drop_last=True
        )
        for batch in loader:
            model_class.feed_data(model, batch)
        assert model.lq.shape == (case.batch, 3, 64, 64)
        assert model.gt.shape == (case.batch, 3, 256, 256)

    return call


def _processor_seconds() -> float:
    """Of this process and of those of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def work(options: argparse.Namespace) -> None:
    """A worker of `take_turns`."""
    random.seed(0)
    case = CASES[options.only]
    with tempfile.TemporaryDirectory() as folder:
        if options.worker == _OURS:
            call = our_call(case, options.images, options.batches)
        else:
            call = published_call(case, options.images, options.batches, options.published, Path(folder))
        call()
        take_calls(call, _processor_seconds if options.busy else time.perf_counter)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both in turns."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1" if options.busy else str(cores())}

    def start(variant: str) -> subprocess.Popen:
        command = [
            sys.executable if variant == _OURS else options.torch_python,
            str(Path(__file__).resolve()),
        ]
        command += [str(options.images), "--only", name, "--worker", variant]
        command += ["--batches", str(options.batches), *(["--busy"] if options.busy else [])]
        command += ["--published", str(options.published)] if options.published else []
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, **pipes)

    variants = [_OURS, *([_PUBLISHED] if options.published else [])]
    turns = take_turns(variants, start, options.repeats)
    pairs = CASES[name].batch * options.batches
    speed = {variant: pairs / seconds for variant, seconds in turns.seconds.items()}
    line = {"name": "degradation", "case": name, "value": round(speed[_OURS], 2)}
    line["unit"] = "pairs per processor second" if options.busy else "pairs/s"
    if _PUBLISHED in speed:
        line |= {
            "published": round(speed[_PUBLISHED], 2),
            "ratio": round(speed[_OURS] / speed[_PUBLISHED], 1),
        }
    line |= {"pairs": pairs, "repeats": options.repeats, "cores": cores(), "load": round(turns.load, 2)}
    return line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="folder of HR images")
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--batches", type=int, default=4, help="of a turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--torch-python", default=os.environ.get("PPSR_TORCH_PYTHON", sys.executable))
    parser.add_argument("--published", type=Path, help="folder of the clones; without it, ppsr alone")
    parser.add_argument("--busy", action="store_true", help="processor time instead of wall time")
    parser.add_argument("--worker", choices=(_OURS, _PUBLISHED), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return
    for name in [options.only] if options.only else CASES:
        print(json.dumps(measure(name, options)), flush=True)


if __name__ == "__main__":
    main()
