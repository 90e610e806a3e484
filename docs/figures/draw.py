"""Block diagrams as SVG: boxes, arrows, words. The same calls give the same bytes."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

__all__ = ["Figure"]

FILLS = {
    "plain": "#ffffff",
    "conv": "#dbe9f6",
    "attention": "#fde3c8",
    "special": "#f8cfd2",
    "data": "#e4f1dd",
    "loss": "#efe3f5",
    "group": "#f6f6f6",
}
SIZE = 13  # of letters, pixels
LETTER = 0.56 * SIZE  # width of a letter of a common sans-serif type, on the wide side


class Figure:
    """A drawing on a white ground.

    Args:
        width: pixels.
        height: pixels.
        title: read by screen readers.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width = width
        self.height = height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="{SIZE}" role="img">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
        ]

    def box(self, x: int, y: int, width: int, height: int, words: str, kind: str = "plain") -> None:
        """A box with its top left corner at (x, y); lines of words are separated by newlines.

        Raises:
            ValueError: the words or the box do not fit.
        """
        lines = words.split("\n")
        if max(map(len, lines)) * LETTER > width or len(lines) * (SIZE + 3) > height:
            raise ValueError(f"{words!r} does not fit into {width} x {height}")
        self._inside(x, y, x + width, y + height)
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{FILLS[kind]}" '
            'stroke="#444"/>'
        )
        first = y + height / 2 - (len(lines) - 1) * (SIZE + 3) / 2
        for number, line in enumerate(lines):
            self.words(x + width // 2, round(first + number * (SIZE + 3)), line)

    def frame(self, x: int, y: int, width: int, height: int, words: str) -> None:
        """A pale frame around boxes that are drawn after it, named at its top left."""
        self._inside(x, y, x + width, y + height)
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{FILLS["group"]}" '
            'stroke="#999" stroke-dasharray="5 4"/>'
        )
        self.words(x + 8, y + 13, words, anchor="start")

    def words(self, x: int, y: int, line: str, anchor: str = "middle") -> None:
        """A line of words with its middle height at y."""
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" dominant-baseline="middle">{escape(line)}</text>'
        )

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """A line through points with a head at the last one."""
        for x, y in points:
            self._inside(x, y, x, y)
        path = " ".join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(points))
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="#444" stroke-width="1.4"{dashes} marker-end="url(#head)"/>'
        )

    def plus(self, x: int, y: int, sign: str = "+") -> None:
        """A sign in a circle of radius 11."""
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="11" fill="#fff" stroke="#444"/>')
        self.words(x, y + 1, sign)

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text("\n".join([*self.parts, "</svg>", ""]), encoding="utf-8")

    def _inside(self, left: int, top: int, right: int, bottom: int) -> None:
        if min(left, top) < 0 or right > self.width or bottom > self.height:
            raise ValueError(f"({left}, {top}) to ({right}, {bottom}) leaves {self.width} x {self.height}")
