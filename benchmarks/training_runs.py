"""The trainings behind docs/results.md: start, resume and report them.

A stopped run resumes exactly where it was; a finished one is left as it is. Data are in data/, see
data/README.md; `--prepare` makes the rest of T91, Set5 and BSDS500.

    python benchmarks/training_runs.py --list
    python benchmarks/training_runs.py --prepare
    python benchmarks/training_runs.py --only fsrcnn_x3,fsrcnn_x2
    python benchmarks/training_runs.py --step-time drct_small_x2_long,mambadrct_small_x2
    python benchmarks/training_runs.py --report              # tables and curves, of unfinished runs too
    python benchmarks/training_runs.py --ship fsrcnn_x3      # its averaged weights, in half precision
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import newest_weights, start, step_of, step_times, train

SHIPPED = Path("ppsr/weights/shipped")
CATALOGUE = Path("ppsr/weights/catalogue.json")
SETS = {"Set5": "data/Set5/HR", "B100": "data/BSDS500/val"}
_COST = re.compile(r"Iter: (\d+)/.* batch_cost: ([\d.]+) sec")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of its config and its folder.
        title: of its row.
        scale: enlargement.
        published: PSNR on Set5 to compare with; None: there is none.
        source: where that stands.
        start: run whose averaged weights it begins with; "": from nothing.
        data: what it is trained on, for the licence note.
        averaged: whether the averaged weights count; those of the last step do where the average of a short
            run still holds too much of the initial weights.
        sets: that it is scored on; B100 takes an attention network many minutes on a core.
        protocol: of the score; a blind network, of reflash or dasr, is scored on Set14 instead of `sets`.
    """

    name: str
    title: str
    scale: int
    published: float | None = None
    source: str = ""
    start: str = ""
    data: str = "T91"
    averaged: bool = True
    sets: tuple[str, ...] = ("Set5", "B100")
    protocol: str = "classic"


RUNS = (
    Run("fsrcnn_x3", "FSRCNN x3", 3, 33.06, "FSRCNN's paper, T91"),
    Run("fsrcnn_x2", "FSRCNN x2", 2, 36.94, "FSRCNN's paper, T91", start="fsrcnn_x3"),
    Run("fsrcnn_x4", "FSRCNN x4", 4, 30.55, "FSRCNN's paper, T91", start="fsrcnn_x3"),
    Run("espcn_x3", "ESPCN x3", 3, 32.55, "ESPCN's paper, T91"),
    Run("srvgg_8x32_x4", "SRVGGNetCompact 8x32 x4", 4, data="T91 and BSDS500", averaged=False),
    Run("srvgg_16x64_x4_first", "SRVGGNetCompact 16x64 x4, stage 1", 4, data="T91 and BSDS500"),
    Run(
        "srvgg_16x64_x4",
        "SRVGGNetCompact 16x64 x4",
        4,
        start="srvgg_16x64_x4_first",
        data="T91 and BSDS500",
    ),
    *(
        Run(name, title, 2, data="T91 and BSDS500", sets=("Set5",))
        for name, title in (
            ("drct_small_x2", "DRCT x2, one group of width 32"),
            ("drct_small_x2_long", "DRCT x2, one group of width 32, 2600 steps"),
            ("mambadrct_small_x2", "MambaDRCT x2, one group of width 32"),
        )
    ),
    Run(
        "drct_small_x4",
        "DRCT x4, one group of width 32",
        4,
        start="drct_small_x2",
        data="T91 and BSDS500",
    ),
    Run("drn_small_x4", "DRN x4, 4 blocks of width 16", 4, data="T91 and BSDS500"),
    *(
        Run(name, title, 4, data="T91 and BSDS500", protocol=protocol)
        for name, title, protocol in (
            ("realsrresnet_small_x4", "Real-SRResNet x4", "reflash"),
            ("realsrresnet_small_dropout_x4", "Real-SRResNet x4, dropout", "reflash"),
            ("realsrresnet_small_align_x4", "Real-SRResNet x4, aligned", "reflash"),
            ("cddnet_small_x4", "CDDNet x4", "dasr"),
        )
    ),
)


def main() -> int:
    """Do what the options say; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="names of runs, with commas, in this order")
    parser.add_argument("--list", action="store_true", help="the runs and how far they are")
    parser.add_argument("--prepare", action="store_true", help="make the training and test pairs")
    parser.add_argument("--step-time", default="", help="runs whose processor time per step is measured")
    parser.add_argument("--report", action="store_true", help="score what is there, fill docs/results.md")
    parser.add_argument("--ship", default="", help="run whose weights go into the package")
    parser.add_argument("--output", type=Path, default=Path("output/training_runs"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    start(arguments.threads)
    if arguments.list:
        for run in RUNS:
            print(f"{run.name:20} {run.title:28} {steps_done(arguments.output / run.name)} steps")
    elif arguments.prepare:
        import training_runs_data

        training_runs_data.prepare()
    elif arguments.step_time:
        print(step_times([find(name).name for name in arguments.step_time.split(",")]))
    elif arguments.report:
        report(arguments.output)
    elif arguments.ship:
        print(ship(find(arguments.ship), arguments.output))
    else:
        for run in [find(name) for name in arguments.only.split(",")] if arguments.only else RUNS:
            print(run.name, flush=True)
            perform(run, arguments.output)
    return 0


def find(name: str) -> Run:
    """The run of a name.

    Raises:
        SystemExit: there is none.
    """
    for run in RUNS:
        if run.name == name:
            return run
    sys.exit(f"no run is called {name!r}; there are {', '.join(run.name for run in RUNS)}")


def command(run: Run, output: Path) -> list[str]:
    """What a user types for this run, without the interpreter.

    Raises:
        SystemExit: the run that it begins with has no weights.
    """
    words = ["tools/main.py", "--config-file", f"configs/{run.name}.yaml", "--resume", "auto", "-o"]
    words.append(f"output_dir={output / run.name}")
    if run.start:
        words.append(f"load.generator.path={newest_weights(output / run.start)}")
    return words


def perform(run: Run, output: Path) -> None:
    """Train a run, or the rest of it.

    Raises:
        SystemExit: the training ended with an error.
    """
    train(run.name, command(run, output))


def state_of(run: Run, weights: Path) -> dict:
    """The weights that count of a file."""
    from ppsr.weights import read_weight_file

    file = read_weight_file(weights)
    if "predictor" in file.nets:
        parts = {name: file.state(name) for name in ("generator", "predictor")}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}
    return file.state("generator") if run.averaged else file.nets["generator"]


def network_config(run: Run) -> dict:
    """Name and arguments of the network that upscales: the generator, with its predictor where it has one."""
    from ppsr.config import load_config

    model = load_config(f"configs/{run.name}.yaml")["model"]
    parts = {name: dict(model[name]) for name in ("generator", "predictor") if name in model}
    return {"name": "BlindSR", **parts} if "predictor" in parts else parts["generator"]


def network_of(run: Run, weights: Path) -> Any:
    """That network with the weights of a file."""
    from ppsr.registry import GENERATORS
    from ppsr.weights import load_state

    net = GENERATORS.build(network_config(run))
    load_state(net, state_of(run, weights))
    return net


def steps_done(folder: Path) -> int:
    """Steps of the newest weights; 0 without any."""
    return max(map(step_of, folder.glob("*/iter_*_weight.pdparams")), default=0)


def hours(folder: Path) -> float:
    """Hours of all steps by the log, on the clock; a step that was repeated after a stop counts once."""
    costs: dict[int, float] = {}
    for log in sorted(folder.glob("*/log.txt")):
        costs |= {int(m[1]): float(m[2]) for m in _COST.finditer(log.read_text("utf-8"))}
    steps = sorted(costs)
    return sum(costs[b] * (b - a) for a, b in zip([0, *steps], steps, strict=False)) / 3600


def result_of(run: Run, output: Path) -> dict:
    """All that is reported of a run, scored with its newest averaged weights; kept beside them."""
    from ppsr.files import atomic_write

    weights = newest_weights(output / run.name)  # once, since a running one writes others meanwhile
    kept = weights.with_suffix(".json")
    if not kept.exists():
        atomic_write(kept, json.dumps(scored(run, output, weights)))
    return json.loads(kept.read_text())


def scored(run: Run, output: Path, weights: Path) -> dict:
    """The result of a run with these weights."""
    from recipes import bicubic_psnr
    from training_runs_scores import bicubic_scores, degradation_scores, machine

    from ppsr.config import check_config, load_config
    from ppsr.evaluation.evaluate import evaluate
    from ppsr.inference.upscaler import Upscaler

    folder = output / run.name
    config = f"configs/{run.name}.yaml"
    lines = [json.loads(line) for log in sorted(folder.glob("*/scalars.jsonl")) for line in log.open()]
    curve = {line["step"]: line["psnr"] for line in lines if line["split"] == "validate"}
    experiment = check_config(load_config(config))
    upscaler = Upscaler(network_of(run, weights))
    if run.protocol == "classic":
        scores, bicubic = {}, {}
        for name in run.sets:
            common = {"scale": run.scale, "gt": SETS[name], "name": name}
            scores[name] = evaluate(**common, method=upscaler).means
            bicubic[name] = evaluate(**common, method="bicubic").means
        bicubic_curve = bicubic["Set5"]["psnr"]
    else:
        scores = degradation_scores(run.protocol, upscaler)
        bicubic = bicubic_scores(run.protocol, output)
        bicubic_curve = bicubic_psnr(config, [])
    return {
        "averaged": run.averaged,
        "title": run.title,
        "config": config,
        "command": " ".join(["python", *command(run, output)]),
        "seed": experiment.seed,
        "steps": step_of(weights),
        "total": experiment.total_iters,
        "hours": hours(folder),
        "machine": machine(),
        "curve": sorted(curve.items()),
        "scores": scores,
        "protocol": run.protocol,
        "bicubic": bicubic_curve,
        "bicubic_scores": bicubic,
        "published": run.published,
        "source": run.source,
    }


def report(output: Path) -> None:
    """Score every run that has weights here, keep the last result of the others, and fill the page."""
    import training_runs_report

    kept = training_runs_report.last_results()
    results = {}
    for run in RUNS:
        if steps_done(output / run.name):
            results[run.name] = result_of(run, output)
        elif run.title in kept:
            results[run.name] = kept[run.title]
    training_runs_report.write(results)


def ship(run: Run, output: Path) -> Path:
    """Write the newest averaged weights in half precision into the package, and their catalogue row."""
    import numpy as np

    from ppsr.weights import NetworkSpec, write_state

    state = state_of(run, newest_weights(output / run.name))
    arguments = network_config(run)
    target = SHIPPED / f"{run.name}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    halves = {key: np.ascontiguousarray(value, np.float16) for key, value in state.items()}
    network = dict(arguments)
    write_state(target, halves, networks={"": NetworkSpec(arguments.pop("name"), arguments)})
    enter(catalogue_row(run, target, network), CATALOGUE)
    return target


def catalogue_row(run: Run, target: Path, network: dict) -> str:
    """The text of an entry, in the catalogue's form."""
    from ppsr import __version__
    from ppsr.files import sha256

    file = {
        "name": f"ppsr/weights/shipped/{target.name}",
        "bytes": target.stat().st_size,
        "sha256": sha256(target),
    }
    name = run.name.replace("_", "-")
    licence = f"Apache-2.0; trained on {run.data}, research data"
    purpose = "classical, light" if run.protocol == "classic" else "photo, light"
    return (
        f'  {{"name": "{name}", "scale": {run.scale}, "purpose": "{purpose}", "author": "ppsr", '
        f'"licence": "{licence}",\n   "network": {json.dumps(network)},\n   "sources": '
        f"{json.dumps([{'package': 'ppsr', 'version': __version__, 'files': [file]}])}}}"
    )


def enter(row: str, catalogue: Path) -> None:
    """Put a row in the place of the one of its name, or after the last model."""
    from ppsr.files import atomic_write

    head, last = catalogue.read_text("utf-8").split('\n ],\n "parameters"')
    name = row.split(",", 1)[0]
    rows = [part for part in head.split(',\n  {"name"') if f'  {{"name"{part}'.split(",", 1)[0] != name]
    head = ',\n  {"name"'.join(rows)
    atomic_write(catalogue, f'{head},\n{row}\n ],\n "parameters"{last}')


if __name__ == "__main__":
    sys.exit(main())
