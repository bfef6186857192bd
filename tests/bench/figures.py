# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures of a measurement say, as tables and as bars. Nothing here measures, and nothing here is a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

CLASSES = {"core": "core", "pubsub": "pub/sub"}
TRANSPORTS = {"published": "published port", "host": "host network", "unix": "unix socket"}
DEFAULT = ("unix", "pubsub")
# If the idle machine uses more than this, other work affects the figures.
QUIET_CORES = 0.3
# Tasks that keep a host busy for longer are listed by name.
DEAR_SECONDS = 0.2
Rounds = Sequence[Mapping[str, Mapping[str, Any]]]
FAULT_COLUMNS = (
    "fault",
    "class",
    "due",
    "received",
    "lost",
    "twice",
    "missed",
    "refused",
    "until (s)",
    "closed",
    "restarted",
    "MB",
    "cores",
    "cores busy",
    "load",
)


class Ratio(NamedTuple):
    """How many times more one of two is than the other, measured side by side several times."""

    middle: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.middle:.2g}" if self.middle < 9.95 else f"{self.middle:.0f}"


class Table(NamedTuple):
    """A heading, the names of the columns, the rows, and what has to be said of them."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


class Bar(NamedTuple):
    """One bar of the picture."""

    label: str
    ratio: Ratio
    # What it is a multiple of is drawn apart.
    reference: bool = False


class Bars(NamedTuple):
    """A group of bars on one scale."""

    heading: str
    bars: Sequence[Bar]


def ratio(rounds: Rounds, key: str, one: str = "ours", other: str = "manual") -> Ratio:
    """The ratios of the rounds: each divides two figures that were measured next to each other."""
    found = [each[one][key] / each[other][key] for each in rounds]
    return Ratio(median(found), min(found), max(found))


def middle(rounds: Rounds, side: str, key: str) -> float:
    """The median of a figure over the rounds."""
    return float(median(each[side][key] for each in rounds))


def total(rounds: Rounds, side: str, *keys: str) -> int:
    """Return the total of figures that should be 0."""
    return sum(int(each[side][key]) for each in rounds for key in keys)


def number(value: float) -> str:
    """A figure with no more digits than it has meaning."""
    if value >= 1000:
        return f"{round(value, -2):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def text(table: Table) -> str:
    """A table for a terminal: the first column to the left, figures to the right."""
    rows = [list(table.columns), *(list(row) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    lines = [table.heading, ""]
    for position, row in enumerate(rows):
        cells = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
        if position == 0:
            lines.append("  " + "  ".join("-" * width for width in widths))
    return "\n".join([*lines, *(f"  {note}" for note in table.notes), ""])


def markdown(table: Table) -> str:
    """Return the table in Markdown."""
    head = "| " + " | ".join(table.columns) + " |"
    line = "|" + "|".join("---:" if column else "---" for column in range(len(table.columns))) + "|"
    return "\n".join([head, line, *("| " + " | ".join(row) + " |" for row in table.rows)])


def csv_table(table: Table) -> str:
    """The same for a guide, without heading and notes."""

    def line(cells: Sequence[str]) -> str:
        return ", ".join(f'"{cell}"' for cell in cells)

    rows = [f"   {line(row)}" for row in table.rows]
    return "\n".join([".. csv-table::", f"   :header: {line(table.columns)}", "", *rows])


def written(page: str, tables_by_name: Mapping[str, Table]) -> str:
    """Return a guide with its measured tables replaced, each between two comments."""
    for name, table in tables_by_name.items():
        begin, end = f".. measured: {name}\n", ".. end of measured\n"
        before, found, rest = page.partition(begin)
        _old, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"The page has no place for the table {name!r}, which begins with {begin.strip()!r}.")
        page = f"{before}{begin}\n{csv_table(table)}\n\n{end}{after}"
    return page


def guide_tables(found: Mapping[str, Any], foretold: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    """The tables of the guide on scale."""

    def part(table: Table, names: Mapping[str, str]) -> Table:
        places = [table.columns.index(column) for column in names]
        rows = [[row[place] for place in places] for row in table.rows]
        return table._replace(columns=list(names.values()), rows=rows)

    redis = {
        "layer": "layer",
        "sockets": "WebSockets",
        "processes": "processes",
        "ms of Redis a message": "CPU of Redis for a message (ms)",
        "messages a second at most": "messages a second, at most",
        "connections": "connections to Redis",
    }
    fleet = {
        "hosts": "portals",
        "forks": "forks",
        "serial": "tethys_serial",
        "site s": "measured (s)",
        "foretold s": "estimated (s)",
        "error": "error",
        "cores left": "cores left",
    }
    return {
        "redis": part(redis_table(found["redis"]), redis),
        "fleet": part(fleet_table(found["cost"], found["fleet"]), fleet),
        "foretold": foretold_table(foretold),
    }


def _setup(found: Mapping[str, Any], hiredis: bool = False) -> str:
    name = f"{TRANSPORTS[found['transport']]}, {CLASSES[found['backend']]}"
    if hiredis:
        return name + ", hiredis"
    return name + " (default)" if (found["transport"], found["backend"]) == DEFAULT else name


def _losses(rounds: Rounds, *keys: str) -> str:
    """What was lost on each side, in a sentence."""
    sides = list(dict.fromkeys(side for each in rounds for side in each if keys[0] in each[side]))
    lost = {side: total([each for each in rounds if side in each], side, *keys) for side in sides}
    return "Messages lost: " + ", ".join(f"{side} {count}" for side, count in lost.items()) + "."


def layer_table(found: Mapping[str, Any]) -> Table:
    """Each transport and class beside the manual's setup."""
    rows = []
    everything = [each["rounds"] for each in found["setups"]]
    flat = [one for rounds in everything for one in rounds]

    def row(name: str, side: str, rounds: Rounds, trips: str, deliveries: str) -> list[str]:
        return [
            name,
            trips,
            number(middle(rounds, side, "trips")),
            str(ratio(rounds, "p50_ms", "manual", side)),
            f"{middle(rounds, side, 'p50_ms'):.2f}",
            f"{middle(rounds, side, 'p99_ms'):.2f}",
            deliveries,
            number(middle(rounds, side, "deliveries")),
        ]

    rows.append(row("the manual's setup", "manual", flat, "1", "1"))
    for each in found["setups"]:
        rounds = each["rounds"]
        times = [f"{ratio(rounds, key)}" for key in ("trips", "deliveries")]
        rows.append(row(_setup(each), "ours", rounds, *times))
        if "hiredis" in rounds[0]:
            times = [f"{ratio(rounds, key, 'hiredis')}" for key in ("trips", "deliveries")]
            rows.append(row(_setup(each, hiredis=True), "hiredis", rounds, *times))
    notes = [
        f"Ratios are medians of {len(everything[0])} rounds, in each of which the two were measured in turn.",
        "typical: how many times shorter the trip in the middle is, which other work on the machine disturbs least.",
        _losses(flat, "trips_lost", "deliveries_lost"),
    ]
    alone = [rounds for rounds in everything if "process" in rounds[0]]
    if alone:
        notes.append(
            "The queues and the decoding of one process alone, without Redis, let"
            f" {number(middle(alone[0], 'process', 'deliveries'))} messages a second through to a group"
            f" ({ratio(alone[0], 'deliveries', 'process')} x): no layer has a larger fan-out."
        )
    columns = [
        "from one process",
        "round trips x",
        "per second",
        "typical x",
        "p50 ms",
        "p99 ms",
        "fan-out x",
        "per second",
    ]
    return Table("The layer: round trips, and messages to a group of 50 channels", columns, rows, notes)


def redis_table(found: Mapping[str, Any]) -> Table:
    """What a message to a group takes of Redis."""
    rows = []
    for each in found["runs"]:
        one = {key: median(run[key] for run in each["rounds"]) for key in ("redis_ms", "connections")}
        spread = [run["redis_ms"] for run in each["rounds"]]
        rows.append(
            [
                CLASSES[each["backend"]],
                f"{each['sockets']}",
                f"{each['processes']}",
                f"{one['redis_ms']:.3f}",
                f"{min(spread):.3f} to {max(spread):.3f}",
                number(1000 / one["redis_ms"]),
                number(each["sockets"] * 1000 / one["redis_ms"]),
                f"{one['connections']:.0f}",
                # Later rounds find the memory that earlier ones gave back.
                f"{max(run['memory_mb'] for run in each['rounds']):.1f}",
            ]
        )
    notes = [
        f"CPU that Redis itself took, medians of {len(found['runs'][0]['rounds'])}; each message reached every socket.",
        "At most: with one core for Redis alone, 1 / that part. The processes that send and hear need cores as well.",
        "MB: what Redis has more in memory afterwards at most, the buffers of its connections among it.",
    ]
    columns = [
        "layer",
        "sockets",
        "processes",
        "ms of Redis a message",
        "from ... to",
        "messages a second at most",
        "deliveries a second at most",
        "connections",
        "MB",
    ]
    return Table("One Redis: messages to one group", columns, rows, notes)


def daphne_table(found: Mapping[str, Any]) -> Table:
    """Messages from another process to WebSockets, with several numbers of processes."""
    rows = []
    for processes in sorted({each["processes"] for each in found["runs"]}):
        runs = [each for each in found["runs"] if each["processes"] == processes]
        flat = [one for each in runs for one in each["rounds"]]
        pairs = [("the manual's", "manual", flat, "1", "1")]
        pairs += [
            (
                _setup(each),
                "ours",
                each["rounds"],
                str(ratio(each["rounds"], "deliveries")),
                str(ratio(each["rounds"], "one_p50_ms")),
            )
            for each in runs
        ]
        rows += [
            [
                f"{processes} x {name}",
                deliveries,
                number(middle(rounds, side, "deliveries")),
                one,
                f"{middle(rounds, side, 'one_p50_ms'):.1f}",
                f"{middle(rounds, side, 'one_p99_ms'):.1f}",
                f"{middle(rounds, side, 'cores_busy'):.1f}",
                f"{total(rounds, side, 'lost')}",
            ]
            for name, side, rounds, deliveries, one in pairs
        ]
    some = found["runs"][0]["rounds"][0]["ours"]
    bare = found["generator"]["deliveries"]
    fastest = max(middle(each["rounds"], "ours", "deliveries") for each in found["runs"])
    limits = [
        f"{each['processes']}"
        for each in found["runs"]
        if middle(each["rounds"], "ours", "cores_busy") > 0.9 * found["cores"]
    ]
    notes = [
        f"{some['clients']} WebSockets. ms: how long a message takes to a socket, when it is the only one.",
        f"Deliveries: with {some['window']} messages on their way at once.",
        f"The load generator with a bare asyncio server: {number(bare)} deliveries a second,"
        f" {bare / fastest:.0f} times the fastest row.",
    ]
    if limits:
        listed = ", ".join(dict.fromkeys(limits))
        notes.append(
            f"With {listed} processes all {found['cores']} cores were busy: the cores are the limit, not the layer."
        )
    columns = [
        "processes x setup",
        "deliveries x",
        "per second",
        "one message x",
        "p50 ms",
        "p99 ms",
        "cores busy",
        "lost",
    ]
    return Table("End to end: a message to a group, through daphne, to WebSockets", columns, rows, notes)


def run_table(found: Mapping[str, Any]) -> Table:
    """What runs of the playbooks cost."""
    facts = found["facts"]["seconds"]
    rows = [
        [name, f"{found[key]['seconds']:.1f}", f"{found[key]['seconds'] / facts:.1f}", f"{found[key]['modules']}"]
        for key, name in (
            ("first", "first run of site"),
            ("second", "second run of site"),
            ("check", "check"),
            ("facts", "gather_facts alone"),
            ("ping", "one ping"),
        )
    ]
    rows.append(["one start of Tethys, on the server", f"{found['start']['seconds']:.1f}", "", ""])
    by_hand, besides = found["by_hand"]["seconds"], found["by_hand"]["besides_seconds"]
    rows.append(["the manual's steps typed by hand", f"{by_hand:.1f}", "", ""])
    rows.append(["the same with a look before and a proof after", f"{by_hand + besides:.1f}", "", ""])
    most = 2.5 * facts + found["start"]["seconds"]
    first = found["first"]["seconds"]
    notes = [
        f"Medians of {found['rounds']}." + (" The second run changed something!" if found["second"]["changed"] else ""),
        f"The second run takes {found['second']['seconds'] / most:.2f} times 2.5 x gather_facts + one start of Tethys;"
        f" one ping and one such start, which the look is, alone take"
        f" {found['ping']['seconds'] + found['start']['seconds']:.1f} s.",
        f"The first run takes {first / (by_hand + besides):.2f} times its steps typed by hand, the look at the portal"
        f" and the proof with {found['silence_seconds']} s of silence among them, and {first / by_hand:.2f} times the"
        " manual's steps, which prove nothing.",
    ]
    return Table("The run", ["", "seconds", "x gather_facts", "remote modules"], rows, notes)


def unchanged_table(found: Mapping[str, Any]) -> Table:
    """The unchanged run of a commit beside this tree's."""
    rounds: Rounds = found["rounds"]
    rows = [
        [name, f"{middle(rounds, side, 'seconds'):.1f}", f"{middle(rounds, side, 'modules'):.0f}"]
        for side, name in (("before", found["commit"]), ("after", "this tree"))
    ]
    times = ratio(rounds, "seconds", "after", "before")
    notes = [
        f"Medians of {len(rounds)} rounds, in each of which the two ran in turn."
        + (" A run changed something!" if found["changed"] else ""),
        f"This tree takes {times} times the seconds of {found['commit']}.",
    ]
    return Table("The unchanged run", ["", "seconds", "remote modules"], rows, notes)


def cost_table(found: Mapping[str, Any]) -> Table:
    """Where the time of a run goes on one host, the dearest tasks first."""
    tasks = sorted(
        found["tasks"], key=lambda task: -sum(task[key] for key in ("pack", "once", "each", "worker", "host"))
    )
    keys = ("pack", "once", "each", "worker", "host", "host_cpu")
    dearest = [task for task in tasks if task["host"] >= DEAR_SECONDS]
    rows = [[task["name"].rpartition(" : ")[2], *(f"{task[key]:.2f}" for key in keys)] for task in dearest]
    rows.append(["Ansible's start", f"{found['start']:.2f}", *[""] * 5])
    rows.append([f"all {len(tasks)} tasks", *(f"{sum(task[key] for task in tasks):.2f}" for key in keys)])
    notes = [f"The least of {found['rounds']} runs on one host and of as many on two, with nothing to change."]
    columns = ["seconds", "packing", "task", "each host", "worker", "host", "CPU of the host"]
    return Table("What a host costs", columns, rows, notes)


def fleet_table(cost: Mapping[str, Any], fleet: Mapping[str, Any]) -> Table:
    """How runs grow with the number of servers, beside what is estimated from the cost of a host."""
    runs = [*cost["runs"], *fleet["runs"]]
    rows = [
        [
            f"{each['hosts']}",
            f"{each['forks']}",
            f"{each['serial'] or ''}",
            f"{each['site']:.1f}",
            f"{each['site'] / runs[0]['site']:.1f}",
            f"{each['site_controller']:.1f}",
            f"{each['cores_left']:.1f}",
            f"{each['foretold']:.1f}",
            f"{each['foretold'] / each['site'] - 1:+.0%}",
            *(f"{each[key]:.1f}" if key in each else "" for key in ("facts", "facts_controller")),
        ]
        for each in runs
    ]
    notes = [
        f"No change. Medians of {fleet['rounds']}; with 1 and 2 hosts, from which the costs are, of {cost['rounds']}.",
        "Controller: CPU seconds of Ansible's own machine. Cores left: by all else that ran on this machine.",
        f"All servers share {fleet['cores']} cores with the controller here; real ones start Tethys all at once.",
    ]
    columns = ["hosts", "forks", "serial", "site s", "x", "controller s", "cores left", "foretold s", "error"]
    return Table("A fleet", [*columns, "facts s", "facts controller s"], rows, notes)


def foretold_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What converge.py says of fleets that nobody has here."""
    columns = ["portals", "cores of the controller", "tethys_serial", *(f"forks={each}" for each in rows[0]["seconds"])]
    cells = [
        [f"{row['hosts']}", f"{row['cores']}", f"{row['serial'] or ''}", *(f"{each:.0f} s" for each in times)]
        for row, times in ((row, row["seconds"].values()) for row in rows)
    ]
    return Table("Foretold: a run on portals that have cores of their own", columns, cells)


def memory_table(found: Mapping[str, Any]) -> Table:
    """What each part takes, in MB."""

    def several(values: Sequence[float]) -> str:
        return " + ".join(f"{value:.0f}" for value in values)

    rows = [
        [name, several(found["idle"][key]), several(found["load"][key])]
        for key, name in (("redis", "Redis"), ("docker-proxy", "Docker's port proxy"), ("daphne", "each ASGI process"))
        if found["idle"][key]
    ]
    rows.append(
        [
            "Redis's container, as Docker counts",
            f"{found['container_idle_mb']:.0f}",
            f"{found['container_load_mb']:.0f}",
        ]
    )
    rows.append(["a run of site without a change, at its peak", "", f"{found['run_peak_mb']:.0f}"])
    rows.append(["gather_facts, at its peak", "", f"{found['facts_peak_mb']:.0f}"])
    backlog = found["backlog"]
    each = (backlog["container_mb"] - found["container_load_mb"]) * 1024 * 1024 / backlog["messages"]
    notes = [
        "Proportional set size: what is shared is counted in parts. The run's peak is one start of Tethys, mostly.",
        f"A message of {backlog['bytes']} bytes that nobody has fetched takes {number(each)} bytes of Redis.",
    ]
    return Table("Memory on the server", ["MB", "idle", "under load"], rows, notes)


def clients_table(found: Mapping[str, Any]) -> Table:
    """What becomes of receivers with each redis-py, class and socket_timeout."""
    names = [f"{fault['fault']} {fault['seconds']} s" for fault in found["faults"]]
    cells: dict[tuple[str, str, str], list[str]] = {}
    for fault in found["faults"]:
        for each in fault["rows"]:
            after = each["ended_after"]
            when = f" ({after[0]:.0f} to {after[1]:.0f} s)" if after else ""
            cell = f"{each['received']}, {each['ended']}{when}, {each['waiting']}"
            cells.setdefault((each["redis"], CLASSES[each["layer"]], each["timeout"]), []).append(cell)
    notes = [
        "Of 6 receivers on one layer: received a message afterwards, ended with an error (when), still wait.",
        "idle: nothing is sent. frozen: Redis is paused, then goes on. gone: Redis is taken off the network for good.",
    ]
    rows = [[*key, *row] for key, row in cells.items()]
    return Table("socket_timeout in the host's entry", ["redis-py", "layer", "socket_timeout", *names], rows, notes)


def with_row(rows: Sequence[Mapping[str, Any]], new: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows with this one in the place of what was measured of the same fault and class before."""
    same = ("name", "backend")
    return [*(row for row in rows if any(row[key] != new[key] for key in same)), new]


def _faults_until(row: Mapping[str, Any]) -> str:
    """The seconds until every socket receives every message again."""
    if row["watched_seconds"] is None:
        return ""
    if row["until_seconds"] is None:
        return f"not within {row['watched_seconds']:.0f}"
    return f"{row['until_seconds']:.1f}"


def faults_table(found: Mapping[str, Any]) -> Table:
    """What each class loses while something breaks."""
    rows = [
        [
            row["label"],
            CLASSES[row["backend"]],
            f"{row['due']:,}",
            f"{row['received']:,}",
            f"{row['due'] - row['received']:,}",
            f"{row['twice']:,}",
            f"{row['missed']:,}",
            f"{row['refused']:,}",
            _faults_until(row),
            f"{row['closed']}",
            f"{row['restarted']}",
            f"{row['memory_growth_mb']:+.1f}",
            f"{row['cores_own']:.1f}",
            f"{row['cores_busy']:.1f}",
            f"{row['load_before']:.1f}",
        ]
        for row in _beside_each_other(found["rows"])
    ]
    names = found["versions"]
    notes = [
        f"{sum(found['groups'])} WebSockets in groups of {', '.join(map(str, found['groups']))}, "
        f"{found['processes']} processes, {found['messages_a_second']} messages a second to the groups in turn.",
        "Due: to a socket that was open from 1 s before the message until 3 s after it. Refused: the send failed.",
        "Missed: by any client, its socket open or closed, the message refused or not.",
        "Until: seconds from the fault until every client receives every message again, within 2 s.",
        "MB: what the processes that were not restarted have more at the end. Load: of the machine, before the row.",
        "Cores: what the server took, Redis and the clients included; cores busy: the whole machine.",
        ", ".join(f"{name} {version}" for name, version in names.items()) + ".",
    ]
    return Table("Both classes while something breaks", list(FAULT_COLUMNS), rows, notes)


def watch_table(found: Mapping[str, Any]) -> Table:
    """What the watch did about processes that hang, and about busy ones."""
    rows = [
        [row["layout"], row["kind"], "never" if row["seconds"] is None else f"{row['seconds']:.0f}", str(row["killed"])]
        for row in found["hangs"]
    ]
    load = found["load"]
    speed = f"{load['deliveries']:.0f} deliveries a second, p99 {load['p99_ms']:.0f} ms, {load['cores_own']:.1f} cores"
    views = f"{load['views_ok']} of {load['views']} answered 200"
    notes = [
        f"{load['minutes']} minutes of full load ({speed}) beside views of 60 s ({views}):"
        f" {load['killed']} processes killed, {load['closed']} WebSockets closed, {load['lost']} messages lost."
    ]
    return Table("The watch", ["layout", "a process hangs by", "seconds until it answers", "killed"], rows, notes)


def _beside_each_other(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows with the classes of each fault together."""
    order = list(dict.fromkeys(row["name"] for row in rows))
    return sorted(rows, key=lambda row: (order.index(row["name"]), list(CLASSES).index(row["backend"])))


def page_tables(found: Mapping[str, Any]) -> dict[str, Table]:
    """The table of the page on the classes, without what only the terminal has."""
    table = faults_table(found)
    places = [place for place, name in enumerate(FAULT_COLUMNS) if name not in ("lost", "cores busy")]
    return {
        "faults": table._replace(
            columns=[FAULT_COLUMNS[place] for place in places],
            rows=[[row[place] for place in places] for row in table.rows],
        )
    }


TABLES = {
    "layer": layer_table,
    "redis": redis_table,
    "daphne": daphne_table,
    "run": run_table,
    "unchanged": unchanged_table,
    "cost": cost_table,
    "memory": memory_table,
    "clients": clients_table,
    "faults": faults_table,
    "watch": watch_table,
}


def tables(figures: Mapping[str, Any]) -> dict[str, Table]:
    """All tables that the figures give, each with a word on what else the machine had to do."""
    found = {}
    # A fleet's figures are shown beside their estimates.
    makers = {**TABLES, "fleet": lambda fleet: fleet_table(figures["cost"], fleet)}
    for part, make in makers.items():
        if part in figures:
            table = make(figures[part])
            busy = figures[part].get("busy_before", 0.0)
            if busy > QUIET_CORES:
                cores = f"{busy:.1f} of {figures['cores']} cores"
                note = f"Other work kept {cores} busy when this began: measure again in a quiet hour."
                table = table._replace(notes=[*table.notes, note])
            found[part] = table
    return found


def bars(figures: Mapping[str, Any]) -> list[Bars]:
    """What the picture shows: multiples of the manual's setup."""
    one = Bar("the manual's setup", Ratio(1, 1, 1), reference=True)
    groups = []
    if "layer" in figures:
        for key, heading in (
            ("trips", "Round trips a second, from one process"),
            ("deliveries", "Fan-out: deliveries a second to a group of 50 channels"),
        ):
            found = [
                Bar(_setup(each, side == "hiredis"), ratio(each["rounds"], key, side))
                for each in figures["layer"]["setups"]
                for side in ("ours", "hiredis")
                if side in each["rounds"][0]
            ]
            groups.append(Bars(heading, [one, *found]))
    if "daphne" in figures:
        found = [
            Bar(f"{each['processes']} x {_setup(each)}", ratio(each["rounds"], "deliveries"))
            for each in figures["daphne"]["runs"]
        ]
        same = Bar("the manual's, as many processes", Ratio(1, 1, 1), reference=True)
        groups.append(Bars("End to end through daphne: deliveries a second to 48 WebSockets", [same, *found]))
    return groups
