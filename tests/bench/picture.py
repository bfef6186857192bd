# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw bars as an SVG that is readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol


class Ratio(Protocol):
    """What a bar shows: the median, and between which values all rounds were."""

    @property
    def middle(self) -> float: ...
    @property
    def lowest(self) -> float: ...
    @property
    def highest(self) -> float: ...


class Bar(Protocol):
    """One bar."""

    @property
    def label(self) -> str: ...
    @property
    def ratio(self) -> Ratio: ...
    @property
    def reference(self) -> bool: ...


class Bars(Protocol):
    """A group of bars on one scale."""

    @property
    def heading(self) -> str: ...
    @property
    def bars(self) -> Sequence[Bar]: ...


WIDTH = 780
LABELS = 230
END = 80
MARGIN = 20
ROW = 24
THICK = 14
# The card brings its own ground, so that it can be read whatever the page around it is like.
STYLE = """
  svg { --ground: #ffffff; --ink: #1f2328; --quiet: #59636e; --line: #d1d9e0; --ours: #0969da; --manual: #8c959f }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #0d1117; --ink: #f0f6fc; --quiet: #9198a1; --line: #3d444d; --ours: #4493f8; --manual: #656c76 }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink) }
  .title { font-weight: 600; font-size: 15px } .quiet { fill: var(--quiet) } .end { text-anchor: end }
  .card { fill: var(--ground); stroke: var(--line) } .ours { fill: var(--ours) } .manual { fill: var(--manual) }
  .one { stroke: var(--line); stroke-dasharray: 3 3 } .range { stroke: var(--ink); stroke-width: 1.5 }
"""


def times(value: float) -> str:
    """A multiple in words."""
    return f"{value:.1f}\u00d7" if value < 9.95 else f"{value:.0f}\u00d7"


def draw(title: str, groups: Sequence[Bars], notes: Sequence[str]) -> str:
    """The picture: for each group a heading and its bars, the reference's length marked through all of them."""
    body: list[str] = []
    y = MARGIN + 18
    body.append(f'<text class="title" x="{MARGIN}" y="{y}">{escape(title)}</text>')
    y += 14
    for group in groups:
        y += 24
        body.append(f'<text class="title" style="font-size:13px" x="{MARGIN}" y="{y}">{escape(group.heading)}</text>')
        y += 12
        scale = (WIDTH - 2 * MARGIN - LABELS - END) / max(1.0, *(bar.ratio.highest for bar in group.bars))
        left = MARGIN + LABELS
        one = left + scale
        body.append(f'<line class="one" x1="{one:.1f}" y1="{y}" x2="{one:.1f}" y2="{y + ROW * len(group.bars)}"/>')
        for bar in group.bars:
            middle = y + ROW / 2
            length = bar.ratio.middle * scale
            kind = "manual" if bar.reference else "ours"
            body.append(
                f'<text class="end" x="{left - 10}" y="{middle + 4.5:.1f}">{escape(bar.label)}</text>'
                f'<rect class="{kind}" x="{left}" y="{middle - THICK / 2:.1f}" width="{length:.1f}" height="{THICK}"/>'
            )
            end = length
            if bar.ratio.highest > bar.ratio.lowest:
                low, high = left + bar.ratio.lowest * scale, left + bar.ratio.highest * scale
                body.append(f'<path class="range" d="M{low:.1f} {middle:.1f}H{high:.1f}"/>')
                end = bar.ratio.highest * scale
            body.append(f'<text x="{left + end + 8:.1f}" y="{middle + 4.5:.1f}">{times(bar.ratio.middle)}</text>')
            y += ROW
    y += 8
    for note in notes:
        y += 18
        body.append(f'<text class="quiet" style="font-size:12px" x="{MARGIN}" y="{y}">{escape(note)}</text>')
    height = y + MARGIN
    told = "; ".join(
        f"{group.heading}: " + ", ".join(f"{bar.label} {times(bar.ratio.middle)}" for bar in group.bars)
        for group in groups
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(told)}</desc>",
            f"<style>{STYLE}</style>",
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
            *body,
            "</svg>",
            "",
        ]
    )
