"""ppsr beside torch, OpenVINO, ONNX Runtime and ncnn on this CPU: the first table of docs/performance.md.

    git clone https://github.com/XPixelGroup/HAT SOURCES/HAT
    git clone https://github.com/ming053l/DRCT SOURCES/DRCT
    python benchmarks/peers.py --torch-python PYTHON_WITH_TORCH --published SOURCES
    python benchmarks/peers.py --only rrdb,drct_small --repeats 9
    python benchmarks/peers.py --busy        # one thread, processor time: where other programs run as well
    python benchmarks/peers.py --report      # the table in the docs, from all that was measured

The processes of a row take turns, one timed call each, on all cores; minimum and median are kept in
output/peers. All compute one network with the same weights in float32, and `error` is the largest difference
from ppsr's own result relative to its largest value. OpenVINO and ONNX Runtime get our ONNX file, ncnn the
.param and .bin of our writer, which knows RRDBNet; torch runs the published code of HAT and DRCT (which needs
torch and einops) and an RRDBNet of its own. What is missing is left out and named under "skipped".
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cpu_training import cores
from interleaved import take_turns
from peers_workers import OURS, PUBLISHED, TORCH, WORKS, Work, run_worker

_ENGINES = ("openvino", "onnxruntime", "ncnn")  # names of their packages, too
_TITLES = {
    "paddle": "ppsr, dynamic mode",
    "auto": "ppsr, `auto`",
    "torch": "torch",
    "torch_channels_last": "torch, channels last",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "ncnn": "ncnn",
}
_PAGE = Path("docs/performance.md")
_CHINESE = (
    (r"work \| ppsr, dynamic mode", "工作 | ppsr，动态图"),
    (r"ppsr, `auto`", "ppsr，`auto`"),
    (r"torch, channels last", "torch，channels last"),
    (r"ppsr / best of the others", "ppsr / 其他中最快"),
    (r"(RRDBNet) of 23 blocks", r"\1，23 块"),
    (r", training step", "，训练一步"),
    (r"(HAT|DRCT) base", r"\1 标准"),
    (r"DRCT small", "DRCT 小型"),
)


def usable(work: Work, torch_python: str, published: Path | None) -> tuple[list[str], dict[str, str]]:
    """The variants that can run here, and why the others cannot."""
    skipped: dict[str, str] = {}
    if subprocess.run([torch_python, "-c", "import torch"], capture_output=True, check=False).returncode:
        skipped |= dict.fromkeys(TORCH, f"{torch_python} has no torch; --torch-python names another")
    elif work.network in PUBLISHED and not (published and (published / PUBLISHED[work.network]).exists()):
        reason = f"--published has no {PUBLISHED[work.network]}"
        skipped |= dict.fromkeys(TORCH, reason)
    for variant in _ENGINES:
        if importlib.util.find_spec(variant) is None:
            skipped[variant] = f"pip install {variant}"
        elif variant != "ncnn" and importlib.util.find_spec("paddle2onnx") is None:
            skipped[variant] = "pip install paddle2onnx, which makes the ONNX file"
        elif variant == "ncnn" and work.network != "RRDBNet":
            skipped[variant] = "our writer of ncnn files does not know the network"
    if work.training:
        skipped |= dict.fromkeys(("auto", *_ENGINES), "it does not train")
    return [variant for variant in _TITLES if variant not in skipped], skipped


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """All variants of a row, in turns."""
    work = WORKS[name]
    variants, skipped = usable(work, options.torch_python, options.published)
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"OPENBLAS_NUM_THREADS": "1" if options.busy else str(cores())}
    if options.busy:
        environment["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment["PPSR_HOME"] = temporary  # `auto` measures, and does not remember

        def command(worker: str) -> list[str]:
            python = options.torch_python if worker in TORCH else sys.executable
            words = [python, str(Path(__file__).resolve()), "--only", name, "--worker", worker]
            words += ["--folder", temporary, *(["--busy"] if options.busy else [])]
            return [*words, "--published", str(options.published)] if options.published else words

        formats = {"onnx" if v in ("openvino", "onnxruntime") else v for v in variants}
        subprocess.run([*command("prepare"), "--formats", ",".join(formats)], check=True, env=environment)

        def start(variant: str) -> subprocess.Popen:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            return subprocess.Popen(command(variant), env=environment, **pipes)

        turns = take_turns(variants, start, options.repeats)
        chosen = (folder / "auto.txt").read_text("utf-8") if "auto" in variants else ""
        results = {variant: np.load(folder / f"{variant}.npy") for variant in variants}
    ours = results["paddle"]
    errors = {v: float(np.abs(result - ours).max() / np.abs(ours).max()) for v, result in results.items()}
    return {
        "name": "peers",
        "case": f"{work.title}, {work.batch}x3x{work.size}x{work.size}",
        "unit": "s",
        "minimum": {variant: round(seconds, 4) for variant, seconds in turns.fastest.items()},
        "median": {variant: round(seconds, 4) for variant, seconds in turns.seconds.items()},
        "auto": chosen,
        "ratio": round(ratio(turns.fastest), 3),
        "error": {variant: float(f"{error:.1e}") for variant, error in errors.items()},
        "peak_mib": turns.peak_mib,
        "skipped": skipped,
        "repeats": options.repeats,
        "threads": 1 if options.busy else cores(),
        "clock": "processor" if options.busy else "wall",
        "load": round(turns.load, 2),
    }


def ratio(fastest: dict[str, float]) -> float:
    """The best of ppsr / the best of the others; nan without any."""
    others = [seconds for variant, seconds in fastest.items() if variant not in OURS]
    return min(fastest[v] for v in OURS if v in fastest) / min(others, default=float("nan"))


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: minimum (median) of each, in seconds."""
    head = ["work", *_TITLES.values(), "ppsr / best of the others"]
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for line in lines:
        least, middle = line["minimum"], line["median"]
        cells = {v: f"{least[v]:.3g} ({middle[v]:.3g})" if v in least else "–" for v in _TITLES}
        cells["auto"] += f" {line['auto']}" if line["auto"] else ""
        rows.append(f"| {' | '.join([line['case'], *cells.values(), format(line['ratio'], '.2f')])} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(WORKS), help="rows, with commas")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--torch-python", default=os.environ.get("PPSR_TORCH_PYTHON", sys.executable))
    parser.add_argument("--published", type=Path, help="folder of the clones HAT and DRCT")
    parser.add_argument("--output", type=Path, default=Path("output/peers"))
    parser.add_argument("--busy", action="store_true", help="one thread, processor time instead of wall time")
    parser.add_argument("--report", action="store_true", help="fill docs/performance.md, measure nothing")
    for hidden in ("--worker", "--formats"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_worker(options)
        return 0
    names = options.only.split(",")
    unknown = [name for name in names if name not in WORKS]
    if unknown:
        parser.error(f"no row is called {unknown[0]!r}; there are {', '.join(WORKS)}")
    if not options.report:
        options.output.mkdir(parents=True, exist_ok=True)
        for name in names:
            line = json.dumps(measure(name, options))
            (options.output / f"{name}.json").write_text(line, encoding="utf-8")
            print(line, flush=True)
    kept = [options.output / f"{name}.json" for name in names]
    text = table([json.loads(path.read_text("utf-8")) for path in kept if path.exists()])
    if options.report:
        from recipes_report import fill

        fill("peers", text, _PAGE, _CHINESE)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
