# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of one or more hosts as one HTML page that loads nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape

from ansible_collections.tethys.channels.plugins.plugin_utils.check.words import MIB, counted, span
from ansible_collections.tethys.channels.plugins.plugin_utils.status import ProcessStatus, RedisStatus, Status

STYLE = """
:root { color-scheme: light dark; --back: #f6f7f9; --card: #fff; --text: #1b1f24; --dim: #57606a; --line: #d8dee4;
  --good: #1a7f37; --bad: #cf222e; --unknown: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --card: #161b22; --text: #e6edf3; --dim: #9198a1;
  --line: #30363d; --good: #3fb950; --bad: #f85149; --unknown: #9198a1; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1rem; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: .95rem; margin: 1rem 0 .3rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; } .dim { color: var(--dim); }
.card { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--good);
  border-radius: .5rem; padding: .8rem 1rem; margin: 1rem 0; }
.card.bad { border-left-color: var(--bad); }
.mark { font-weight: 600; color: var(--good); } .bad .mark, td.bad, .mark.bad { color: var(--bad); }
td.unknown { color: var(--unknown); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { border-top: 0; color: var(--dim); font-weight: 500; } td.number, th.number { text-align: right; }
ul { margin: .4rem 0; padding-left: 1.2rem; } li { overflow-wrap: anywhere; margin: .2rem 0; }
code { font-size: .85em; color: var(--dim); }
""".strip()

# The age of the page, so that one that nothing renews is not taken for the present.
SCRIPT = """
for (const place of document.querySelectorAll("time[data-at]")) {
  const minutes = Math.floor((Date.now() / 1000 - Number(place.dataset.at)) / 60);
  const age = minutes < 1 ? "less than 1 min" : minutes < 120 ? minutes + " min" : Math.floor(minutes / 60) + " h";
  place.textContent += ", " + age + " ago";
}
""".strip()

PROBLEM_HEAD = "What is wrong"


def _moment(seconds: int) -> str:
    """Return a time in UTC, whose age a browser adds."""
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    return f'<time data-at="{seconds}">{text}</time>'


def _cell(text: str, kind: str = "") -> str:
    """Return a cell of a table."""
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _table(heads: Sequence[tuple[str, str]], rows: Iterable[str]) -> str:
    """Return a table; a column's head comes with its kind."""
    head = "".join(f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _number(value: float | None, unit: str = "") -> str:
    """Return the cell of a figure."""
    return _cell("unknown", "number unknown") if value is None else _cell(f"{value:g}{unit}", "number")


def _mebibytes(value: int | None) -> float | None:
    """Return bytes as MiB with one decimal."""
    return None if value is None else round(value / MIB, 1)


def _process(process: ProcessStatus) -> str:
    """Return a process's row."""
    age = process["age_seconds"]
    cells = [
        _cell(process["name"]),
        _cell(process["state"], "" if process["state"] == "RUNNING" else "bad"),
        _number(process["pid"]),
        _cell("unknown" if age is None else span(age), "number unknown" if age is None else "number"),
        _number(_mebibytes(process["memory_bytes"]), " MiB"),
        _number(process["connections"]),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _redis(redis: RedisStatus) -> str:
    """Return a Redis's row."""
    limit = _mebibytes(redis["memory_limit_bytes"])
    cells = [
        _cell(f"{'Sentinel' if redis['kind'] == 'sentinel' else 'Redis'} {redis['place']}"),
        _cell("usable") if redis["is_usable"] else _cell("not usable", "bad"),
        _number(_mebibytes(redis["memory_bytes"]), f" of {limit:g} MiB" if limit else " MiB"),
        _number(redis["clients"]),
        _number(redis["refused_writes"]),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _delivery(status: Status) -> str:
    """Return the sentence on the delivery check."""
    delivery = status["delivery"]
    if not delivery["sockets"]:
        return '<p><span class="mark bad">Delivery was not verified.</span></p>'
    kind = "mark" if delivery["is_verified"] else "mark bad"
    seconds = "" if delivery["seconds"] is None else f", the last after {delivery['seconds']:.3f} s"
    return (
        f'<p>Delivery: <span class="{kind}">{delivery["received"]} of {delivery["sockets"]} WebSockets</span>'
        f" received the message{seconds}.</p>"
    )


def _host(status: Status) -> str:
    """Return a host's card."""
    problems = status["problems"]
    mark = "OK" if status["ok"] else counted(len(problems), "problem", "problems")
    versions = ", ".join(f"{name} {version}" for name, version in status["versions"].items())
    running = sum(process["state"] == "RUNNING" for process in status["processes"])
    parts = [
        f'<section class="card{"" if status["ok"] else " bad"}">',
        f'<h2>{escape(status["host"])} <span class="mark">{mark}</span></h2>',
        f'<p class="dim">Checked {_moment(status["checked_at"])}. {escape(versions)}</p>',
    ]
    if problems:
        rows = "".join(f"<li>{escape(row['text'])} <code>[{escape(row['code'])}]</code></li>" for row in problems)
        parts.append(f"<h3>{PROBLEM_HEAD}</h3><ul>{rows}</ul>")
    parts += [
        _delivery(status),
        f"<h3>{running} of {status['processes_wanted']} ASGI processes run ({escape(status['layout'])})</h3>",
        _table(
            [
                ("process", ""),
                ("state", ""),
                ("pid", "number"),
                ("age", "number"),
                ("memory", "number"),
                ("connections", "number"),
            ],
            map(_process, status["processes"]),
        ),
    ]
    if status["redis"]:
        heads = [
            ("server", ""),
            ("state", ""),
            ("memory", "number"),
            ("clients", "number"),
            ("writes refused", "number"),
        ]
        parts += [f"<h3>Redis, for {escape(status['backend'])}</h3>", _table(heads, map(_redis, status["redis"]))]
    if status["would_change"]:
        rows = "".join(f"<li>{escape(change)}</li>" for change in status["would_change"])
        parts.append(f"<h3>A run of site would change</h3><ul>{rows}</ul>")
    return "".join([*parts, "</section>"])


def _grid(statuses: Sequence[Status]) -> str:
    """Return which portal received the messages of which; nothing where they share no Redis."""
    heard = {status["host"]: status["between"] for status in statuses if status["between"] is not None}
    if len(heard) < 2:
        return ""
    rows = []
    kind = "card"
    for receiver, between in heard.items():
        cells = []
        for sender in heard:
            number = between["received"].get(sender, 0)
            is_good = number == between["sockets"] and number > 0
            kind = kind if is_good else "card bad"
            cells.append(_cell(f"{number} of {between['sockets']}", "number" if is_good else "number bad"))
        rows.append(f'<tr><th scope="row">{escape(receiver)}</th>{"".join(cells)}</tr>')
    heads = [("received on, from", ""), *((name, "number") for name in heard)]
    return f'<section class="{kind}"><h2>Delivery between portals</h2>{_table(heads, rows)}</section>'


def as_page(statuses: Sequence[Status]) -> str:
    """Return the page of all hosts, those with problems first."""
    ordered = sorted(statuses, key=lambda status: (status["ok"], status["host"]))
    good = sum(status["ok"] for status in statuses)
    title = f"Channel layer: {good} of {counted(len(statuses), 'portal', 'portals')} without a problem"
    cards = "".join(map(_host, ordered))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f'<body><main><h1>{title}</h1><p class="dim">Written by <code>tethys.channels.check</code>.</p>'
        f"{_grid(ordered)}{cards}</main><script>{SCRIPT}</script></body></html>\n"
    )
