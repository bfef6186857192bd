# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `tethys.channels.check` found on a host, as data for a monitoring system."""

from __future__ import annotations

from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import Probe, ProcessHealth, RedisHealth
from ansible_collections.tethys.channels.plugins.plugin_utils.check.page import VERSIONS
from ansible_collections.tethys.channels.plugins.plugin_utils.check.report import Report

# Raised when a key changes its meaning or goes away; a new key does not raise it.
FORMAT = 1


class ProblemStatus(TypedDict):
    """A problem: its code, which does not change between releases, its subject, and the sentence that check prints."""

    code: str
    subject: str
    text: str


class ProcessStatus(TypedDict):
    """An ASGI process, by its name in Supervisor; what is not known is null."""

    name: str
    state: str
    pid: int | None
    age_seconds: float | None
    memory_bytes: int | None
    connections: int | None
    is_outdated: bool | None


class RedisStatus(TypedDict):
    """A Redis or Sentinel of the layer; what is not known is null. A limit of 0 bytes is none."""

    place: str
    kind: str
    is_usable: bool
    version: str | None
    uptime_seconds: int | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    clients: int | None
    refused_connections: int | None
    evicted_keys: int | None
    refused_writes: int | None


class DeliveryStatus(TypedDict):
    """The delivery check: WebSockets that were open, those that received the message, and the slowest one's time."""

    is_verified: bool
    sockets: int
    received: int
    seconds: float | None


class BetweenStatus(TypedDict):
    """Portals that share a Redis: this one's WebSockets, and how many of them received each portal's message."""

    sockets: int
    received: dict[str, int]


class Status(TypedDict):
    """A host's status; times are in seconds since 1970."""

    format: int
    host: str
    checked_at: int
    ok: bool
    problems: list[ProblemStatus]
    versions: dict[str, str]
    layout: str
    backend: str
    processes_wanted: int
    processes: list[ProcessStatus]
    processes_killed: int
    redis: list[RedisStatus]
    delivery: DeliveryStatus
    between: BetweenStatus | None
    would_change: list[str]


def _process(row: ProcessHealth) -> ProcessStatus:
    """Return one of `layer_health`'s processes."""
    return {
        "name": row["name"],
        "state": "FROZEN" if row["frozen"] else row["state"],
        "pid": row["pid"],
        "age_seconds": row["age_seconds"],
        "memory_bytes": row["memory_bytes"],
        "connections": row["connections"],
        "is_outdated": row["outdated"],
    }


def _redis(row: RedisHealth) -> RedisStatus:
    """Return one of `layer_health`'s servers."""
    return {
        "place": row["place"],
        "kind": "sentinel" if row.get("watches") else "redis",
        "is_usable": not row["problem"],
        "version": row["version"],
        "uptime_seconds": row["uptime_seconds"],
        "memory_bytes": row["used_memory"],
        "memory_limit_bytes": row["max_memory"],
        "clients": row["clients"],
        "refused_connections": row["rejected_connections"],
        "evicted_keys": row["evicted_keys"],
        "refused_writes": row["oom_errors"],
    }


def _delivery(probe: Probe) -> DeliveryStatus:
    """Return what `layer_probe` saw."""
    return {
        "is_verified": bool(probe["provable"] and probe["sent"] and probe["received"] == probe["sent"]),
        "sockets": probe["sent"],
        "received": probe["received"],
        "seconds": probe["delivery_seconds"],
    }


def status(report: Report, host: str, checked_at: float) -> Status:
    """Return a host's status.

    Args:
        report: the host's report, with its problems.
        host: its name in the inventory.
        checked_at: when it was checked, in seconds since 1970.
    """
    versions = report.portal.get("versions") or {}
    return {
        "format": FORMAT,
        "host": host,
        "checked_at": int(checked_at),
        "ok": not report.problems,
        "problems": [{"code": p.code, "subject": p.subject, "text": p.text} for p in report.problems],
        "versions": {name: version for key, name in VERSIONS.items() if (version := versions.get(key))},
        "layout": report.plan["layout"],
        "backend": report.asked["backend"],
        "processes_wanted": report.plan["processes"] or 0,
        "processes": [_process(row) for row in report.rows],
        "processes_killed": len(report.health.get("watch") or []),
        "redis": [_redis(row) for row in report.health["redis"]],
        "delivery": _delivery(report.probe),
        "between": None,
        "would_change": list(report.changes),
    }


def with_fleet(status: Status, probe: Probe | None) -> Status:
    """Return a host's status with what `layer_probe` saw of the portals that share its Redis."""
    among = probe.get("among") if probe else None
    if not among:
        return status
    return {**status, "between": {"sockets": among["sockets"], "received": dict(among["heard"])}}
