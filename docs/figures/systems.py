"""The figures of the pages about systems: python docs/figures/systems.py writes docs/images/*.svg."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from draw import Figure

IMAGES = Path(__file__).parents[1] / "images"
Cell = tuple[str, str, int]  # words, kind, width


def row(figure: Figure, x: int, y: int, cells: Sequence[Cell], height: int = 46, gap: int = 22) -> list[int]:
    """Boxes from left to right with arrows between them; returns the left edges and, last, the right end."""
    edges = []
    for number, (words, kind, width) in enumerate(cells):
        if number:
            figure.arrow((x - gap, y + height // 2), (x, y + height // 2))
        figure.box(x, y, width, height, words, kind)
        edges.append(x)
        x += width + gap
    return [*edges, x - gap]


def cddnet() -> Figure:
    figure = Figure(1040, 270, "CDDNet: a predictor mixes the expert kernels of every dynamic convolution")
    cells = [
        ("LR", "data", 50),
        ("6 convolutions 5x5,\nmean", "conv", 150),
        ("33 degradation\nparameters", "data", 130),
    ]
    top = row(
        figure, 20, 20, [*cells, ("2 linear layers", "conv", 120), ("K mixing weights", "special", 130)]
    )
    figure.words(top[-1] + 12, 43, "kernel = sum of K expert kernels, weighted", anchor="start")
    cells = [
        ("LR", "data", 50),
        ("dynamic\nconvolution", "special", 100),
        ("N residual blocks,\n2 dynamic each", "special", 140),
        ("dynamic conv,\nshuffle, twice", "special", 110),
        ("dynamic\nconvolution", "special", 100),
        ("attention 31x31\n(CDDNet)", "attention", 120),
        ("cross dropout\n(CDDNet)", "attention", 110),
    ]
    bottom = row(figure, 20, 140, cells, gap=16)
    figure.arrow((bottom[-1], 163), (bottom[-1] + 16, 163))
    figure.box(bottom[-1] + 16, 140, 62, 46, "dynamic\nconv", "special")
    end = bottom[-1] + 78
    figure.arrow((end, 163), (end + 14, 163))
    figure.plus(end + 25, 163)
    figure.arrow((end + 36, 163), (end + 52, 163))
    figure.box(end + 52, 140, 36, 46, "SR", "data")
    figure.arrow((45, 186), (45, 236), (end + 25, 236), (end + 25, 174))
    figure.words(500, 250, "bilinear enlargement of LR")
    weights = (top[4] + 65, 66)
    for left in (bottom[1] + 50, bottom[2] + 70, bottom[3] + 55, bottom[4] + 50, bottom[-1] + 47):
        figure.arrow(weights, (weights[0], 104), (left, 104), (left, 140), dashed=True)
    return figure


def drct() -> Figure:
    figure = Figure(1010, 350, "DRCT: groups of five window-attention blocks with dense connections")
    cells = [
        ("LR", "data", 50),
        ("3x3 conv", "conv", 80),
        ("group 1", "attention", 80),
        ("group 2", "attention", 80),
        ("... group 6\n(12 in DRCT-L)", "attention", 120),
        ("norm, 3x3 conv", "conv", 120),
    ]
    top = row(figure, 20, 40, cells)
    figure.arrow((top[-1], 63), (top[-1] + 24, 63))
    figure.plus(top[-1] + 35, 63)
    figure.arrow((top[-1] + 46, 63), (top[-1] + 66, 63))
    row(figure, top[-1] + 66, 40, [("conv, shuffle", "conv", 110), ("SR", "data", 44)])
    figure.arrow((top[1] + 40, 40), (top[1] + 40, 18), (top[-1] + 35, 18), (top[-1] + 35, 52))
    figure.frame(20, 120, 970, 215, "a group: every block sees the outputs of all blocks before it")
    x, main, y = 100, 190, 216
    figure.words(48, main, "x")
    figure.arrow((58, main), (x + 148, main))
    for number in range(1, 6):
        shift = ", shifted" if number in (2, 4) else ""
        figure.arrow((x + 59, main), (x + 59, y))
        figure.box(x, y, 118, 46, f"window attention\n{number}{shift}", "attention")
        figure.arrow((x + 59, y + 46), (x + 59, y + 64))
        figure.box(x + 9, y + 64, 100, 24, f"1x1 conv: {'gc' if number < 5 else 'C'}", "conv")
        sign = x + 136
        figure.arrow((x + 109, y + 76), (sign, y + 76), (sign, main + 12))
        if 1 < number < 5:
            figure.arrow((sign - 147, main), (sign - 12, main))
        x += 158
    for number in range(4):
        figure.plus(100 + 158 * number + 136, main, "C")
    figure.arrow((x - 158 - 11, main), (x - 99, main), (x - 99, y))
    figure.plus(x - 22, main)
    figure.words(x - 12, y + 98, "times 0.2", anchor="end")
    figure.arrow((78, main), (78, 152), (x - 22, 152), (x - 22, main - 12))
    figure.arrow((x - 11, main), (x + 16, main))
    figure.words(
        100, 322, "C in a circle: concatenation of channels; widths C, C + gc, ..., C + 4 gc", anchor="start"
    )
    return figure


def drn() -> Figure:
    figure = Figure(1010, 300, "DRN x4: a pyramid of images, and dual networks that lead back to LR")
    cells = [
        ("LR", "data", 44),
        ("bicubic x4", "plain", 90),
        ("3x3 conv", "conv", 80),
        ("stride 2", "conv", 76),
        ("stride 2", "conv", 76),
        ("B blocks,\nshuffle", "attention", 90),
        ("B blocks,\nshuffle", "attention", 90),
    ]
    top = row(figure, 20, 60, cells, gap=34)
    for start, stop in ((top[2] + 96, top[6] + 107), (top[3] + 93, top[5] + 107)):
        height = 22 if start == top[2] + 96 else 40
        figure.arrow((start, 83), (start, height), (stop, height), (stop, 83))
    figure.words((top[3] + top[6]) // 2, 11, "skip connections, concatenated")
    places = (top[4] + 93, top[5] + 107, top[6] + 107)
    names = ("SR x1", "SR x2", "SR x4")
    figure.arrow((top[-1], 83), (places[2], 83))
    for place, name in zip(places, names, strict=True):
        figure.arrow((place, 83), (place, 128))
        figure.box(place - 40, 128, 80, 30, name, "data")
    for index in (0, 1):
        left, right = places[index], places[index + 1]
        middle = (left + right) // 2
        figure.arrow((right, 158), (right, 203), (middle + 44, 203))
        figure.box(middle - 44, 188, 88, 30, f"dual {index}", "special")
        figure.arrow((middle, 218), (middle, 240))
        figure.box(middle - 52, 240, 104, 36, "L1 to LR" + ("" if index == 0 else " x2"), "loss")
    figure.words(30, 143, "each SR image: L1 to its target (primary loss)", anchor="start")
    figure.words(30, 203, "the way back: two convolutions each (dual loss)", anchor="start")
    figure.words(30, 258, "unpaired LR: dual 0 (dual 1 (SR x4)) against LR", anchor="start")
    return figure


def reflash() -> Figure:
    figure = Figure(1010, 230, "Real-SRResNet and the places where dropout was tried")
    cells = [
        ("LR", "data", 44),
        ("conv_first", "conv", 90),
        ("blocks\nb1 ... b16", "attention", 90),
        ("upconv1,\nshuffle", "conv", 80),
        ("upconv2,\nshuffle", "conv", 80),
        ("conv_hr", "conv", 76),
        ("channel dropout\np = 0.7", "special", 130),
        ("conv_last", "conv", 86),
    ]
    top = row(figure, 20, 90, cells, gap=24)
    figure.arrow((top[-1], 113), (top[-1] + 20, 113))
    figure.plus(top[-1] + 31, 113)
    figure.arrow((top[-1] + 42, 113), (top[-1] + 58, 113))
    figure.box(top[-1] + 58, 90, 36, 46, "SR", "data")
    figure.arrow((42, 136), (42, 196), (top[-1] + 31, 196), (top[-1] + 31, 124))
    figure.words(500, 210, "bilinear enlargement of LR")
    marks = (("first", top[2] - 12), ("b1, ... b16", top[2] + 45), ("up1", top[3] - 12), ("up2", top[4] - 12))
    for name, x in (*marks, ("hr", top[5] - 12)):
        inside = name.startswith("b1")
        figure.arrow((x, 38 if inside else 58), (x, 88 if inside else 111), dashed=True)
        figure.words(x, 28 if inside else 48, name)
    figure.arrow((top[6] + 65, 58), (top[6] + 65, 88))
    figure.words(top[6] + 65, 48, "last: the proposal")
    return figure


def align() -> Figure:
    figure = Figure(1010, 300, "Simple-Align: features of two degraded views of one image are aligned")
    figure.box(20, 110, 70, 46, "image", "data")
    for y, name in ((40, "1"), (190, "2")):
        figure.arrow((90, 133), (106, 133), (106, y + 23), (124, y + 23))
        figure.box(124, y, 126, 46, f"degradation {name}", "plain")
        figure.arrow((250, y + 23), (276, y + 23))
        figure.box(276, y, 70, 46, f"view {name}", "data")
        figure.arrow((346, y + 23), (372, y + 23))
        figure.box(372, y, 130, 46, "network up to the\nlast convolution", "conv")
        figure.arrow((502, y + 23), (528, y + 23))
        figure.box(528, y, 150, 46, "mean over pixels,\nminus batch mean", "attention")
        figure.arrow((437, 46 + 40 if y == 40 else 190), (437, 106 if y == 40 else 160))
        for loss in (107, 169):  # both views enter both losses
            figure.arrow((678, y + 23), (700, y + 23), (700, loss), (724, loss))
    figure.box(372, 106, 130, 54, "last convolution:\nSR 1, SR 2", "conv")
    figure.arrow((502, 133), (528, 133))
    figure.box(528, 116, 110, 34, "L1 to GT", "loss")
    figure.words(437, 262, "the same weights for both views")
    figure.box(724, 84, 266, 46, "linear: distance of vectors and\nof their outer products", "loss")
    figure.box(
        724,
        138,
        266,
        62,
        "non-linear: the same of random\nFourier features, the same draw\nfor both views",
        "loss",
    )
    return figure


def main() -> None:
    """Write all figures."""
    IMAGES.mkdir(exist_ok=True)
    for make in (cddnet, drct, drn, reflash, align):
        make().save(IMAGES / f"{make.__name__}.svg")


if __name__ == "__main__":
    main()
