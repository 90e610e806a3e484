"""Tables and figures of docs/recipes.md and docs/recipes.zh.md, from the results of recipes.py."""

from __future__ import annotations

import re
import statistics
import sys
import textwrap
from pathlib import Path

PAGE = Path("docs/recipes.md")  # its translation is recipes.zh.md beside it
IMAGES = Path("docs/images")
KNOWN = ("bicubic", "blur2_bicubic")  # within the mix of quickstart_reflash.yaml; the other six are not
# Wording of the tables -> of the Chinese page's
CHINESE = (
    (
        r"recipe \| config \| steps \| bicubic \| at the end \| gain",
        "方案 | 配置 | 步数 | 双三次 | 结束时 | 增益",
    ),
    (r"SRResNet, dropout", "SRResNet，dropout"),
    (r"SRResNet, aligned", "SRResNet，对齐"),
    (r"degradation \| bicubic", "退化 | 双三次"),
    (r"mean of the (\d+) trained", r"训练过的 \1 种的均值"),
    (r"mean of the (\d+) not trained", r"未训练过的 \1 种的均值"),
    (r"the mix itself", "混合退化本身"),
    (r"PSNR in dB, RGB, border 4", "PSNR 以 dB 计，RGB，裁边 4"),
    (r"; mean ± standard deviation over seeds \((.*)\)\.", r"；各种子的均值 ± 标准差（种子数：\1）。"),
)

# label, score of bicubic, scores of each variant's seeds
Row = tuple[str, float, dict[str, list[float]]]


def learning(results: dict[str, dict]) -> None:
    """Curves and table of single runs by their titles."""
    if results:
        draw_learning(results)
        fill("learning", learning_table(results))


def unseen(by_variant: dict[str, list[dict]], bicubic: dict[str, float]) -> None:
    """Figure and table of the experiment: the runs of each variant, and bicubic by degradation."""
    rows = unseen_rows(by_variant, bicubic)
    draw_unseen(rows)
    fill("unseen", unseen_table(rows))


def learning_table(results: dict[str, dict]) -> str:
    """Markdown: one row per recipe."""
    head = ("recipe", "config", "steps", "bicubic", "at the end", "gain")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for title, result in results.items():
        step, last = result["curve"][-1]
        base = result["bicubic"]
        lines.append(
            f"| {title} | `{Path(result['config']).name}` | {step} "
            f"| {base:.2f} | {last:.2f} | {last - base:+.2f} |"
        )
    return "\n".join(lines)


def unseen_rows(by_variant: dict[str, list[dict]], bicubic: dict[str, float]) -> list[Row]:
    """By degradation, of the means of those within the mix and of the others, and of the mix itself."""
    from ppsr.degradations.reflash_benchmark import VARIANTS

    groups = [(label, [key]) for key, label in VARIANTS.items()]
    groups.append((f"mean of the {len(KNOWN)} trained", list(KNOWN)))
    unknown = [key for key in VARIANTS if key not in KNOWN]
    groups.append((f"mean of the {len(unknown)} not trained", unknown))
    rows = []
    for label, keys in groups:
        scores = {
            variant: [statistics.mean(run["unseen"][key] for key in keys) for run in runs]
            for variant, runs in by_variant.items()
        }
        rows.append((label, statistics.mean(bicubic[key] for key in keys), scores))
    own = {variant: [run["curve"][-1][1] for run in runs] for variant, runs in by_variant.items()}
    first = next(iter(by_variant.values()))[0]
    return [*rows, ("the mix itself", first["bicubic"], own)]


def spread(values: list[float]) -> float:
    """Standard deviation over seeds; 0 for one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def unseen_table(rows: list[Row]) -> str:
    """Markdown: mean and spread of each variant, by degradation."""
    variants = list(rows[0][2])
    lines = [f"| degradation | bicubic | {' | '.join(variants)} |", "|---" * (2 + len(variants)) + "|"]
    for label, base, scores in rows:
        cells = [f"{statistics.mean(values):.2f} ± {spread(values):.2f}" for values in scores.values()]
        lines.append(f"| {label} | {base:.2f} | {' | '.join(cells)} |")
    seeds = ", ".join(f"{variant} {len(values)}" for variant, values in rows[0][2].items())
    note = f"PSNR in dB, RGB, border 4; mean ± standard deviation over seeds ({seeds})."
    return "\n".join([*lines, "", note])


def draw_learning(results: dict[str, dict], target: Path | None = None) -> None:
    """A panel per recipe: validation PSNR by step, bicubic, and a published score where there is one."""
    from matplotlib.figure import Figure

    from ppsr.analysis.figures import save_figure

    columns = 3
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.5 * rows), layout="constrained")
    for place, (title, result) in enumerate(results.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        steps, values = zip(*result["curve"], strict=True)
        axes.plot(steps, values, marker=".", label="network")
        axes.axhline(result["bicubic"], color="0.4", linestyle="--", label="bicubic")
        if result.get("published"):
            axes.axhline(result["published"], color="C2", linestyle=":", label="published")
        # the first scores can lie far below; the way past bicubic is what counts
        axes.set_ylim(bottom=max(min(values), result["bicubic"] - 1.5) - 0.05)
        axes.set_title(textwrap.fill(title, 30))
        axes.set(xlabel="step", ylabel="PSNR (dB)")
        axes.legend(loc="lower right")
    save_figure(figure, target or IMAGES / "recipes_learning", results)


def draw_unseen(rows: list[Row]) -> None:
    """Gain over plain training by degradation: a dot per seed, a bar for the mean."""
    from matplotlib.figure import Figure

    from ppsr.analysis.figures import save_figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.add_subplot()
    others = [variant for variant in rows[0][2] if variant != "plain"]
    width = 0.8 / max(1, len(others))
    for place, (_, _, scores) in enumerate(rows):
        plain = statistics.mean(scores["plain"])
        for number, variant in enumerate(others):
            x = place + (number - (len(others) - 1) / 2) * width
            gains = [value - plain for value in scores[variant]]
            label = "_" if place else variant
            axes.bar(x, statistics.mean(gains), 0.9 * width, color=f"C{number}", alpha=0.5, label=label)
            axes.plot([x] * len(gains), gains, ".", color=f"C{number}")
        gains = [value - plain for value in scores["plain"]]
        label = "_" if place else "plain, each seed"
        axes.plot([place] * len(gains), gains, "k_", markersize=10, label=label)
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xticks(range(len(rows)), [label for label, _, _ in rows], rotation=25, ha="right")
    axes.set_ylabel("PSNR over plain's mean (dB)")
    axes.legend()
    report = [{"degradation": label, "bicubic": base, "scores": scores} for label, base, scores in rows]
    save_figure(figure, IMAGES / "recipes_unseen", {"rows": report})


def in_chinese(text: str, wording: tuple[tuple[str, str], ...] = CHINESE) -> str:
    """A table as the Chinese page has it."""
    for english, chinese in wording:
        text = re.sub(english, chinese, text)
    return text


def fill(
    name: str, text: str, page: Path | None = None, wording: tuple[tuple[str, str], ...] = CHINESE
) -> None:
    """Replace what stands between the markers `<!-- name -->` and `<!-- /name -->` of both pages.

    Raises:
        SystemExit: a page has no such markers.
    """
    from ppsr.files import atomic_write

    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page = page or PAGE
    for file, table in ((page, text), (page.with_suffix(".zh.md"), in_chinese(text, wording))):
        filled, count = pattern.subn(lambda m, table=table: f"{m[1]}{table}\n{m[2]}", file.read_text("utf-8"))
        if not count:
            sys.exit(f"{file} has no place <!-- {name} -->")
        atomic_write(file, filled)
