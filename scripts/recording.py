# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` records, and the pictures that are drawn from it: the terminal, and the run as a timeline."""

from __future__ import annotations

import re
from html import escape
from typing import TypedDict

from charts import Bar, Chart, Group
from svg import HEADER, MONO, WIDTH


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
    # Whether the machine had other work: a load average above 1 in the minute before it.
    busy: bool
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
LAST = "Last task"


def color(text: str) -> str:
    """Return the color of a line of the terminal."""
    if text.startswith(("$", "===")):
        return GREEN
    if re.search(r"failed=[1-9]|NOT ", text):
        return RED
    return QUIET if text.lstrip().startswith(("TASK", "PLAY", "ok:", "msg:", "---")) else INK


def terminal(recording: Recording) -> str:
    """Return the terminal's last state. Viewers that can, light up its lines one after the other."""
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
            "<style>@keyframes wait{from,to{opacity:0.25}}",
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


def timeline(recording: Recording) -> Chart:
    """Return the run as a timeline, with the seconds in which requests failed."""
    steps = recording["steps"]
    total = steps[-1]["end"]
    bars = []
    shown: set[str] = set()
    for step in steps:
        role = step["role"]
        # The playbook's last task is in a role that has had its turn.
        label = LAST if role in shown else STEPS.get(role, role)
        shown.add(role)
        color = "good" if role.endswith("check") else "blue"
        bars.append(Bar(label, step["end"], f"{step['end'] - step['start']:.1f} s", color, start=step["start"]))
    gap = recording["failed_between"]
    lost = f"{recording['failed']} of {recording['requests']} requests failed"
    if gap:
        bars.append(Bar("Requests fail", gap[1], f"{gap[1] - gap[0]:.1f} s", "bad", start=gap[0]))
        lost += f" over {gap[1] - gap[0]:.1f} s"
    notes = [
        f"Recorded by make demo, {recording['recorded']}: a portal with 3 processes set up following the Tethys docs.",
        f"{lost}.",
    ]
    if recording["busy"]:
        notes.append("The machine had other work at the same time, so every step took longer.")
    step = next(step for step in (5, 10, 20, 50, 100, 1000) if total / step <= 10)
    group = Group("Seconds since the start", bars, ticks=range(0, int(total) + 1, step), unit=" s")
    return Chart(f"The first run of the demo: {total:.0f} s", [group], notes, labels=170, figures=60)
