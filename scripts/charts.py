# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts of what was measured: bars with their figures, on one scale for each group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from svg import WIDTH, Canvas

MARGIN = 24
ROW = 24
THICK = 14


class Bar(NamedTuple):
    """One bar: from ``start`` to ``value``, with a line from the lowest to the highest round."""

    label: str
    value: float
    figure: str
    color: str = "blue"
    start: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0


class Group(NamedTuple):
    """Bars on one scale, which ``ticks`` divide if there are any; ``mark`` is a value to compare with."""

    heading: str
    bars: Sequence[Bar]
    ticks: Sequence[float] = ()
    unit: str = ""
    logarithmic: bool = False
    mark: float = 0.0


class Chart(NamedTuple):
    """A whole chart. ``labels`` and ``figures`` are the widths of its two columns of text."""

    title: str
    groups: Sequence[Group]
    notes: Sequence[str] = ()
    labels: float = 230
    figures: float = 90


def described(chart: Chart) -> str:
    """Return every figure as text, for whoever cannot see the chart."""
    groups = [
        f"{group.heading}: " + ", ".join(f"{bar.label} {bar.figure}" for bar in group.bars) for group in chart.groups
    ]
    return "; ".join(groups) + "."


def position(group: Group, value: float, room: float) -> float:
    """Return how far a value is from the left end of the scale."""
    if group.logarithmic:
        first, last = math.log(group.ticks[0]), math.log(group.ticks[-1])
        return room * max(0.0, (math.log(value) - first) / (last - first)) if value else 0.0
    return room * value / max(group.mark, *group.ticks, *(max(bar.value, bar.highest) for bar in group.bars))


def draw_bar(canvas: Canvas, chart: Chart, group: Group, bar: Bar, y: float) -> None:
    """Draw one row."""
    left, middle = MARGIN + chart.labels, y + ROW / 2
    room = WIDTH - left - MARGIN - chart.figures
    start, end = position(group, bar.start, room), position(group, bar.value, room)
    canvas.text(left - 10, middle + 4.5, bar.label, anchor="end")
    canvas.box(left + start, middle - THICK / 2, max(end - start, 1), THICK, fill=bar.color, stroke=None, radius=0)
    if bar.highest > bar.lowest:
        low, high = position(group, bar.lowest, room), position(group, bar.highest, room)
        canvas.line([(left + low, middle), (left + high, middle)], color="text")
        end = max(end, high)
    # No line of the scale goes through a figure.
    canvas.box(left + end + 4, middle - 8, 7.2 * len(bar.figure) + 8, 16, fill="page", stroke=None, radius=0)
    canvas.text(left + end + 8, middle + 4.5, bar.figure)


def draw(chart: Chart) -> str:
    """Return the chart as an SVG."""
    rows = sum(36 + ROW * len(group.bars) + (18 if group.ticks else 0) for group in chart.groups)
    canvas = Canvas(chart.title, described(chart), 2 * MARGIN + 20 + rows + 18 * len(chart.notes) + 8)
    y: float = MARGIN + 16
    canvas.text(MARGIN, y, chart.title, size=16, bold=True)
    left = MARGIN + chart.labels
    room = WIDTH - left - MARGIN - chart.figures
    for group in chart.groups:
        y += 26
        canvas.text(MARGIN, y, group.heading, bold=True)
        y += 10
        bottom = y + ROW * len(group.bars)
        for value in [*group.ticks, *([group.mark] if group.mark else [])]:
            x = left + position(group, value, room)
            canvas.line([(x, y), (x, bottom)], color="grid", dash="" if group.ticks else "3 3")
            if group.ticks:
                canvas.text(x, bottom + 14, f"{value:,.0f}{group.unit}", color="soft", size=12, anchor="middle")
        for bar in group.bars:
            draw_bar(canvas, chart, group, bar, y)
            y += ROW
        y += 18 if group.ticks else 0
    y += 12
    for note in chart.notes:
        y += 18
        canvas.text(MARGIN, y, note, color="soft", size=12)
    return canvas.svg()


# --- what is drawn --------------------------------------------------------------------------------------------------


def times(value: float) -> str:
    """Return a multiple as text."""
    return f"{value:.1f}\u00d7" if value < 9.95 else f"{value:.0f}\u00d7"


def bench(groups: Sequence[Mapping[str, Any]]) -> Chart:
    """Return the transports and classes beside the manual's setup, from the bars in ``docs/bench.json``."""
    drawn = [
        Group(
            group["heading"],
            [
                Bar(
                    bar["label"],
                    bar["middle"],
                    times(bar["middle"]),
                    "gray" if bar["reference"] else "blue",
                    lowest=bar["lowest"],
                    highest=bar["highest"],
                )
                for bar in group["bars"]
            ],
            mark=1.0,
        )
        for group in groups
    ]
    notes = [
        "Multiples of the setup in the Tethys docs (docker run -p 6379:6379, core class), measured in turns with it",
        "on one machine with 2 cores: medians. The lines go from the lowest to the highest round.",
    ]
    return Chart("Speed compared with the documented setup", drawn, notes, labels=240, figures=70)


def capacity(redis: Mapping[str, Any]) -> Chart:
    """Return how many messages a second one Redis carries, from the part ``redis`` of ``docs/bench.json``."""
    groups = []
    for name, backend, color in (("core class", "core", "gray"), ("pub/sub class", "pubsub", "blue")):
        bars = []
        for run in redis["runs"]:
            if run["backend"] == backend:
                most = 1000 / median(each["redis_ms"] for each in run["rounds"])
                figure = f"{most:,.0f}" if most < 1000 else f"{round(most, -2):,.0f}"
                plural = "process" if run["processes"] == 1 else "processes"
                bars.append(Bar(f"{run['sockets']} WebSockets, {run['processes']} {plural}", most, figure, color))
        groups.append(Group(f"Messages a second, {name}", bars, ticks=(100, 1_000, 10_000, 100_000), logarithmic=True))
    notes = [
        "The maximum if Redis has one core to itself and never waits for anything else. The scale is logarithmic.",
        f"Measured with Redis 7.0 over the Unix socket, {redis['measured'].split()[0]}; medians of 3 rounds.",
    ]
    return Chart("Capacity of one Redis", groups, notes, labels=220, figures=70)


class Failures(NamedTuple):
    """Failed requests among all requests: the most of the measurements, and all of them as a figure."""

    label: str
    failed: int
    requests: int
    figure: str
    ours: bool


# As the pages on faults and layouts have them; a test compares.
RESTART = (
    Failures("by hand: supervisorctl restart asgi:*", 192, 1268, "192 of 1268", ours=False),
    Failures("the same, half of the requests POST", 184, 973, "184 of 973", ours=False),
    Failures("shared_socket, one at a time", 5, 2500, "3 to 5 of about 2500", ours=True),
    Failures("socket_per_process", 0, 4086, "0 of 4086", ours=True),
)
SCALE = (
    Failures("by hand: numprocs 2 to 3, update", 196, 1224, "196 of 1224", ours=False),
    Failures("socket_per_process, 2 to 3 to 2", 0, 11291, "0 of 11,291", ours=True),
)


def failures(rows: Sequence[Failures]) -> list[Bar]:
    """Return the share of failed requests of each row, in percent."""
    return [Bar(row.label, 100 * row.failed / row.requests, row.figure, "good" if row.ours else "bad") for row in rows]


def restarts() -> Chart:
    """Return the failed requests of a restart and of another number of processes."""
    groups = [
        Group("Restart of several processes: failed requests", failures(RESTART), PERCENT, " %"),
        Group("New number of processes: failed requests", failures(SCALE), PERCENT, " %"),
    ]
    notes = [
        "The bars show the percentage of all requests, under constant load. With shared_socket, the requests that",
        "the stopping process is answering fail.",
    ]
    return Chart("Failed requests: the documented commands and the playbooks", groups, notes, labels=270, figures=100)


class Fault(NamedTuple):
    """Seconds from a fault until every process receives messages again."""

    label: str
    least: float
    most: float
    note: str = ""


SECONDS = PERCENT = (0, 5, 10, 15, 20)
# As the pages on operations and several portals have them; a test compares.
FAULTS = (
    Fault("Docker's engine is restarted", 0.7, 2.1),
    Fault("Redis gets a new image", 1.6, 2.4),
    Fault("Redis is killed", 1.4, 8.6),
    Fault("an ASGI process is killed", 3.2, 6.1),
    Fault("the server is rebooted", 5.0, 18.6),
)
FAILOVERS = (
    Fault("the primary is killed", 5.1, 7.2),
    Fault("the primary's server goes down", 10.9, 19.3),
)


def faults() -> Chart:
    """Return how long each fault lasts."""

    def bars(rows: Sequence[Fault]) -> list[Bar]:
        return [Bar(row.label, row.most, f"{row.least} to {row.most} s", "blue", start=row.least) for row in rows]

    groups = [
        Group("One server", bars(FAULTS), SECONDS, " s"),
        Group("Three Redis servers with Sentinel", bars(FAILOVERS), SECONDS, " s"),
    ]
    notes = [
        "Measured on test servers under load. The bars go from the shortest time to the longest.",
    ]
    return Chart("Seconds until every process receives messages again", groups, notes, labels=250, figures=110)


CLASSES = {"core": ("core", "gray"), "pubsub": ("pub/sub", "blue")}
SHARE = (0, 20, 40, 60, 80, 100)


def missed_share(row: Mapping[str, Any]) -> float:
    """Return the percentage of deliveries that clients did not receive, whatever the reason."""
    return float(100 * row["missed"] / row["wanted"])


def classes(table: Mapping[str, Any]) -> Chart:
    """Return what clients miss with each class under each fault, from the part ``faults`` of ``docs/bench.json``."""
    names = list(dict.fromkeys(row["name"] for row in table["rows"]))
    rows = sorted(table["rows"], key=lambda row: (names.index(row["name"]), list(CLASSES).index(row["backend"])))
    missed, again = [], []
    for row in rows:
        backend, color = CLASSES[row["backend"]]
        label = f"{row['short']}, {backend}"
        missed.append(Bar(label, missed_share(row), f"{row['missed']:,} of {row['wanted']:,}", color))
        watched, until = row["watched_seconds"], row["until_seconds"]
        if watched is None:
            continue
        if until is None:
            again.append(Bar(label, watched, f"not within {watched:.0f} s", "bad"))
        else:
            again.append(Bar(label, until, f"{until:.1f} s", color))
    groups = [
        Group("Deliveries that clients missed, with open and closed WebSockets (percent)", missed, SHARE, " %"),
        Group("Seconds from a fault until every client receives every message again", again, (0, 10, 20, 30), " s"),
    ]
    notes = [
        f"{sum(table['groups'])} WebSockets on {table['processes']} processes, {table['messages_a_second']} messages a"
        f" second to groups of {table['groups'][0]} to {table['groups'][-1]}; one run, {table['measured'].split()[0]}.",
        "Clients whose WebSocket is closed connect again after 1 s.",
    ]
    return Chart("Both classes while something breaks", groups, notes, labels=240, figures=130)
