# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A status as metrics in Prometheus's text format, as node_exporter's textfile collector reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Union

from ansible_collections.tethys.channels.plugins.plugin_utils.status import Status

PREFIX = "tethys_channels"
Number = Union[bool, int, float, None]


class Metric(NamedTuple):
    """A metric: the end of its name, its type and its help."""

    name: str
    kind: str
    help: str


class Sample(NamedTuple):
    """A sample of a metric; one whose value is not known is left out."""

    name: str
    labels: Mapping[str, str]
    value: Number


METRICS = (
    Metric("ok", "gauge", "1 if the last check found no problem."),
    Metric("check_timestamp_seconds", "gauge", "When the host was checked, in seconds since 1970."),
    Metric("problem", "gauge", "1 for each problem that the last check found, by its code."),
    Metric("version_info", "gauge", "The versions of the packages that carry a message."),
    Metric("processes_wanted", "gauge", "ASGI processes that the inventory configures."),
    Metric("processes_killed", "gauge", "ASGI processes that the watch killed, of the last 50 such acts."),
    Metric("process_up", "gauge", "1 if the ASGI process runs and is not stopped by a signal."),
    Metric("process_age_seconds", "gauge", "Seconds since the ASGI process started."),
    Metric("process_memory_bytes", "gauge", "Resident memory of the ASGI process."),
    Metric("process_connections", "gauge", "Open connections that the ASGI process has accepted."),
    Metric("process_outdated", "gauge", "1 if the ASGI process runs with settings or packages older than on disk."),
    Metric("delivery_ok", "gauge", "1 if every WebSocket of the delivery check received its message."),
    Metric("delivery_sockets", "gauge", "WebSockets that the delivery check opened."),
    Metric("delivery_received", "gauge", "WebSockets of the delivery check that received the message."),
    Metric("delivery_seconds", "gauge", "Seconds until the last WebSocket of the delivery check received the message."),
    Metric("redis_up", "gauge", "1 if the layer's Redis or Sentinel can be used."),
    Metric("redis_uptime_seconds", "gauge", "Seconds since Redis started."),
    Metric("redis_memory_bytes", "gauge", "Memory that Redis uses."),
    Metric("redis_memory_limit_bytes", "gauge", "Memory after which Redis refuses messages; 0 is no limit."),
    Metric("redis_clients", "gauge", "Clients of Redis."),
    Metric("redis_refused_connections_total", "counter", "Connections that Redis refused since it started."),
    Metric("redis_evicted_keys_total", "counter", "Keys that Redis evicted since it started."),
    Metric("redis_refused_writes_total", "counter", "Writes that Redis refused for lack of memory since it started."),
)


def _samples(status: Status) -> Iterator[Sample]:
    """Yield a host's samples."""
    host = {"host": status["host"]}
    delivery = status["delivery"]
    yield Sample("ok", host, status["ok"])
    yield Sample("check_timestamp_seconds", host, status["checked_at"])
    yield Sample("processes_wanted", host, status["processes_wanted"])
    yield Sample("processes_killed", host, status["processes_killed"])
    versions = {name.lower().replace("-", "_"): version for name, version in status["versions"].items()}
    yield Sample("version_info", {**host, **versions}, 1)
    yield Sample("delivery_ok", host, delivery["is_verified"])
    yield Sample("delivery_sockets", host, delivery["sockets"])
    yield Sample("delivery_received", host, delivery["received"])
    yield Sample("delivery_seconds", host, delivery["seconds"])
    # Two problems of one code and subject are one sample: a sample must not occur twice.
    for code, subject in sorted({(problem["code"], problem["subject"]) for problem in status["problems"]}):
        yield Sample("problem", {**host, "code": code, "subject": subject}, 1)
    for process in status["processes"]:
        of_process = {**host, "process": process["name"]}
        yield Sample("process_up", of_process, process["state"] == "RUNNING")
        yield Sample("process_age_seconds", of_process, process["age_seconds"])
        yield Sample("process_memory_bytes", of_process, process["memory_bytes"])
        yield Sample("process_connections", of_process, process["connections"])
        yield Sample("process_outdated", of_process, process["is_outdated"])
    for redis in status["redis"]:
        of_redis = {**host, "place": redis["place"], "kind": redis["kind"]}
        yield Sample("redis_up", of_redis, redis["is_usable"])
        yield Sample("redis_uptime_seconds", of_redis, redis["uptime_seconds"])
        yield Sample("redis_memory_bytes", of_redis, redis["memory_bytes"])
        yield Sample("redis_memory_limit_bytes", of_redis, redis["memory_limit_bytes"])
        yield Sample("redis_clients", of_redis, redis["clients"])
        yield Sample("redis_refused_connections_total", of_redis, redis["refused_connections"])
        yield Sample("redis_evicted_keys_total", of_redis, redis["evicted_keys"])
        yield Sample("redis_refused_writes_total", of_redis, redis["refused_writes"])


def _quoted(text: str) -> str:
    """Return a label's value in the format."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _line(sample: Sample) -> str:
    """Return the line of a sample whose value is known."""
    labels = ",".join(f"{name}={_quoted(value)}" for name, value in sample.labels.items())
    value = sample.value
    return f"{PREFIX}_{sample.name}{{{labels}}} {int(value) if isinstance(value, bool) else value}"


def as_metrics(statuses: Sequence[Status]) -> str:
    """Return the metrics of all hosts in Prometheus's text format."""
    samples = [sample for status in statuses for sample in _samples(status) if sample.value is not None]
    lines: list[str] = []
    for metric in METRICS:
        found = [_line(sample) for sample in samples if sample.name == metric.name]
        if found:
            name = f"{PREFIX}_{metric.name}"
            lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}", *found]
    return "\n".join([*lines, ""])
