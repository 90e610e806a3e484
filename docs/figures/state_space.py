"""The figure of docs/mambadrct.md: python docs/figures/state_space.py writes docs/images/mambadrct.svg."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from draw import Figure

IMAGES = Path(__file__).parents[1] / "images"
HEIGHT, GAP = 44, 22


def chain(figure: Figure, x: int, y: int, cells: list[tuple[str, str, int]]) -> int:
    """Boxes from left to right with arrows between them; returns the right end."""
    for number, (words, kind, width) in enumerate(cells):
        if number:
            figure.arrow((x - GAP, y + HEIGHT // 2), (x, y + HEIGHT // 2))
        figure.box(x, y, width, HEIGHT, words, kind)
        x += width + GAP
    return x - GAP


def mambadrct() -> Figure:
    figure = Figure(1010, 560, "MambaDRCT: groups of DRCT whose blocks scan the image in four directions")
    figure.frame(
        20,
        15,
        970,
        150,
        "a group of DRCT (six of them): block k sees the input and what the blocks before it added",
    )
    x, y, main = 76, 90, 62
    figure.words(40, main, "x")
    figure.arrow((48, main), (x + 55, main), (x + 55, y))
    for number in range(1, 6):
        figure.box(x, y, 110, HEIGHT, f"state-space\nblock {number}", "attention")
        figure.words(x + 55, y + HEIGHT + 14, f"1x1 conv: {'gc' if number < 5 else 'C'}")
        if number < 5:
            figure.plus(x + 138, main, "C")
            figure.arrow((x + 110, y + 22), (x + 138, y + 22), (x + 138, main + 12))
            figure.arrow((x + 55, main), (x + 126, main))
            figure.arrow((x + 149, main), (x + 223, main), (x + 223, y))
        x += 168
    figure.arrow((x - 58, y + 22), (x - 26, y + 22), (x - 26, main + 12))
    figure.plus(x - 26, main)
    figure.words(x + 4, y + 22, "times 0.2", anchor="start")
    figure.arrow((60, main), (60, 40), (x - 26, 40), (x - 26, main - 12))
    figure.arrow((x - 15, main), (x + 50, main))

    figure.frame(
        20, 180, 970, 130, "a state-space block (MambaIR's): two branches, each with a scaled way around it"
    )
    figure.words(40, 257, "x")
    figure.arrow((48, 257), (76, 257))
    end = chain(
        figure, 76, 235, [("layer norm", "plain", 90), ("four scans, gated\n(below)", "special", 140)]
    )
    figure.arrow((end, 257), (end + 29, 257))
    figure.plus(end + 40, 257)
    figure.arrow((62, 257), (62, 215), (end + 40, 215), (end + 40, 245))
    figure.words(200, 226, "times a scale per channel")
    start = end + 86
    figure.arrow((end + 51, 257), (start, 257))
    second = chain(
        figure,
        start,
        235,
        [
            ("layer norm", "plain", 90),
            ("1x1, depthwise,\nGELU, 1x1, depthwise", "conv", 170),
            ("channel\nattention", "attention", 90),
        ],
    )
    figure.arrow((second, 257), (second + 29, 257))
    figure.plus(second + 40, 257)
    figure.arrow((start - 20, 257), (start - 20, 215), (second + 40, 215), (second + 40, 245))
    figure.words(start + 200, 226, "times a scale per channel")
    figure.arrow((second + 51, 257), (second + 90, 257))

    figure.frame(
        20,
        325,
        970,
        220,
        "four scans: each pixel gets what the pixels before it on the path left in N states per channel",
    )
    figure.arrow((32, 385), (54, 385))
    figure.box(54, 363, 80, HEIGHT, "linear,\nhalves", "conv")
    figure.arrow((134, 385), (156, 385))
    end = chain(figure, 156, 363, [("depthwise 3x3,\nSiLU", "conv", 120)])
    paths = ("rows", "columns", "rows, backwards", "columns, backwards")
    for number, path in enumerate(paths):
        top = 350 + 40 * number
        figure.arrow((end, 385), (end + 20, 385), (end + 20, top + 15), (end + 44, top + 15))
        figure.box(end + 44, top, 150, 30, path, "special")
        figure.arrow((end + 194, top + 15), (end + 224, top + 15), (end + 224, 408 if number < 2 else 420))
    figure.plus(end + 224, 414)
    figure.arrow((end + 235, 414), (end + 262, 414))
    figure.box(end + 262, 392, 90, HEIGHT, "layer norm", "plain")
    figure.arrow((end + 352, 414), (end + 379, 414))
    figure.plus(end + 390, 414, "x")
    figure.arrow((end + 401, 414), (end + 428, 414))
    figure.box(end + 428, 392, 80, HEIGHT, "linear", "conv")
    figure.arrow((end + 508, 414), (end + 545, 414))
    figure.arrow((94, 407), (94, 530), (end + 390, 530), (end + 390, 426))
    figure.words(end + 300, 518, "gate: SiLU of the other half")
    for number, line in enumerate(
        (
            "for each direction, channel and state:",
            "h(t) = exp(dt A) h(t-1) + dt B x(t)",
            "y(t) = C h(t) + D x(t)",
            "dt, B and C depend on the pixel",
        )
    ):
        figure.words(end + 420, 464 + 19 * number, line, anchor="start")
    return figure


if __name__ == "__main__":
    mambadrct().save(IMAGES / "mambadrct.svg")
