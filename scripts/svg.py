# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw boxes, arrows and text as an SVG that every viewer renders.

Each color is a plain attribute, which is what a viewer without style sheets shows. Where style sheets and dark mode are
known, one style sheet replaces the colors. A picture has its own background, so it can be read on any page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple, Tuple

WIDTH = 800
Point = Tuple[float, float]


class Color(NamedTuple):
    """A color in light and in dark mode."""

    light: str
    dark: str


COLORS = {
    "page": Color("#ffffff", "#12171d"),
    "box": Color("#f3f5f8", "#1c232c"),
    "inner": Color("#ffffff", "#27313d"),
    "line": Color("#5b6675", "#93a1b3"),
    "grid": Color("#d1d9e0", "#3d444d"),
    "text": Color("#1b2430", "#e8edf3"),
    "soft": Color("#4a5563", "#b6c1ce"),
    "blue": Color("#0b5cad", "#7dbbff"),
    "good": Color("#1a7f37", "#6fdc8c"),
    "bad": Color("#b42318", "#ff8f85"),
    "gray": Color("#8c959f", "#7a838d"),
}
SANS = "Helvetica, Arial, 'Liberation Sans', sans-serif"
MONO = "'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"
HEADER = (
    "<!-- Copyright: (c) 2026, tethys.channels contributors -->",
    "<!-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt) -->",
    "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->",
)


def number(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


class Canvas:
    """A picture that is drawn from back to front."""

    def __init__(self, title: str, description: str, height: float) -> None:
        self.title, self.description, self.height = title, description, height
        self.body: list[str] = []
        self.used: set[tuple[str, str]] = set()
        self.box(0.5, 0.5, WIDTH - 1, height - 1, fill="page", stroke="grid", radius=8)

    def paint(self, attribute: str, color: str) -> str:
        """Return the class that dark mode replaces, or nothing, and note it as used."""
        self.used.add((attribute, color))
        return f"{attribute[0]}-{color}"

    def shape(self, start: str, fill: str | None = None, stroke: str | None = None, width: float = 1.5) -> None:
        """Add an element with its colors."""
        classes = [self.paint(name, color) for name, color in (("fill", fill), ("stroke", stroke)) if color]
        colors = f' fill="{COLORS[fill].light if fill else "none"}"'
        if stroke:
            colors += f' stroke="{COLORS[stroke].light}" stroke-width="{number(width)}"'
        self.body.append(f'{start} class="{" ".join(classes)}"{colors}/>')

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "box",
        stroke: str | None = "line",
        radius: float = 6,
    ) -> None:
        """Add a rectangle."""
        start = f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self.shape(f'{start} rx="{number(radius)}"', fill, stroke)

    def dot(self, x: float, y: float, radius: float, fill: str | None, stroke: str | None = None) -> None:
        """Add a disk, or a ring without ``fill``."""
        self.shape(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"', fill, stroke)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        color: str = "text",
        size: float = 13,
        anchor: str = "start",
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        """Add one line of text, whose baseline is at ``y``."""
        more = ' font-weight="600"' if bold else ""
        more += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.body.append(
            f'<text x="{number(x)}" y="{number(y)}" font-family="{MONO if mono else SANS}" font-size="{number(size)}"'
            f'{more} class="{self.paint("fill", color)}" fill="{COLORS[color].light}">{escape(words)}</text>'
        )

    def lines(self, x: float, y: float, lines: Sequence[str], step: float = 16, **how: object) -> None:
        """Add several lines of text."""
        for place, words in enumerate(lines):
            self.text(x, y + place * step, words, **how)  # type: ignore[arg-type]

    def caption(self, y: float, *lines: str) -> None:
        """Add the sentences below a picture."""
        self.lines(24, y, lines, step=18, color="soft", size=12)

    def line(self, points: Sequence[Point], color: str = "line", width: float = 1.5, dash: str = "") -> None:
        """Add a line through points."""
        path = "M" + " L".join(f"{number(x)} {number(y)}" for x, y in points)
        self.shape(f'<path d="{path}"' + (f' stroke-dasharray="{dash}"' if dash else ""), None, color, width)

    def arrow(
        self,
        *points: Point,
        color: str = "line",
        both: bool = False,
        dash: str = "",
        width: float = 1.5,
    ) -> None:
        """Add a line with a head at its end, or at both ends. A head is a triangle: not every viewer draws markers."""
        self.line(points, color, width, dash)
        ends = [(points[-2], points[-1]), *([(points[1], points[0])] if both else [])]
        for (from_x, from_y), (x, y) in ends:
            angle = math.atan2(y - from_y, x - from_x)
            corners = [(x, y)]
            for side in (-1, 1):
                turned = angle + side * 2.7
                corners.append((x + 9 * math.cos(turned), y + 9 * math.sin(turned)))
            path = "M" + " L".join(f"{number(at_x)} {number(at_y)}" for at_x, at_y in corners) + " Z"
            self.shape(f'<path d="{path}"', color)

    def svg(self) -> str:
        """Return the picture."""
        dark = "".join(f".{name[0]}-{color}{{{name}:{COLORS[color].dark}}}" for name, color in sorted(self.used))
        height = number(self.height)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
                f' viewBox="0 0 {WIDTH} {height}" role="img">',
                *HEADER,
                f"<title>{escape(self.title)}</title>",
                f"<desc>{escape(self.description)}</desc>",
                f"<style>@media (prefers-color-scheme: dark){{{dark}}}</style>",
                *self.body,
                "</svg>",
                "",
            ]
        )
