# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What layer_health and layer_probe return: every key that the controller reads. What is not known is None."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.front_check import FrontAnswer


class ProcessHealth(TypedDict):
    """An ASGI process as Supervisor and the kernel have it."""

    name: str
    group: str
    state: str
    pid: int
    user: str | None
    age_seconds: float | None
    memory_bytes: int | None
    connections: int | None
    log: str | None
    frozen: bool
    outdated: bool | None
    before_redis: bool
    problem: str | None


class Backlog(TypedDict):
    """Messages that wait, and whether they were all counted."""

    messages: int
    channels: int
    complete: bool


class RedisHealth(TypedDict, total=False):
    """A server of the layer, or a sentinel, which has the last three."""

    place: str
    problem: str | None
    known: bool
    version: str | None
    uptime_seconds: int
    used_memory: int
    max_memory: int
    clients: int
    max_clients: int | None
    rejected_connections: int
    evicted_keys: int
    oom_errors: int | None
    backlog: Backlog | None
    watches: bool
    primary: str | None
    copies: int


class SupervisorHealth(TypedDict):
    """Supervisor."""

    running: bool
    version: str | None
    socket: str


class WatchAct(TypedDict):
    """A process that the watch killed, and when."""

    time: float
    process: str


class Differing(TypedDict):
    """A file that is not as expected, and why."""

    path: str
    why: str


class Health(TypedDict, total=False):
    """What layer_health returns."""

    supervisor: SupervisorHealth
    processes: list[ProcessHealth]
    redis: list[RedisHealth]
    watch: list[WatchAct]
    watch_problem: str | None
    differs: list[Differing]


class Idle(TypedDict):
    """What WebSockets did after silence."""

    seconds: float
    of: int
    alive: int
    received: int


class ProbeProcess(TypedDict, total=False):
    """A process that answered."""

    pid: int
    sockets: int


class Among(TypedDict):
    """This portal's WebSockets, and how many of them received each portal's message."""

    sockets: int
    heard: dict[str, int]


class Probe(TypedDict, total=False):
    """What layer_probe returns."""

    ok: bool
    problems: list[str]
    codes: list[dict[str, str]]
    provable: bool
    reason: str | None
    processes: list[ProbeProcess]
    sent: int
    received: int
    delivery_seconds: float | None
    idle: Idle | None
    among: Among | None
    front: FrontAnswer | None
    backend: str | None
    versions: dict[str, str | None] | None
    warnings: list[str]
