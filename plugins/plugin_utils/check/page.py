# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page that `tethys.channels.check` prints for one host: what was seen, and all that it calls a problem."""

from __future__ import annotations

import time
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import ProcessHealth, RedisHealth
from ansible_collections.tethys.channels.plugins.plugin_utils.check import delivery, processes, redis, site
from ansible_collections.tethys.channels.plugins.plugin_utils.check.report import SITE, Report, Seen
from ansible_collections.tethys.channels.plugins.plugin_utils.check.words import MIB, counted, span
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, codes, texts

VERSIONS = {
    "tethys_platform": "Tethys",
    "channels": "channels",
    "channels_redis": "channels_redis",
    "redis": "redis-py",
    "daphne": "daphne",
}


class Page(TypedDict):
    """What `check` prints: what was seen, and what is wrong, as sentences and as codes."""

    ok: bool
    lines: list[str]
    problems: list[str]
    codes: list[dict[str, str]]


def page(found: Report) -> Page:
    """Return a report as `check` prints it: `ok`, `lines` (what was seen), `problems` (sentences) and `codes`."""
    return {
        "ok": not found.problems,
        "lines": lines(found),
        "problems": texts(found.problems),
        "codes": codes(found.problems),
    }


def judged(seen: Seen) -> Report:
    """Return the report of one host, with what is wrong.

    Args:
        seen: `plan` (of `plan.decide`), `asked` (`backend`, `container_name`, `image`), `health` (of `layer_health`),
            `probe` (of `layer_probe`) and `site`, which has what the steps of a `site` run said in check mode:
            `packages`, `redis_settings`, `container`, `portal_config` and `nginx_upstream`.
    """
    found = Report(seen)
    judge(found)
    return found


def judge(report: Report) -> None:
    """Report everything that is wrong, the cause before what follows from it."""
    if report.untouched:
        # All of it is to come, so that one sentence says it.
        site.judge(report)
        report.problems = [Problem("never-run", SITE, f"{SITE} has not been run on this server yet: run it.")]
    else:
        redis.judge(report)
        processes.judge(report)
        site.judge(report)
    delivery.judge(report)
    for text in (report.plan.get("trust") or {}).get("problems", []):
        report.report("open-to-others", "trust", text)


def lines(report: Report) -> list[str]:
    """Return what was seen, line by line."""
    found = [f"Versions: {versions(report)}", f"Layout: {layout(report)}"]
    found += [f"Process {process_line(report, row)}" for row in report.rows]
    found += watch_lines(report)
    if report.plan["redis"] == "none":
        found.append("Redis: none, since the layer is in memory")
    found += [redis_line(report, server) for server in report.health["redis"]]
    found += [
        f"Delivery: {line}"
        for line in [
            *delivery.delivery(report.probe),
            *delivery.through_front(report.probe),
            *(report.probe.get("warnings") or []),
        ]
    ]
    found += (report.plan.get("trust") or {}).get("lines", [])
    found.append(f"A run of {SITE} would change {'; '.join(report.changes) or 'nothing'}")
    return found


def versions(report: Report) -> str:
    """The versions of everything that carries a message."""
    portal = report.portal.get("versions") or {}
    found = [f"{name} {portal[key]}" for key, name in VERSIONS.items() if portal.get(key)]
    found += [f"Redis {server['version']}" for server in report.health["redis"] if server["version"]]
    container = report.server.get("container") or report.plan.get("left_container") or {}
    if report.plan["redis"] == "container" and container.get("image"):
        found.append(f"image {container['image']}")
    if report.health["supervisor"]["version"]:
        found.append(f"Supervisor {report.health['supervisor']['version']}")
    return ", ".join(found)


def layout(report: Report) -> str:
    """How the processes listen."""
    ports = report.plan["ports"]
    where = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]}"
    number = counted(report.plan["processes"] or 0, "process", "processes")
    return f"{report.plan['layout']}, {number} configured, {where}"


def process_line(report: Report, row: ProcessHealth) -> str:
    """One process."""
    if not row["pid"]:
        return f"{row['name']}: {row['state']}"
    state = "stopped by a signal" if row["frozen"] else row["state"]
    runs_with: dict[bool | None, str] = {
        True: ", with settings or packages older than those on disk",
        False: ", with the settings and packages on disk",
    }
    line = f"{row['name']}: {state}, pid {row['pid']}, for {span(row['age_seconds'] or 0)}, as {row['user']}"
    line += runs_with.get(row["outdated"], "")
    return line + (", older than Redis's last start" if row["before_redis"] else "")


def watch_lines(report: Report) -> list[str]:
    """What the watch has done."""
    acts = report.health.get("watch") or []
    if not acts:
        return []
    last = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(acts[-1]["time"]))
    times = counted(len(acts), "process", "processes")
    return [f"Watch: killed {times} that did not answer; the last was {acts[-1]['process']} at {last}"]


def redis_line(report: Report, server: RedisHealth) -> str:
    """One server's figures, or where a Sentinel has the primary."""
    place = f"{redis.kind_of(server)} {server['place']}"
    if server.get("primary"):
        return f"{place}: the primary is {server['primary']}, with {counted(server['copies'], 'replica', 'replicas')}"
    if server["problem"]:
        return f"{place}: {server['problem']}"
    if not server["known"]:
        return f"{place}: its figures are unknown, since the portal's user may not read them"
    limit = f"{server['max_memory'] / MIB:.0f}" if server["max_memory"] else "unlimited"
    oom = "not known" if server["oom_errors"] is None else server["oom_errors"]
    parts = [
        f"for {span(server['uptime_seconds'])}",
        f"memory {server['used_memory'] / MIB:.1f} of {limit} MiB",
        counted(server["clients"], "client", "clients"),
        f"connections refused {server['rejected_connections']}",
        f"keys evicted {server['evicted_keys']}",
        f"writes refused because memory was full {oom}",
    ]
    backlog = server["backlog"]
    if backlog:
        least = "" if backlog["complete"] else "at least "
        messages = counted(backlog["messages"], "message", "messages")
        parts.append(f"backlog {least}{messages} in {counted(backlog['channels'], 'channel', 'channels')}")
    elif ".pubsub." not in report.asked["backend"]:
        parts.append("backlog not known")
    return f"{place}: {', '.join(parts)}"
