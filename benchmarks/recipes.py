"""Every recipe learns: small runs on a CPU, and the experiment on degradations that were never trained.

Each run is what `tools/main.py` does, in a folder of its own; a stopped run resumes where it
was, a finished one is left as it is. Then the curves are drawn and the tables of docs/recipes.md filled,
which `--report` does alone.

    python benchmarks/recipes.py --train data/T91 --test data/Set14/HR
    python benchmarks/recipes.py --only drn,drct
    python benchmarks/recipes.py --report

The experiment follows the claim of Kong et al. (CVPR 2022, arXiv:2112.12089) and Wang et al. (CVPR 2024,
arXiv:2402.18929): networks that see one mix of degradations are scored on the eight of the first paper's
benchmark.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import command, newest_weights, start, train

SAMPLES = Path("data/samples")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of its folder and of `--only`.
        title: of its row and panel.
        config: file name in configs.
        seed: of everything random.
        options: overrides.
        variant: its place in the experiment on unseen degradations, "" for none.
    """

    name: str
    title: str
    config: str
    seed: int = 0
    options: tuple[str, ...] = ()
    variant: str = ""


VARIANTS = {
    "plain": ("quickstart_reflash", ()),
    "dropout": ("quickstart_reflash_dropout", ()),
    "align": ("quickstart_reflash_align", ()),
    "two views": ("quickstart_reflash_align", ("linear_weight=0", "nonlinear_weight=0")),
}
TITLES = {"plain": "Real-SRResNet", "dropout": "Real-SRResNet, dropout", "align": "Real-SRResNet, aligned"}


def _experiment(seed: int, variants: tuple[str, ...]) -> list[Run]:
    runs = []
    for variant in variants:
        config, weights = VARIANTS[variant]
        options = tuple(f"model.align_criterion.{weight}" for weight in weights)
        options += ("validate.interval=800",) if seed else ()  # the curve is drawn of seed 0
        name = f"{variant.replace(' ', '_')}_{seed}"
        runs.append(Run(name, TITLES.get(variant, ""), config, seed, options, variant))
    return runs


RUNS = (
    *_experiment(0, ("plain", "dropout", "align")),
    Run("drn", "DRN x4", "quickstart_drn"),
    Run("drct", "DRCT x2", "quickstart_drct_x2"),
    Run("cddnet", "CDDNet x4", "quickstart", 0, ("validate.interval=100", "validate.save_img=false")),
    *_experiment(1, ("plain", "dropout", "align")),
    *_experiment(2, ("plain", "dropout", "align")),
    Run("swinir", "SwinIR x2", "quickstart_swinir_x2"),
    *(run for seed in SEEDS for run in _experiment(seed, ("two views",))),
)


def main() -> int:
    """Train what is missing, then report; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", help="names of runs, or their beginnings, with commas, in this order"
    )
    parser.add_argument("--report", action="store_true", help="draw and write what is there, train nothing")
    parser.add_argument("--output", type=Path, default=Path("output/recipes"))
    parser.add_argument("--train", default=str(SAMPLES / "train"), help="HR images of the experiment")
    parser.add_argument("--test", default=str(SAMPLES / "val"), help="HR images that it is scored on")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    start(arguments.threads)
    if not arguments.report:
        prepare()
        chosen = [run for name in arguments.only.split(",") for run in RUNS if run.name.startswith(name)]
        for number, run in enumerate(chosen, 1):
            print(f"[{number}/{len(chosen)}] {run.name}", flush=True)
            perform(run, arguments)
    report(arguments.output)
    return 0


def prepare() -> None:
    """The sample images and their LR versions."""
    from ppsr.prepare.bicubic import Bicubic
    from ppsr.prepare.dasr_valid import DASRValidation
    from ppsr.prepare.samples import make_samples

    make_samples(SAMPLES).require_all()
    DASRValidation(SAMPLES / "val_LRx4", kind=2).make(SAMPLES / "val").require_all()
    for split in ("train", "val"):
        Bicubic(SAMPLES / f"{split}_bicubic", scales=(2, 4)).make(SAMPLES / split)


def perform(run: Run, arguments: argparse.Namespace) -> None:
    """Train one run, or the rest of it, and write what came out to `<output>/<name>.json`."""
    from ppsr.files import atomic_write

    target = arguments.output / f"{run.name}.json"
    if target.exists():
        return
    folder = arguments.output / run.name
    options = [f"output_dir={folder}", *run.options]
    if run.variant:
        options += [f"dataset.train.gt_folder={arguments.train}", f"dataset.test.gt_folder={arguments.test}"]
    config = f"configs/{run.config}.yaml"
    train(run.name, command(config, run.seed, options))
    result = {
        "seed": run.seed,
        "config": config,
        "options": list(run.options),
        **learned(folder, config, options),
    }
    if run.variant:
        result |= {"train": arguments.train, "test": arguments.test}
        result["unseen"] = score_unseen(config, newest_weights(folder), options, arguments.test)
    atomic_write(target, json.dumps(result, indent=1))


def learned(folder: Path, config: str, options: list[str]) -> dict:
    """PSNR by step, that of bicubic enlargement on the same images, and the alignment terms at the end."""
    lines = [json.loads(line) for log in sorted(folder.glob("*/scalars.jsonl")) for line in log.open()]
    curve = {line["step"]: line["psnr"] for line in lines if line["split"] == "validate"}
    last = [line for line in lines if line["split"] == "train"][-1]
    losses = {key: value for key, value in last.items() if key.startswith("l_") or key.endswith("_reg")}
    return {"curve": sorted(curve.items()), "bicubic": bicubic_psnr(config, options), "losses": losses}


def bicubic_psnr(config: str, options: list[str]) -> float:
    """Mean score of MATLAB's bicubic enlargement on the validation images of a config."""
    import numpy as np

    from ppsr.config import check_config, load_config
    from ppsr.engine.loader import build_dataset
    from ppsr.imaging import to_uint8
    from ppsr.imaging.resize import matlab_resize
    from ppsr.registry import METRICS

    experiment = check_config(load_config(config, options))
    dataset, _ = build_dataset(experiment.dataset.test, "dataset.test")
    metric = METRICS.build(experiment.validate_.metrics["psnr"])
    scores = []
    for index in range(len(dataset)):
        gt, lq = (dataset[index][name].transpose(1, 2, 0) for name in ("gt", "lq"))
        sr = matlab_resize(lq, gt.shape[0] // lq.shape[0])
        scores.append(metric(to_uint8(sr), to_uint8(gt)))
    return float(np.mean(scores))


def score_unseen(config: str, weights: Path, options: list[str], test: str) -> dict[str, float]:
    """PSNR (RGB) of a network on each of the benchmark's eight degradations."""
    from ppsr.inference.network import load_network
    from ppsr.inference.upscaler import Upscaler

    return score_benchmark(test, Upscaler(load_network(config, weights, options)))


def score_benchmark(test: str, method: Any) -> dict[str, float]:
    """PSNR of a method (see `ppsr.evaluate`) by degradation."""
    from ppsr.evaluation.evaluate import evaluate

    scored = evaluate(method, protocol="reflash", gt=test, name="set")
    return {score.variant: score.means["psnr"] for score in scored.sets}


def report(output: Path) -> None:
    """Draw the curves and fill the tables of the page from the results that are there."""
    import recipes_report

    found = [(run, output / f"{run.name}.json") for run in RUNS]
    results = {run.name: json.loads(file.read_text()) for run, file in found if file.exists()}
    by_variant: dict[str, list[dict]] = {}
    for run in RUNS:
        if run.variant and run.name in results:
            by_variant.setdefault(run.variant, []).append(results[run.name])
    recipes_report.learning(
        {run.title: results[run.name] for run in RUNS if run.name in results and run.title and not run.seed}
    )
    tests = {result["test"] for runs in by_variant.values() for result in runs}
    if len(tests) > 1:
        sys.exit(f"the runs in {output} were scored on {sorted(tests)}; give another set another --output")
    for test in tests:
        recipes_report.unseen(by_variant, bicubic_reference(output, test))


def bicubic_reference(output: Path, test: str) -> dict[str, float]:
    """The benchmark's scores of bicubic enlargement, computed once."""
    from ppsr.files import atomic_write

    target = output / "bicubic.json"
    if not target.exists():
        atomic_write(target, json.dumps(score_benchmark(test, "bicubic")))
    return json.loads(target.read_text())


if __name__ == "__main__":
    sys.exit(main())
