# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` records, and the pictures that are drawn from it: the terminal, and the run as a timeline."""

from __future__ import annotations

import re
from html import escape
from typing import TypedDict

from svg import HEADER, MONO, WIDTH, Canvas


class Line(TypedDict):
    """A line of the terminal, with the seconds since the start."""

    at: float
    text: str


class Step(TypedDict):
    """A role's part of the run, in seconds since the run's start."""

    role: str
    start: float
    end: float


class Recording(TypedDict):
    """A demonstration."""

    recorded: str
    lines: list[Line]
    steps: list[Step]
    # Requests of a steady load during the run, and the seconds of the first and the last that failed.
    requests: int
    failed: int
    failed_between: list[float]


SIZE = 12
LINE = 17
TOP = 56
# A wait in the demonstration is shown no longer than this.
LONGEST_WAIT = 1.5
GROUND, BAR, INK, QUIET, GREEN, RED = "#12171d", "#27313d", "#e8edf3", "#93a1b3", "#6fdc8c", "#ff8f85"
STEPS = {
    "": "Ansible starts",
    "preflight": "Gather facts, decide",
    "redis_container": "Redis",
    "channels_redis": "Packages",
    "portal_config": "portal_config.yml",
    "asgi_service": "ASGI processes",
    "nginx_upstream": "nginx upstream",
    "layer_check": "Delivery check",
    "fleet_check": "Check between portals",
}


def color(text: str) -> str:
    """Return the color of a line of the terminal."""
    if text.startswith(("$", "===")):
        return GREEN
    if re.search(r"failed=[1-9]|NOT ", text):
        return RED
    return QUIET if text.lstrip().startswith(("TASK", "PLAY", "ok:", "msg:", "---")) else INK


def terminal(recording: Recording) -> str:
    """Return the terminal's last state. Viewers that can, show its lines one after the other."""
    height = TOP + LINE * len(recording["lines"]) + 14
    body: list[str] = []
    shown, before = 0.0, 0.0
    for place, line in enumerate(recording["lines"]):
        shown += min(line["at"] - before, LONGEST_WAIT)
        before = line["at"]
        if line["text"].strip():
            body.append(
                f'<text x="20" y="{TOP + LINE * place}" style="animation-duration:{shown:.1f}s" font-family="{MONO}"'
                f' font-size="{SIZE}" fill="{color(line["text"])}" xml:space="preserve">{escape(line["text"])}</text>'
            )
    told = " ".join(line["text"].strip() for line in recording["lines"] if line["text"].strip())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" role="img">',
            *HEADER,
            f"<title>A recording of make demo, {recording['recorded']}</title>",
            f"<desc>{escape(told)}</desc>",
            "<style>@keyframes wait{from,to{visibility:hidden}}",
            "@media (prefers-reduced-motion: no-preference){text{animation-name:wait}}</style>",
            f'<rect x="0" y="0" width="{WIDTH}" height="{height}" rx="8" fill="{GROUND}"/>',
            f'<rect x="0" y="0" width="{WIDTH}" height="30" rx="8" fill="{BAR}"/>',
            *(
                f'<circle cx="{22 + 20 * place}" cy="15" r="6" fill="{fill}"/>'
                for place, fill in enumerate((RED, "#e3b341", GREEN))
            ),
            *body,
            "</svg>",
            "",
        ]
    )


def timeline(recording: Recording) -> str:
    """Return the run as a timeline, with the seconds in which requests failed."""
    steps = recording["steps"]
    total = steps[-1]["end"]
    roles = list(dict.fromkeys(step["role"] for step in steps))
    left, right, top, row = 190, 70, 62, 28
    bottom = top + row * (len(roles) + 1) + 10

    def at(seconds: float) -> float:
        return left + (WIDTH - left - right) * seconds / total

    told = []
    for role in roles:
        took = sum(step["end"] - step["start"] for step in steps if step["role"] == role)
        told.append(f"{STEPS[role]} {took:.1f} s")
    gap = recording["failed_between"]
    lost = f"{recording['failed']} of {recording['requests']} requests failed"
    lost += f", within {gap[1] - gap[0]:.1f} s." if gap else "."
    canvas = Canvas("A first run, step by step", f"Of {total:.0f} s: {', '.join(told)}. {lost}", bottom + 78)
    canvas.text(24, 34, f"The first run of the demo: {total:.0f} s", bold=True, size=16)
    for seconds in range(0, int(total) + 1, 5):
        canvas.line([(at(seconds), top - 8), (at(seconds), bottom)], color="grid")
        canvas.text(at(seconds), bottom + 16, f"{seconds} s", color="soft", size=12, anchor="middle")
    for place, role in enumerate(roles):
        y = top + row * place
        mine = [step for step in steps if step["role"] == role]
        canvas.text(left - 12, y + 15, STEPS[role], anchor="end")
        for step in mine:
            width = max(at(step["end"]) - at(step["start"]), 2)
            canvas.box(at(step["start"]), y + 2, width, 18, "good" if role.endswith("check") else "blue", None, 2)
        took = sum(step["end"] - step["start"] for step in mine)
        canvas.text(at(mine[-1]["end"]) + 6, y + 15, f"{took:.1f} s", color="soft", size=12)
    y = top + row * len(roles)
    canvas.text(left - 12, y + 15, "Requests fail", color="bad", anchor="end", bold=True)
    if gap:
        canvas.box(at(gap[0]), y + 2, max(at(gap[1]) - at(gap[0]), 2), 18, "bad", None, 2)
        canvas.text(at(gap[1]) + 6, y + 15, f"{gap[1] - gap[0]:.1f} s", color="bad", size=12)
    else:
        canvas.text(left, y + 15, "none", color="soft", size=12)
    canvas.caption(
        bottom + 44,
        f"Recorded by make demo, {recording['recorded']}: a portal with 3 processes that was set up by the manual.",
        f"{lost} The delivery check waits 7 s and sends again.",
    )
    return canvas.svg()
