"""Tables and curves of docs/results.md and docs/results.zh.md, from the results of training_runs.py."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from recipes_report import IMAGES, draw_learning, fill

PAGE = Path("docs/results.md")
FIGURE = IMAGES / "training_runs"
# Wording of the tables -> of the Chinese page's
CHINESE = (
    (r"network \| steps \| Set5 \| published", "网络 | 步数 | Set5 | 公开"),
    (r"\| difference \| bicubic \| B100 \| bicubic", "| 差 | 双三次 | B100 | 双三次"),
    (r"network \| config \| command \| seed \| hours \| machine", "网络 | 配置 | 命令 | 种子 | 小时 | 机器"),
    (r"(\d) thread", r"\1 线程"),
    (r"(\d+) of (\d+)", r"\1，共 \2"),
    (r"FSRCNN's paper", "FSRCNN 论文"),
    (r"ESPCN's paper", "ESPCN 论文"),
    (r", one group of width (\d+)", r"，1 组，宽 \1"),
    (r", stage (\d)", r"，第 \1 阶段"),
    (r", (\d+) steps", r"，\1 步"),
    (r", (\d+) blocks of width (\d+)", r"，\1 块，宽 \2"),
    (r"degradation \| bicubic", "退化 | 双三次"),
    (r"\| mean \|", "| 均值 |"),
    (r", dropout", "，dropout"),
    (r", aligned", "，对齐"),
)


def last_results() -> dict[str, dict]:
    """What the figure of the page was drawn from, by titles."""
    data = FIGURE.with_suffix(".json")
    return json.loads(data.read_text("utf-8")) if data.exists() else {}


def write(results: dict[str, dict]) -> None:
    """Draw the curves and fill both pages."""
    if not results:
        return
    by_protocol: dict[str, dict[str, dict]] = {}
    for name, result in results.items():
        by_protocol.setdefault(result.get("protocol", "classic"), {})[name] = result
    for protocol, group in by_protocol.items():
        if protocol == "classic":
            fill("scores", scores_table(group), PAGE, CHINESE)
        else:
            fill(protocol, degradations_table(group), PAGE, CHINESE)
    fill("runs", runs_table(results), PAGE, CHINESE)
    draw_learning({result["title"]: result for result in results.values()}, FIGURE)


def scores_table(results: dict[str, dict]) -> str:
    """Markdown: what each run reached, beside the published number and bicubic."""
    head = ("network", "steps", "Set5", "published", "difference", "bicubic", "B100", "bicubic")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for result in results.values():
        set5, published = result["scores"]["Set5"], result["published"]
        b100, bicubic = (result[key].get("B100") for key in ("scores", "bicubic_scores"))
        done = result["steps"]
        cells = [
            result["title"],
            str(done) if done == result["total"] else f"{done} of {result['total']}",
            f"{set5['psnr']:.2f} / {set5['ssim']:.4f}",
            f"{published:.2f} ({result['source']})" if published else "–",
            f"{set5['psnr'] - published:+.2f}" if published else "–",
            f"{result['bicubic']:.2f}",
            f"{b100['psnr']:.2f} / {b100['ssim']:.4f}" if b100 else "–",
            f"{bicubic['psnr']:.2f}" if bicubic else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def degradations_table(results: dict[str, dict]) -> str:
    """Markdown: blind networks of one protocol beside bicubic enlargement, by degradation."""
    columns = {"bicubic": next(iter(results.values()))["bicubic_scores"]}
    columns |= {result["title"]: result["scores"] for result in results.values()}
    lines = [f"| degradation | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for degradation in columns["bicubic"]:
        cells = [score_text(scores[degradation]) for scores in columns.values()]
        lines.append(f"| {degradation} | {' | '.join(cells)} |")
    means = [
        {
            metric: statistics.mean(row[metric] for row in scores.values())
            for metric in next(iter(scores.values()))
        }
        for scores in columns.values()
    ]
    return "\n".join([*lines, f"| mean | {' | '.join(map(score_text, means))} |"])


def score_text(scores: dict[str, float]) -> str:
    """PSNR, SSIM where it was measured, and sharpness."""
    digits = {"psnr": 2, "ssim": 4, "sharpness": 3}
    return " / ".join(f"{scores[metric]:.{places}f}" for metric, places in digits.items() if metric in scores)


def runs_table(results: dict[str, dict]) -> str:
    """Markdown: how each run is made again."""
    head = ("network", "config", "command", "seed", "hours", "machine")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, result in results.items():
        cells = [
            result["title"],
            f"`{result['config']}`",
            f"`python benchmarks/training_runs.py --only {name}`",
            str(result["seed"]),
            f"{result['hours']:.2f}",
            result["machine"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
