# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ratios, tables and bars of a measurement."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.tethys.channels.tests.bench import figures


def layer_round(ours: float, manual: float, lost: int = 0) -> dict[str, dict[str, float]]:
    """A round in which everything is so many times one."""

    def side(value: float, missing: int) -> dict[str, float]:
        return {
            "trips": value,
            "p50_ms": 1000 / value,
            "p99_ms": 2000 / value,
            "trips_lost": 0,
            "deliveries": 10 * value,
            "deliveries_lost": missing,
        }

    return {"ours": side(ours, lost), "manual": side(manual, 0)}


def daphne_round(ours: float, manual: float, busy: float = 1.0) -> dict[str, dict[str, float]]:
    """The same, end to end."""

    def side(value: float) -> dict[str, float]:
        return {
            "clients": 48,
            "window": 20,
            "deliveries": value,
            "one_p50_ms": 10000 / value,
            "one_p99_ms": 20000 / value,
            "cores_busy": busy,
            "lost": 0,
        }

    return {"ours": side(ours), "manual": side(manual)}


ROUNDS = [layer_round(800, 400), layer_round(900, 300), layer_round(500, 500, lost=7)]
WITH_HIREDIS = [{**each, "hiredis": layer_round(4 * each["manual"]["trips"], 1)["ours"]} for each in ROUNDS]
LAYER = {
    "setups": [
        {"transport": "published", "backend": "core", "rounds": [layer_round(400, 400)] * 3},
        {"transport": "unix", "backend": "pubsub", "rounds": WITH_HIREDIS},
    ],
}
DAPHNE = {
    "cores": 2,
    "generator": {"deliveries": 60000},
    "runs": [
        {"processes": 1, "transport": "unix", "backend": "core", "rounds": [daphne_round(1500, 1000)]},
        {"processes": 4, "transport": "unix", "backend": "core", "rounds": [daphne_round(2000, 2000, busy=1.95)]},
    ],
}
RUN = {
    "rounds": 3,
    "silence_seconds": 7,
    "first": {"seconds": 22.0, "modules": 14},
    "second": {"seconds": 9.0, "modules": 12, "changed": False},
    "check": {"seconds": 8.0, "modules": 9},
    "facts": {"seconds": 2.0, "modules": 1},
    "ping": {"seconds": 1.0, "modules": 1},
    "start": {"seconds": 4.0},
    "by_hand": {"seconds": 10.0, "besides_seconds": 10.0},
}
COST = {
    "rounds": 5,
    "start": 1.5,
    "tasks": [
        {"name": "role : Judge", "once": 0.1, "each": 0.1, "worker": 0.1, "host": 0.0, "host_cpu": 0.0, "pack": 0.0},
        {"name": "role : Look", "once": 0.2, "each": 0.1, "worker": 0.3, "host": 1.0, "host_cpu": 0.5, "pack": 0.5},
        {"name": "role : Prove", "once": 0.1, "each": 0.1, "worker": 0.3, "host": 2.0, "host_cpu": 0.75, "pack": 0.1},
    ],
    "runs": [
        {
            "hosts": 1,
            "forks": 16,
            "serial": 0,
            "site": 9.0,
            "facts": 3.0,
            "site_controller": 2.0,
            "facts_controller": 1.0,
            "cores_left": 1.9,
            "foretold": 9.0,
        },
    ],
}
FLEET = {
    "rounds": 3,
    "cores": 2,
    "runs": [
        # With tethys_serial nobody gathers facts beside it.
        {
            "hosts": 16,
            "forks": 4,
            "serial": 2,
            "site": 36.0,
            "site_controller": 20.0,
            "cores_left": 1.42,
            "foretold": 27.0,
        },
    ],
}
REDIS = {
    "runs": [
        {
            "sockets": 400,
            "processes": 4,
            "backend": "core",
            "rounds": [
                {"redis_ms": 0.5, "memory_mb": 1.0, "connections": 8},
                {"redis_ms": 0.4, "memory_mb": 1.2, "connections": 8},
                {"redis_ms": 0.7, "memory_mb": 1.1, "connections": 9},
            ],
        }
    ]
}
MEMORY = {
    "idle": {"redis": [10.4], "docker-proxy": [], "daphne": [100.2, 101.3]},
    "load": {"redis": [11.6], "docker-proxy": [], "daphne": [110.0, 112.0]},
    "container_idle_mb": 5.0,
    "container_load_mb": 6.0,
    "backlog": {"messages": 1024 * 1024, "bytes": 1000, "container_mb": 1506.0},
    "run_peak_mb": 112.0,
    "facts_peak_mb": 20.0,
}
RECEIVERS = {"redis": "8.1.0", "layer": "core", "of": 6, "sender_after": None}
CLIENTS = {
    "faults": [
        {
            "fault": "idle",
            "seconds": 17,
            "rows": [
                {**RECEIVERS, "timeout": "absent", "received": 3, "ended": 3, "ended_after": [2.7, 12.7], "waiting": 0},
                {**RECEIVERS, "timeout": "15", "received": 6, "ended": 0, "ended_after": None, "waiting": 0},
            ],
        },
        {
            "fault": "gone",
            "seconds": 40,
            "rows": [
                {**RECEIVERS, "timeout": "absent", "received": 0, "ended": 6, "ended_after": [2.5, 16.4], "waiting": 0},
                {**RECEIVERS, "timeout": "15", "received": 0, "ended": 5, "ended_after": [12.5, 25.6], "waiting": 1},
            ],
        },
    ]
}
ROW = {
    "name": "killed",
    "short": "Redis is killed",
    "label": "Redis is killed",
    "backend": "core",
    "due": 12000,
    "received": 11400,
    "twice": 3,
    "wanted": 18000,
    "missed": 6600,
    "refused": 7,
    "closed": 150,
    "restarted": 0,
    "watched_seconds": 14.9,
    "until_seconds": None,
    "memory_growth_mb": 1.25,
    "cores_own": 0.8,
    "cores_busy": 1.04,
    "load_before": 1.2,
}
CALM = {**ROW, "name": "steady", "label": "nothing breaks", "watched_seconds": None, "memory_growth_mb": -0.5}
FAULTS = {
    "measured": "2026-11-30 21:20",
    "groups": [5, 100],
    "processes": 3,
    "messages_a_second": 20,
    "versions": {"channels_redis": "4.3.0"},
    "rows": [CALM, ROW, {**ROW, "backend": "pubsub", "until_seconds": 1.24}, {**CALM, "backend": "pubsub"}],
}
ALL: dict[str, Any] = {
    "clients": CLIENTS,
    "faults": FAULTS,
    "layer": LAYER,
    "daphne": DAPHNE,
    "run": RUN,
    "cost": COST,
    "fleet": FLEET,
    "redis": REDIS,
    "memory": MEMORY,
    "cores": 2,
}


def test_a_ratio_divides_what_was_measured_side_by_side() -> None:
    # The medians of the columns, 800 and 400, would be the same here only by chance: 2 is the median of 2, 3 and 1.
    assert figures.ratio(ROUNDS, "trips") == figures.Ratio(2, 1, 3)
    slow_machine = [layer_round(80, 40), layer_round(900, 300), layer_round(800, 400)]
    assert figures.ratio(slow_machine, "trips").middle == 2


@pytest.mark.parametrize(("value", "said"), [(1.234, "1.2"), (9.94, "9.9"), (9.96, "10"), (17.4, "17"), (0.98, "0.98")])
def test_a_ratio_has_two_digits(value: float, said: str) -> None:
    assert str(figures.Ratio(value, value, value)) == said


@pytest.mark.parametrize(
    ("value", "said"), [(108798, "108,800"), (414.4, "414"), (41.44, "41.4"), (4.144, "4.14"), (999.7, "1000")]
)
def test_a_figure_has_the_digits_that_mean_something(value: float, said: str) -> None:
    assert figures.number(value) == said


def test_what_one_process_can_take_is_said() -> None:
    rounds = [{**one, "process": {"deliveries": 80 * one["manual"]["deliveries"]}} for one in WITH_HIREDIS]
    found = {"setups": [*LAYER["setups"][:1], {**LAYER["setups"][1], "rounds": rounds}]}
    (said,) = [note for note in figures.layer_table(found).notes if "without Redis" in note]
    assert "(80 x): no layer has a larger fan-out" in said
    assert figures.layer_table(found).rows == figures.layer_table(LAYER).rows


def test_the_layers_table_has_the_manual_first_and_counts_losses() -> None:
    table = figures.layer_table(LAYER)
    assert [row[:2] for row in table.rows] == [
        ["the manual's setup", "1"],
        ["published port, core", "1"],
        ["unix socket, pub/sub (default)", "2"],
        ["unix socket, pub/sub, hiredis", "4"],
    ]
    assert "Messages lost: ours 7, manual 0, hiredis 0." in table.notes


def test_end_to_end_says_where_the_cores_are_the_limit() -> None:
    table = figures.daphne_table(DAPHNE)
    assert [row[:2] for row in table.rows] == [
        ["1 x the manual's", "1"],
        ["1 x unix socket, core", "1.5"],
        ["4 x the manual's", "1"],
        ["4 x unix socket, core", "1"],
    ]
    assert any(note.startswith("With 4 processes all 2 cores were busy") for note in table.notes)
    assert any("60,000 deliveries a second, 30 times the fastest row" in note for note in table.notes)


def test_the_run_is_judged_by_what_it_is_promised_by() -> None:
    notes = " ".join(figures.run_table(RUN).notes)
    assert "takes 1.00 times 2.5 x gather_facts + one start of Tethys" in notes
    assert "takes 1.10 times its steps typed by hand" in notes
    assert "and 2.20 times the manual's steps, which prove nothing" in notes
    assert "changed something" not in notes
    restless = {**RUN, "second": {"seconds": 9.0, "modules": 12, "changed": True}}
    assert "The second run changed something!" in figures.run_table(restless).notes[0]


def test_the_unchanged_run_is_told_beside_that_of_a_commit() -> None:
    rounds = [
        {"before": {"seconds": before, "modules": 4}, "after": {"seconds": after, "modules": 2}}
        for before, after in ((4.0, 3.0), (8.0, 6.0), (4.0, 5.0))
    ]
    table = figures.unchanged_table({"commit": "689044e", "changed": False, "rounds": rounds})
    assert table.rows == [["689044e", "4.0", "4"], ["this tree", "5.0", "2"]]
    assert table.notes[-1] == "This tree takes 0.75 times the seconds of 689044e."
    restless = figures.unchanged_table({"commit": "689044e", "changed": True, "rounds": rounds})
    assert "A run changed something!" in restless.notes[0]


def test_the_watch_is_told_with_what_it_killed_and_what_it_never_saw() -> None:
    hangs = [
        {"layout": "shared_socket", "kind": "SIGSTOP", "seconds": 51.4, "killed": 1},
        {"layout": "shared_socket", "kind": "deadlock", "seconds": None, "killed": 0},
    ]
    load = {"minutes": 30, "killed": 2, "closed": 3, "lost": 4, "deliveries": 900.4, "p99_ms": 80.2, "cores_own": 1.25}
    table = figures.watch_table({"hangs": hangs, "load": {**load, "views": 9, "views_ok": 8}})
    assert table.rows == [["shared_socket", "SIGSTOP", "51", "1"], ["shared_socket", "deadlock", "never", "0"]]
    assert "900 deliveries a second, p99 80 ms" in table.notes[0]
    assert "8 of 9 answered 200" in table.notes[0]
    assert "2 processes killed, 3 WebSockets closed, 4 messages lost." in table.notes[0]


def test_a_fleet_is_compared_with_one_host_and_with_what_was_foretold() -> None:
    rows = figures.fleet_table(COST, FLEET).rows
    assert rows[0] == ["1", "16", "", "9.0", "1.0", "2.0", "1.9", "9.0", "+0%", "3.0", "1.0"]
    assert rows[1] == ["16", "4", "2", "36.0", "4.0", "20.0", "1.4", "27.0", "-25%", "", ""]


def test_the_cost_of_a_host_has_its_dearest_tasks_first_and_ends_with_the_sum() -> None:
    rows = figures.cost_table(COST).rows
    assert rows == [
        ["Prove", "0.10", "0.10", "0.10", "0.30", "2.00", "0.75"],
        ["Look", "0.50", "0.20", "0.10", "0.30", "1.00", "0.50"],
        ["Ansible's start", "1.50", "", "", "", "", ""],
        ["all 3 tasks", "0.60", "0.40", "0.30", "0.70", "3.00", "1.25"],
    ]


FORETOLD = [{"hosts": 50, "cores": 2, "serial": 5, "seconds": {5: 120.4, 10: 80.0}}]
PAGE = (
    "Before.\n.. measured: redis\nold\n.. end of measured\nBetween.\n.. measured: fleet\n.. end of measured\nAfter.\n"
)


def test_the_guide_gets_its_tables_and_keeps_its_words() -> None:
    tables = figures.guide_tables({"redis": REDIS, "cost": COST, "fleet": FLEET}, FORETOLD)
    page = figures.written(PAGE, {name: tables[name] for name in ("redis", "fleet")})
    assert [line for line in page.splitlines() if line and not line.startswith("   ")] == [
        "Before.",
        ".. measured: redis",
        ".. csv-table::",
        ".. end of measured",
        "Between.",
        ".. measured: fleet",
        ".. csv-table::",
        ".. end of measured",
        "After.",
    ]
    assert '   "core", "400", "4", "0.500", "2,000", "8"\n' in page
    assert '   "16", "4", "2", "36.0", "27.0", "-25%", "1.4"\n' in page
    assert figures.written(page, {"redis": tables["redis"]}) == page


def test_what_is_foretold_has_a_column_for_each_number_of_forks() -> None:
    table = figures.foretold_table(FORETOLD)
    assert list(table.columns) == ["portals", "cores of the controller", "tethys_serial", "forks=5", "forks=10"]
    assert table.rows == [["50", "2", "5", "120 s", "80 s"]]


def test_a_guide_without_a_place_for_a_table_is_told_of() -> None:
    with pytest.raises(ValueError, match="no place for the table 'other'"):
        figures.written(PAGE, {"other": figures.redis_table(REDIS)})


def test_a_message_is_a_part_of_redis_second() -> None:
    [row] = figures.redis_table(REDIS).rows
    assert row == ["core", "400", "4", "0.500", "0.400 to 0.700", "2,000", "800,000", "8", "1.2"]


def test_receivers_have_a_row_for_each_timeout() -> None:
    table = figures.clients_table(CLIENTS)
    assert table.columns[3:] == ["idle 17 s", "gone 40 s"]
    assert table.rows == [
        ["8.1.0", "core", "absent", "3, 3 (3 to 13 s), 0", "0, 6 (2 to 16 s), 0"],
        ["8.1.0", "core", "15", "6, 0, 0", "0, 5 (12 to 26 s), 1"],
    ]


def test_faults_have_both_classes_beside_each_other() -> None:
    table = figures.faults_table(FAULTS)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["fault"], row["class"], row["until (s)"]) for row in rows] == [
        ("nothing breaks", "core", ""),
        ("nothing breaks", "pub/sub", ""),
        ("Redis is killed", "core", "not within 15"),
        ("Redis is killed", "pub/sub", "1.2"),
    ]
    assert (rows[2]["due"], rows[2]["received"], rows[2]["lost"], rows[2]["missed"]) == (
        "12,000",
        "11,400",
        "600",
        "6,600",
    )
    assert (rows[0]["MB"], rows[2]["MB"]) == ("-0.5", "+1.2")
    assert "105 WebSockets in groups of 5, 100, 3 processes, 20 messages a second" in table.notes[0]


def test_a_row_that_is_measured_again_replaces_the_one_before() -> None:
    rows = figures.with_row([CALM, ROW, {**ROW, "backend": "pubsub"}], {**ROW, "due": 5})
    assert [(row["name"], row["backend"], row["due"]) for row in rows] == [
        ("steady", "core", 12000),
        ("killed", "pubsub", 12000),
        ("killed", "core", 5),
    ]
    assert len(figures.with_row([], ROW)) == 1


def test_the_page_has_what_was_due_and_received_and_the_load_of_the_machine() -> None:
    table = figures.page_tables(FAULTS)["faults"]
    assert {"due", "received", "twice", "missed", "until (s)", "closed", "restarted", "MB", "load"} < set(table.columns)
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_memory_leaves_out_what_does_not_run() -> None:
    rows = figures.memory_table(MEMORY).rows
    assert rows[0] == ["Redis", "10", "12"]
    assert rows[1] == ["each ASGI process", "100 + 101", "110 + 112"]
    assert "A message of 1000 bytes that nobody has fetched takes 1,500 bytes" in figures.memory_table(MEMORY).notes[1]


def test_only_what_was_measured_is_told() -> None:
    assert list(figures.tables({"memory": MEMORY, "cores": 2})) == ["memory"]
    assert set(figures.tables(ALL)) == set(ALL) - {"cores"}
    assert figures.bars({"run": RUN}) == []


@pytest.mark.parametrize(("busy", "told"), [(0.1, False), (1.8, True)])
def test_other_work_on_the_machine_is_told_of(busy: float, told: bool) -> None:
    table = figures.tables({"memory": {**MEMORY, "busy_before": busy}, "cores": 2})["memory"]
    assert any(note.startswith("Other work kept 1.8 of 2 cores busy") for note in table.notes) is told


def test_the_figures_are_not_changed() -> None:
    before = copy.deepcopy(ALL)
    figures.tables(ALL)
    figures.bars(ALL)
    assert before == ALL


@pytest.mark.parametrize("table", figures.tables(ALL).values(), ids=lambda table: str(table.heading))
def test_tables_are_even(table: figures.Table) -> None:
    assert all(len(row) == len(table.columns) for row in table.rows)
    lines = figures.text(table).splitlines()[2:]
    assert lines[1].strip().split("  ")
    assert len({len(line) for line in lines[: 2 + len(table.rows)] if line.rstrip() == line}) <= 2
    drawn = figures.markdown(table).splitlines()
    assert len(drawn) == 2 + len(table.rows)
    assert len({line.count("|") for line in drawn}) == 1


def test_bars_are_multiples_of_the_manual() -> None:
    groups = figures.bars(ALL)
    assert len(groups) == 3
    assert all(group.bars[0].reference and group.bars[0].ratio.middle == 1 for group in groups)
    labels = [bar.label for bar in groups[0].bars]
    assert labels[1:] == ["published port, core", "unix socket, pub/sub (default)", "unix socket, pub/sub, hiredis"]
    assert [bar.ratio.middle for bar in groups[0].bars] == [1, 1, 2, 4]
