# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the Redis and the Sentinels of the layer."""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES
from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import RedisHealth
from ansible_collections.tethys.channels.plugins.plugin_utils.check.report import SITE, Report
from ansible_collections.tethys.channels.plugins.plugin_utils.check.words import MIB, counted, span

FULL_PERCENT = 90


def kind_of(server: RedisHealth) -> str:
    """What answers there."""
    return "Sentinel" if server.get("watches") else "Redis"


def judge(report: Report) -> None:
    """Report what is wrong with each server, and between Sentinels."""
    servers = report.health["redis"]
    for server in servers:
        judge_server(report, server)
    primaries = {str(server["primary"]) for server in servers if server.get("primary")}
    wanted = sum(bool(server.get("watches")) for server in servers) - 1
    seen = [server["copies"] for server in servers if server.get("primary")]
    if seen and max(seen) < wanted:
        report.report(
            "replicas-missing",
            "redis",
            f"The layer's Redis has {max(seen)} of {counted(wanted, 'replica', 'replicas')} according to Sentinel:"
            f" read the log of the containers on their servers; {SITE} repairs it.",
        )
    if len(primaries) > 1:
        report.report(
            "primary-disputed",
            "redis",
            f"The sentinels have different primaries ({', '.join(sorted(primaries))}), as during a failover: check"
            " again in a minute, and then read their logs (`docker logs`).",
        )


def judge_server(report: Report, server: RedisHealth) -> None:
    """One server of the layer."""
    who = f"The layer's {kind_of(server)} at {server['place']}"
    if server["problem"]:
        report.report("redis-unusable", str(server["place"]), f"{who} {server['problem']}: {way_out(report)}.")
        return
    if not server["known"]:
        return
    up = span(server["uptime_seconds"])
    if server["max_memory"] and server["used_memory"] * 100 > server["max_memory"] * FULL_PERCENT:
        report.report(
            "redis-memory-full",
            str(server["place"]),
            f"{who} uses {server['used_memory'] / MIB:.1f} of the {server['max_memory'] / MIB:.0f} MiB after"
            f" which it"
            f" refuses messages: {more_memory(report)}, and look for a consumer that does not read its messages.",
        )
    if server["rejected_connections"]:
        limit = f" of {server['max_clients']}" if server["max_clients"] else ""
        report.report(
            "redis-refused-connections",
            str(server["place"]),
            f"{who} refused {counted(server['rejected_connections'], 'connection', 'connections')} since its start"
            f" {up} ago, because its limit{limit} clients was reached: look for who holds that many (CLIENT LIST),"
            " and restart Redis, which resets the count.",
        )
    if server["oom_errors"]:
        report.report(
            "redis-refused-writes",
            str(server["place"]),
            f"{who} refused {counted(server['oom_errors'], 'write', 'writes')} since its start {up} ago, because"
            f" its"
            f" memory was full, and the messages are lost: {more_memory(report)}; Redis's next start resets the"
            " count.",
        )
    if server["evicted_keys"]:
        report.report(
            "redis-evicted-keys",
            str(server["place"]),
            f"{who} evicted {counted(server['evicted_keys'], 'key', 'keys')} since its start {up} ago, and"
            f" messages or"
            " groups with them: set its maxmemory-policy to noeviction, and restart it, which resets the"
            " count.",
        )


def more_memory(report: Report) -> str:
    """How a Redis gets more memory."""
    return "raise redis_container_memory_mb" if report.plan["redis"] == "container" else "raise its maxmemory"


def way_out(report: Report) -> str:
    """What to do where Redis cannot be used."""
    if report.plan["redis"] == "shared":
        return f"read the log of its container there; {SITE} repairs it"
    if report.plan["redis"] == "given":
        return "start it, or correct its address and credentials in tethys_layer_hosts"
    container, name = report.server.get("container"), report.asked["container_name"]
    engine = ENGINES[report.plan["engine"]]
    if not report.engine_answers:
        return f"{engine.back}, then run {SITE}"
    if container is None:
        return f"its container {name} does not exist, and {SITE} creates it"
    if not container["running"]:
        return f"its container {name} is stopped, and {SITE} starts it"
    return f"read `{engine.logs(name)}`; {SITE} repairs it"
