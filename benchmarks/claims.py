"""The claims of the papers at the size of a CPU core: each part on and off, with three seeds.

A run is what `tools/main.py` does, in a folder of its own; a stopped one resumes where it was, a finished one
is left as it is. `--report` fills the table of docs/results.md. The data are those of training_runs.py
(`--prepare`).

    python benchmarks/claims.py                                # all of them: hours
    python benchmarks/claims.py --only dual,dense
    python benchmarks/claims.py --report
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import command, newest_weights, start, train

SEEDS = (0, 1, 2)
PARTS = ("without", "with")
# Wording of the table -> of the Chinese page's
CHINESE = (
    (r"part \| steps \| score \| without \| with", "部分 | 步数 | 分数 | 无 | 有"),
    (r"difference by seed \| hours", "各种子的差 | 小时"),
    (r"cross dropout", "交叉 dropout"),
    (r"channel dropout", "通道 dropout"),
    (r"dual networks", "对偶网络"),
    (r"dense connections \(DRCT x2 instead of SwinIR\)", "密集连接 (DRCT x2 对 SwinIR)"),
    (r", fine-tuned", "，微调"),
    (r"2 trained degradations", "训练过的 2 种退化"),
    (r"6 others", "其余 6 种"),
    (r"DASR's type", "DASR 类型 "),
    (r"diffusion index", "扩散指数"),
    (r"contrast after / before the group", "组后 / 组前的对比度"),
    (r"effective rank after the group, % of channels", "组后的有效秩，占通道 %"),
    (r"effective rank after the body, % of channels", "主体后的有效秩，占通道 %"),
)
Scores = dict[str, float]


def benchmark_scores(net: Any) -> Scores:
    """PSNR on RGB of Reflash's benchmark on Set5: of what quickstart_reflash.yaml covers, and of the rest."""
    from recipes import score_benchmark
    from recipes_report import KNOWN

    from ppsr.inference.upscaler import Upscaler

    found = score_benchmark("data/Set5/HR", Upscaler(net, tile=0))
    unknown = [value for key, value in found.items() if key not in KNOWN]
    return {
        "2 trained degradations": statistics.mean(found[key] for key in KNOWN),
        "6 others": statistics.mean(unknown),
    }


def classic_scores(net: Any, scale: int) -> Scores:
    """PSNR on Y of LR that bicubic interpolation has shrunk."""
    from ppsr.evaluation.evaluate import evaluate
    from ppsr.inference.upscaler import Upscaler

    sets = ("Set5", "Set14")
    upscaler = Upscaler(net)
    return {
        name: evaluate(upscaler, scale=scale, gt=f"data/{name}/HR", name=name).means["psnr"] for name in sets
    }


def classic_x4(net: Any) -> Scores:
    """`classic_scores` of x4."""
    return classic_scores(net, 4)


def attention_scores(net: Any) -> Scores:
    """`classic_scores` of x2; of windows of Set5's LR images, means of LAM's index and of the features."""
    import numpy as np

    from ppsr.analysis.feature_maps import feature_maps
    from ppsr.analysis.feature_maps import statistics as of_maps
    from ppsr.analysis.lam import LamSettings, lam
    from ppsr.imaging import read_image

    found: dict[str, list[float]] = {}
    for path in sorted(Path("data/Set5/LR_bicubic/X2").iterdir()):
        lq = np.ascontiguousarray(read_image(path).transpose(2, 0, 1)[:, 32:80, 32:80], np.float32)
        maps = feature_maps(net, lq, ["patch_embed", "layers.0", "conv_after_body"])
        first, group, last = (of_maps(values) for _, values in maps.values())
        values = {
            "diffusion index": lam(net, lq, LamSettings(fold=10)).diffusion_index,
            "contrast after / before the group": group.contrast / first.contrast,
            "effective rank after the group, % of channels": 100 * group.rank_share,
            "effective rank after the body, % of channels": 100 * last.rank_share,
        }
        for key, value in values.items():
            found.setdefault(key, []).append(value)
    return classic_scores(net, 2) | {key: statistics.mean(values) for key, values in found.items()}


def dasr_scores(net: Any) -> Scores:
    """PSNR on Y of DASR's three types on Set14."""
    from training_runs_scores import degradation_scores

    from ppsr.inference.upscaler import Upscaler

    found = degradation_scores("dasr", Upscaler(net))
    return {f"DASR's {kind}": scores["psnr"] for kind, scores in found.items()}


@dataclass(frozen=True)
class Claim:
    """A part of a method, and the two trainings that it makes the difference between.

    Attributes:
        title: of its rows.
        config: file name in configs.
        steps: of both trainings.
        score: network -> numbers to compare.
        options: overrides of both trainings.
        without, added: overrides of the training without it and with it.
    """

    title: str
    config: str
    steps: int
    score: Callable[[Any], Scores]
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def cosine(rate: float, steps: int) -> tuple[str, ...]:
    """SOAP with one cosine period of all steps."""
    return (
        f"lr_scheduler={{name: CosineAnnealingRestartLR, learning_rate: {rate}, periods: [{steps}], "
        f"restart_weights: [1], eta_min: 1.0e-5, warmup_iters: {steps // 10}}}",
    )


DROPOUT = ("model.generator.dropout={type: channel, p: 0.1, positions: [last]}",)
PUBLISHED = (
    "model.generator={name: RRDBNet, num_in_ch: 3, num_out_ch: 3, scale: 4, num_feat: 64, num_block: 23, "
    "num_grow_ch: 32}",
    "load.generator.path=realesrgan-x4plus",
    "dataset.test.gt_folder=data/Set5/HR",
    *cosine(1e-4, 400),
    "dataset.train.gt_folder=data/T291_BSDS/HR",
    "dataset.train.meta_info=data/T291_BSDS/meta_info.txt",
    "dataset.train.num_workers=0",
    "dataset.train.batch_size=2",
    "ema.decay=0.99",
)
CLAIMS = {
    "cross_dropout": Claim(
        "cross dropout (CDDNet)",
        "cddnet_small_x4",
        1500,
        dasr_scores,
        (
            *cosine(2e-3, 1500),
            "dataset.train.gt_size=64",
            "model.generator.num_feat=16",
            "model.generator.num_block=8",
            "model.predictor.nf=16",
        ),
        without=("model.generator.column_dropout=0", "model.generator.row_dropout=0"),
    ),
    "dual": Claim(
        "dual networks (DRN x4)",
        "drn_small_x4",
        1500,
        classic_x4,
        (*cosine(3e-3, 1500), "model.generator.n_feats=8", "model.generator.n_blocks=3"),
        without=("model.dual_loss_weight=0",),
    ),
    "dense": Claim(
        "dense connections (DRCT x2 instead of SwinIR)",
        "drct_small_x2",
        1500,
        attention_scores,
        cosine(3e-3, 1500),
        without=(
            "model.generator={name: SwinIR, img_size: 16, window_size: 8, embed_dim: 32, depths: [9], "
            "num_heads: [4], mlp_ratio: 2, drop_path_rate: 0.0, upscale: 2, upsampler: pixelshuffle, "
            "resi_connection: 1conv}",
        ),
    ),
    "rrdb": Claim(
        "channel dropout (Real-ESRGAN's RRDB, fine-tuned)",
        "quickstart_reflash",
        400,
        benchmark_scores,
        PUBLISHED,
        added=DROPOUT,
    ),
}


def main() -> int:
    """Train what is missing, then report; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default=",".join(CLAIMS), help="names of claims, with commas, in this order"
    )
    parser.add_argument("--report", action="store_true", help="fill docs/results.md, train nothing")
    parser.add_argument("--output", type=Path, default=Path("output/claims"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    start(arguments.threads)
    if arguments.report:
        report(arguments.output)
        return 0
    for name in arguments.only.split(","):
        for seed in SEEDS:
            for part in PARTS:
                perform(name, part, seed, arguments.output)
    return 0


def settings(claim: Claim, part: str) -> tuple[str, list[str]]:
    """Config file and overrides of a training."""
    options = [f"total_iters={claim.steps}", *claim.options]
    options += [f"validate.interval={claim.steps}", f"snapshot_config.interval={claim.steps}"]
    options += claim.without if part == "without" else claim.added
    return f"configs/{claim.config}.yaml", options


def perform(name: str, part: str, seed: int, output: Path) -> None:
    """Train one run, or the rest of it, and write its scores to `<output>/<run>.json`.

    Raises:
        SystemExit: the training ended with an error.
    """
    from training_runs import hours
    from training_runs_scores import machine

    from ppsr.files import atomic_write
    from ppsr.inference.network import load_network

    claim, run = CLAIMS[name], f"{name}_{part}_{seed}"
    target = output / f"{run}.json"
    if target.exists():
        return
    print(run, flush=True)
    config, options = settings(claim, part)
    options.append(f"output_dir={output / run}")
    train(run, command(config, seed, options))
    scores = claim.score(load_network(config, newest_weights(output / run), options))
    result = {"config": config, "options": options, "seed": seed, "scores": scores, "machine": machine()}
    atomic_write(target, json.dumps(result | {"hours": hours(output / run)}, indent=1))


def report(output: Path) -> None:
    """Fill the table of the page from the results that are there."""
    from recipes_report import fill
    from training_runs_report import PAGE

    fill("claims", table(output), PAGE, CHINESE)


def table(output: Path) -> str:
    """Markdown: a row for each number of each claim; those of the page where not all runs are there."""
    from training_runs_report import PAGE

    last = PAGE.read_text("utf-8").splitlines()
    head = ("part", "steps", "score", "without", "with", "difference by seed", "hours")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, claim in CLAIMS.items():
        files = {part: [output / f"{name}_{part}_{seed}.json" for seed in SEEDS] for part in PARTS}
        if not all(file.exists() for group in files.values() for file in group):
            lines += [line for line in last if line.startswith(f"| {claim.title} |")]
            continue
        runs = {part: [json.loads(file.read_text("utf-8")) for file in files[part]] for part in PARTS}
        spent = sum(run["hours"] for group in runs.values() for run in group)
        for score in runs["with"][0]["scores"]:
            values = {part: [run["scores"][score] for run in runs[part]] for part in PARTS}
            pairs = zip(values["with"], values["without"], strict=True)
            differences = ", ".join(f"{on - off:+.2f}" for on, off in pairs)
            cells = [
                f"{statistics.mean(group):.2f} ± {statistics.stdev(group):.2f}" for group in values.values()
            ]
            texts = (claim.title, str(claim.steps), score, *cells, differences, f"{spent:.2f}")
            lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
