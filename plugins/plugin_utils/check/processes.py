# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the ASGI processes: not running, stopped by a signal (frozen), outdated."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import ProcessHealth
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames, asgi_number
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisord import unit
from ansible_collections.tethys.channels.plugins.plugin_utils.check.report import RESTART, SITE, Report
from ansible_collections.tethys.channels.plugins.plugin_utils.check.words import counted, listed


def judge(report: Report) -> None:
    """The processes as Supervisor and the kernel have them."""
    supervisor, rows, wanted = report.health["supervisor"], report.rows, report.plan["processes"]
    if not supervisor["running"]:
        report.report(
            "supervisor-silent",
            "Supervisor",
            f"Supervisor does not answer on {supervisor['socket']}, so nothing starts a process that ends:"
            f" read the journal of the unit {unit((report.server.get('supervisor') or {}).get('config'))}.",
        )
        return
    watch_problem(report)
    if len(rows) != wanted:
        there = counted(len(rows), "process", "processes")
        report.report(
            "number-differs",
            "tethys_asgi_processes",
            f"tethys_asgi_processes is {wanted}, and Supervisor has {there}: run {SITE}.",
        )
    for state in dict.fromkeys(row["state"] for row in rows if row["state"] != "RUNNING"):
        state_problem(report, state, [row for row in rows if row["state"] == state])
    frozen = [row for row in rows if row["frozen"]]
    if frozen:
        pids = " ".join(str(row["pid"]) for row in frozen)
        it = "it" if len(frozen) == 1 else "them"
        report.report(
            "process-stopped",
            "processes",
            f"{listed([row['name'] for row in frozen], 'is', 'are')} stopped by a signal, and no answer comes"
            f" from {it}:"
            f" `kill -CONT {pids}` wakes {it}, {RESTART} replaces {it}.",
        )
    outdated = [row["name"] for row in rows if row["outdated"]]
    if outdated:
        report.report(
            "process-outdated",
            "processes",
            f"{listed(outdated, 'runs', 'run')} with settings or packages older than those on disk: run"
            f" {SITE if report.would_change('portal_config') else RESTART}.",
        )
    older = [row["name"] for row in rows if row["before_redis"]]
    if older:
        report.report(
            "process-before-redis",
            "processes",
            f"{listed(older, 'was', 'were')} started before Redis was, so the WebSockets that were open then have"
            f" lost their groups and receive nothing until they reconnect: run {RESTART}.",
        )


def watch_problem(report: Report) -> None:
    """The watch, which needs Supervisor's answers."""
    unit = PortalNames(report.plan["portal_name"]).watch_unit
    if report.plan["watch"] and report.plan["watch_runs"] is False:
        report.report(
            "watch-stopped",
            "asgi_service_watch",
            f"The watch (asgi_service_watch) does not run, so no process that hangs is killed. Run {SITE}, which starts"
            f" it. To find out why, read the journal of the unit {unit}.",
        )
        return
    problem = report.health.get("watch_problem")
    if problem:
        report.report(
            "watch-cannot-query",
            "asgi_service_watch",
            f"The watch (asgi_service_watch) cannot query Supervisor ({problem}), so no process that hangs is killed."
            f" Read the journal of the unit {unit}.",
        )


def state_problem(report: Report, state: str, rows: Sequence[ProcessHealth]) -> None:
    """The processes that Supervisor has in a state other than RUNNING."""
    names = listed([row["name"] for row in rows], "is", "are")
    words = "; ".join(dict.fromkeys(row["problem"] for row in rows if row["problem"] and state != "STOPPED"))
    why = f" ({words})" if words else ""
    logs = " and ".join(dict.fromkeys(row["log"] for row in rows if row["log"]))
    read = f"read {logs}, then run" if logs else "run"
    way_out = {
        "STOPPED": f"run {RESTART}, which starts {'it' if len(rows) == 1 else 'them'}",
        "STARTING": f"check again in 10 seconds; if that does not help, {read} {RESTART}",
        "STOPPING": f"check again in 10 seconds; if that does not help, run {RESTART}",
    }.get(state, f"{read} {RESTART}")
    report.report("process-not-running", state, f"{names} {state}{why}: {way_out}.")


def down_ports(report: Report) -> set[int]:
    """The ports on which nobody can answer, because the processes for them are not running."""
    ports = list(report.plan["ports"])
    if not report.health["supervisor"]["running"]:
        return set(ports)
    running = [row for row in report.rows if row["state"] == "RUNNING"]
    if report.plan["layout"] != "socket_per_process":
        return set() if running else set(ports)
    return set(ports) - {ports[0] + (asgi_number(row["group"]) or 0) for row in running}
