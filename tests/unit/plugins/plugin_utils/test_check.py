# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of tethys.channels.check: each state of a server, and what it says of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.check import page as check_page
from ansible_collections.tethys.channels.plugins.plugin_utils.check.words import span
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided
from hypothesis import given
from hypothesis import strategies as st

PROGRAM = "/etc/supervisor/conf.d/asgi_supervisord.conf"
CONFIG = "/var/lib/tethys/portal_config.yml"
NAMES = ("asgi:tethys_asgi0", "asgi:tethys_asgi1", "asgi:tethys_asgi2")
BETWEEN = "asgi:tethys_asgi0, asgi:tethys_asgi1 and asgi:tethys_asgi2"
SEEN: dict[str, Any] = {
    "plan": {
        "redis": "container",
        "backend": "channels_redis.core.RedisChannelLayer",
        "engine": "docker",
        "layout": "shared_socket",
        "portal_name": "",
        "watch": True,
        "watch_runs": True,
        "processes": 3,
        "ports": [8000],
        "redis_way": "host 127.0.0.1:6379",
        "managed": True,
        "portal": {
            "versions": {
                "tethys_platform": "4.6.1",
                "channels": "4.3.2",
                "channels_redis": "4.3.0",
                "redis": "7.4.1",
                "daphne": "4.2.3",
                "hiredis": None,
            },
            "config": {"path": CONFIG},
        },
        "server": {
            "docker": {"running": True},
            "container": {
                "image": "docker.io/library/redis:8.2",
                "running": True,
                "labels": {"tethys.channels.transport": "host 127.0.0.1:6379"},
            },
            "programs": [{"path": PROGRAM}],
            "state": ["credentials.json", "processes.json"],
        },
    },
    # The class that the portal has.
    "asked": {
        "backend": "channels_redis.core.RedisChannelLayer",
        "container_name": "tethys-channels-redis",
        "image": "docker.io/library/redis:8.2",
    },
    "health": {
        "supervisor": {"running": True, "version": "4.2.5", "socket": "/run/supervisor.sock"},
        "processes": [
            {
                "name": name,
                "group": "asgi",
                "state": "RUNNING",
                "pid": 101 + number,
                "user": "www-data",
                "age_seconds": 3725.4,
                "memory_bytes": 160 * 2**20,
                "connections": 4,
                "log": f"/var/log/tethys/tethys_asgi{number}.log",
                "frozen": False,
                "outdated": False,
                "before_redis": False,
                "problem": None,
            }
            for number, name in enumerate(NAMES)
        ],
        "redis": [
            {
                "place": "127.0.0.1:6379",
                "problem": None,
                "known": True,
                "version": "8.2.1",
                "uptime_seconds": 90061,
                "used_memory": 2 * 2**20,
                "max_memory": 192 * 2**20,
                "clients": 7,
                "max_clients": 10000,
                "rejected_connections": 0,
                "evicted_keys": 0,
                "oom_errors": 0,
                "backlog": {"messages": 2, "channels": 1, "complete": True},
            }
        ],
        "differs": [],
    },
    "probe": {
        "provable": True,
        "reason": None,
        "processes": [{"pid": 101}, {"pid": 102}, {"pid": 103}],
        "sent": 9,
        "received": 9,
        "delivery_seconds": 0.0123,
        "idle": None,
        "problems": [],
        "codes": [],
        "warnings": [],
    },
    "site": {
        "packages": {"changed": False, "moves": []},
        "redis_settings": {"changed": False},
        "container": {"changed": False},
        "portal_config": {"changed": False},
        "nginx_upstream": {"skipped": True},
    },
}
Change = Callable[[dict[str, Any]], None]


def put(path: str, value: Any) -> Change:
    """One value of what was seen, changed."""

    def change(seen: dict[str, Any]) -> None:
        *names, last = path.split(".")
        place: Any = seen
        for name in names:
            place = place[int(name) if name.isdigit() else name]
        place[int(last) if last.isdigit() else last] = value

    return change


def row(number: int, **values: Any) -> Change:
    """One process, changed."""
    return lambda seen: seen["health"]["processes"][number].update(values)


def redis(**values: Any) -> Change:
    """Redis, changed."""
    return lambda seen: seen["health"]["redis"][0].update(values)


def probed(*rows: tuple[str, str, str]) -> Change:
    """What the probe found wrong: a code, a subject and a sentence each."""

    def change(seen: dict[str, Any]) -> None:
        seen["probe"]["problems"] = [text for _code, _subject, text in rows]
        seen["probe"]["codes"] = [{"code": code, "subject": subject} for code, subject, _text in rows]

    return change


def page(*changes: Change) -> dict[str, Any]:
    """The page of a server that is good but for these changes."""
    seen = copy.deepcopy(SEEN)
    for change in changes:
        change(seen)
    before = copy.deepcopy(seen)
    result = decided(lambda seen: check_page.page(check_page.judged(seen)), seen)
    assert seen == before
    assert result["ok"] is not bool(result["problems"])
    assert len(set(result["problems"])) == len(result["problems"])
    return result


def stopped(number: int, state: str = "STOPPED", problem: str | None = "Nov 22 11:00 AM") -> Change:
    """A process that does not run."""
    return row(
        number, state=state, pid=None, user=None, age_seconds=None, frozen=None, outdated=None, before_redis=None,
        problem=problem,
    )  # fmt: skip


def apart(seen: dict[str, Any]) -> None:
    """A program and a port for each process."""
    seen["plan"].update(layout="socket_per_process", ports=[8000, 8001, 8002])
    for number, process in enumerate(seen["health"]["processes"]):
        process.update(group=f"tethys_asgi{number}", name=f"tethys_asgi{number}")


def given_redis(seen: dict[str, Any]) -> None:
    """An existing Redis, which reports nothing about itself."""
    seen["plan"]["redis"] = "given"
    seen["plan"]["server"]["container"] = None
    seen["health"]["redis"][0].update(
        dict.fromkeys(seen["health"]["redis"][0]), place="redis.example.org:6379", known=False
    )


UNKNOWN = dict.fromkeys(SEEN["health"]["redis"][0], None)
PRIMARY, OTHER = "192.0.2.5:6379", "192.0.2.7:6379"


def watched(*say: str, copies: tuple[int, ...] = ()) -> Change:
    """A Redis that portals share, watched by sentinels that have this primary or, without a port, this problem.

    Each sees so many copies of it, or those of all others.
    """

    def change(seen: dict[str, Any]) -> None:
        seen["plan"]["redis"] = "shared"
        seen["plan"]["server"]["container"] = None
        seen["health"]["redis"] = [
            {
                **UNKNOWN,
                "place": f"192.0.2.{number}:26379 (redis{number})",
                "known": False,
                "watches": True,
                "primary": told if ":" in told else None,
                "copies": (copies or (len(say) - 1,) * len(say))[number - 1] if ":" in told else None,
                "problem": None if ":" in told else told,
            }
            for number, told in enumerate(say, start=1)
        ]

    return change


SILENT = "does not answer ([Errno 111] Connection refused)"
DIFFERENT = (
    f"The sentinels have different primaries ({PRIMARY}, {OTHER}), as during a failover: check again in a minute, and"
    " then read their logs (`docker logs`)."
)


def too_few(copies: int, wanted: int) -> str:
    """What is said where copies are missing."""
    return (
        f"The layer's Redis has {copies} of {wanted} {'replica' if wanted == 1 else 'replicas'} according to Sentinel:"
        " read the log of the containers on their servers; tethys.channels.site repairs it."
    )


UNREACHABLE = redis(
    problem="cannot be reached ([Errno 111] Connection refused)",
    known=False,
    version=None,
    uptime_seconds=None,
    backlog=None,
)
TOLD = "The layer's Redis at 127.0.0.1:6379"
LOST = "Nothing can be sent through the channel layer with the portal's settings: refused."


def untouched(seen: dict[str, Any]) -> None:
    """A server on which `site` has not been run: nothing of it is there."""
    UNREACHABLE(seen)
    seen["plan"].update(managed=False)
    seen["plan"]["server"].update(container=None, programs=[], state=[])
    seen["health"]["supervisor"].update(running=False, version=None)
    seen["health"].update(processes=[], differs=[{"path": PROGRAM, "why": "does not exist"}])
    seen["site"]["portal_config"]["changed"] = True


# state -> what is wrong; an entry is the whole sentence
TABLE: dict[str, tuple[list[Change], list[str]]] = {
    "healthy": ([], []),
    "a process stopped": (
        [stopped(1)],
        ["asgi:tethys_asgi1 is STOPPED: run tethys.channels.restart, which starts it."],
    ),
    "all stopped, and nobody on the port": (
        [
            *(stopped(number) for number in range(3)),
            probed(
                (
                    "port-not-accepting",
                    "8000",
                    "127.0.0.1:8000 is held open, but no process accepts there; 'supervisorctl status' says why.",
                )
            ),
        ],
        [f"{BETWEEN} are STOPPED: run tethys.channels.restart, which starts them."],
    ),
    "a process that Supervisor gave up": (
        [stopped(2, "FATAL", "Exited too quickly (process log may have details)")],
        [
            "asgi:tethys_asgi2 is FATAL (Exited too quickly (process log may have details)): read"
            " /var/log/tethys/tethys_asgi2.log, then run tethys.channels.restart."
        ],
    ),
    "two that end again and again": (
        [stopped(0, "BACKOFF", "Exited too quickly"), stopped(1, "BACKOFF", "Exited too quickly")],
        [
            "asgi:tethys_asgi0 and asgi:tethys_asgi1 are BACKOFF (Exited too quickly): read"
            " /var/log/tethys/tethys_asgi0.log"
            " and /var/log/tethys/tethys_asgi1.log, then run tethys.channels.restart."
        ],
    ),
    "a process that starts": (
        [row(0, state="STARTING", outdated=None, before_redis=None)],
        [
            "asgi:tethys_asgi0 is STARTING: check again in 10 seconds; if that does not help, read"
            " /var/log/tethys/tethys_asgi0.log, then run tethys.channels.restart."
        ],
    ),
    "a process stopped by a signal": (
        [
            row(0, frozen=True),
            probed(
                (
                    "process-stopped",
                    "101",
                    "The ASGI process 101 (asgi:tethys_asgi0) on port 8000 is stopped (state T) and answers nothing.",
                )
            ),
        ],
        [
            "asgi:tethys_asgi0 is stopped by a signal, and no answer comes from it: `kill -CONT 101` wakes it,"
            " tethys.channels.restart replaces it."
        ],
    ),
    "a watch that cannot log in": (
        [put("health.watch_problem", "401 Unauthorized")],
        [
            "The watch (asgi_service_watch) cannot query Supervisor (401 Unauthorized), so no process that hangs is"
            " killed. Read the journal of the unit tethys_channels_watch."
        ],
    ),
    "a watch that does not run": (
        [put("plan.watch_runs", False), put("health.watch_problem", "old")],
        [
            "The watch (asgi_service_watch) does not run, so no process that hangs is killed. Run tethys.channels.site,"
            " which starts it. To find out why, read the journal of the unit tethys_channels_watch."
        ],
    ),
    "a watch beside Bokeh": (
        [put("plan.watch", False)],
        [
            "tethys.channels.site would change the watch of the processes (asgi_service_watch), which it would remove:"
            " run it, with --check --diff first to see the difference."
        ],
    ),
    "fewer processes than asked for": (
        [lambda seen: seen["health"]["processes"].pop()],
        ["tethys_asgi_processes is 3, and Supervisor has 2 processes: run tethys.channels.site."],
    ),
    "more, in a program file that says so": (
        [put("plan.processes", 1), put("health.differs", [{"path": PROGRAM, "why": "has another text"}])],
        ["tethys_asgi_processes is 1, and Supervisor has 3 processes: run tethys.channels.site."],
    ),
    "Supervisor silent": (
        [
            put("health.supervisor.running", False),
            put("health.processes", []),
            probed(("port-closed", "8000", "Nothing listens on 127.0.0.1:8000.")),
        ],
        [
            "Supervisor does not answer on /run/supervisor.sock, so nothing starts a process that ends: read the"
            " journal of the unit supervisor."
        ],
    ),
    "Supervisor of EPEL silent": (
        [
            put("plan.server.supervisor", {"config": "/etc/supervisord.conf"}),
            put("health.supervisor.running", False),
            put("health.processes", []),
            probed(("port-closed", "8000", "Nothing listens on 127.0.0.1:8000.")),
        ],
        [
            "Supervisor does not answer on /run/supervisor.sock, so nothing starts a process that ends: read the"
            " journal of the unit supervisord."
        ],
    ),
    "outdated": (
        [row(1, outdated=True)],
        ["asgi:tethys_asgi1 runs with settings or packages older than those on disk: run tethys.channels.restart."],
    ),
    "older than Redis": (
        [row(0, before_redis=True), row(2, before_redis=True)],
        [
            "asgi:tethys_asgi0 and asgi:tethys_asgi2 were started before Redis was, so the WebSockets that were open"
            " then have"
            " lost their groups and receive nothing until they reconnect: run tethys.channels.restart."
        ],
    ),
    "Redis stopped, and nothing delivered": (
        [
            UNREACHABLE,
            put("plan.server.container.running", False),
            probed(("layer-not-writable", "CHANNEL_LAYERS", LOST)),
        ],
        [
            f"{TOLD} cannot be reached ([Errno 111] Connection refused): its container tethys-channels-redis is"
            f" stopped, and"
            " tethys.channels.site starts it."
        ],
    ),
    "Redis not there": (
        [UNREACHABLE, put("plan.server.container", None)],
        [
            f"{TOLD} cannot be reached ([Errno 111] Connection refused): its container tethys-channels-redis does"
            f" not exist, and tethys.channels.site creates it."
        ],
    ),
    "Redis with its engine": (
        [UNREACHABLE, put("plan.server.container", None), put("plan.server.docker.running", False)],
        [
            f"{TOLD} cannot be reached ([Errno 111] Connection refused): Docker's engine does not answer; `systemctl"
            f" start docker`, then run tethys.channels.site."
        ],
    ),
    "Redis with its Podman": (
        [UNREACHABLE, put("plan.engine", "podman"), put("plan.server.podman", {"running": False})],
        [
            f"{TOLD} cannot be reached ([Errno 111] Connection refused): fix what `podman ps`, run as root, reports,"
            " then run tethys.channels.site."
        ],
    ),
    "Redis hung in Podman": (
        [UNREACHABLE, put("plan.engine", "podman"), put("plan.server.podman", {"running": True})],
        [
            f"{TOLD} cannot be reached ([Errno 111] Connection refused): read `journalctl -u tethys-channels-redis`;"
            " tethys.channels.site repairs it."
        ],
    ),
    "in the other engine": (
        [
            put("plan.engine", "podman"),
            put("plan.left_container", {"engine": "docker", "image": "docker.io/library/redis:8.2"}),
            put("plan.server.container", None),
        ],
        [
            "tethys.channels.site would change the engine of Redis's container, Docker -> Podman: run it, with --check"
            " --diff first to see the difference."
        ],
    ),
    "Redis hung": (
        [UNREACHABLE],
        [
            f"{TOLD} cannot be reached ([Errno 111] Connection refused): read `docker logs tethys-channels-redis`;"
            f" tethys.channels.site repairs it."
        ],
    ),
    "another Redis down, and a stranger on the portal's port": (
        [
            given_redis,
            redis(problem="cannot be reached (timed out)"),
            probed(
                ("message-not-received", "101", "It got the message on 0 of its 3 WebSockets."),
                ("process-of-stranger", "77", "Process 77 on port 8000 is of user nobody."),
            ),
        ],
        [
            "The layer's Redis at redis.example.org:6379 cannot be reached (timed out): start it, or correct its"
            " address and credentials in tethys_layer_hosts.",
            "Process 77 on port 8000 is of user nobody.",
        ],
    ),
    "a given Redis gone": (
        [given_redis, redis(problem="cannot be reached (timed out)")],
        [
            "The layer's Redis at redis.example.org:6379 cannot be reached (timed out): start it, or correct its"
            " address and"
            " credentials in tethys_layer_hosts."
        ],
    ),
    "a given Redis that tells nothing": ([given_redis], []),
    "sentinels that agree": ([watched(PRIMARY, PRIMARY, PRIMARY)], []),
    "sentinels that do not agree": ([watched(PRIMARY, OTHER, PRIMARY)], [DIFFERENT]),
    "sentinels that do not agree the other way round": ([watched(OTHER, OTHER, PRIMARY)], [DIFFERENT]),
    "a silent sentinel": (
        [watched(PRIMARY, SILENT, PRIMARY)],
        [
            f"The layer's Sentinel at 192.0.2.2:26379 (redis2) {SILENT}: read the log of its container there;"
            " tethys.channels.site repairs it."
        ],
    ),
    "a sentinel that watches nobody, and others that do not agree": (
        [watched("watches no primary", OTHER, PRIMARY)],
        [
            "The layer's Sentinel at 192.0.2.1:26379 (redis1) watches no primary: read the log of its container there;"
            " tethys.channels.site repairs it.",
            DIFFERENT,
        ],
    ),
    "a copy that one of them has not seen yet": ([watched(PRIMARY, PRIMARY, PRIMARY, copies=(1, 2, 0))], []),
    "more copies than there were": ([watched(PRIMARY, PRIMARY, PRIMARY, copies=(3, 3, 3))], []),
    "a copy missing": ([watched(PRIMARY, PRIMARY, PRIMARY, copies=(1, 1, 0))], [too_few(1, 2)]),
    "a copy missing among five": ([watched(*[PRIMARY] * 5, copies=(3, 3, 3, 3, 3))], [too_few(3, 4)]),
    "a copy missing, and a sentinel": (
        [watched(PRIMARY, SILENT, PRIMARY, copies=(1, 9, 1))],
        [
            f"The layer's Sentinel at 192.0.2.2:26379 (redis2) {SILENT}: read the log of its container there;"
            " tethys.channels.site repairs it.",
            too_few(1, 2),
        ],
    ),
    "a copy missing while another becomes the primary": (
        [watched(PRIMARY, OTHER, PRIMARY, copies=(1, 1, 1))],
        [too_few(1, 2), DIFFERENT],
    ),
    "only silent sentinels": (
        [watched(SILENT)],
        [
            f"The layer's Sentinel at 192.0.2.1:26379 (redis1) {SILENT}: read the log of its container there;"
            " tethys.channels.site repairs it."
        ],
    ),
    "a silent shared Redis": (
        [watched(), put("health.redis", [{**UNKNOWN, "place": "192.0.2.1:6379 (redis1)", "problem": SILENT}])],
        [
            f"The layer's Redis at 192.0.2.1:6379 (redis1) {SILENT}: read the log of its container there;"
            " tethys.channels.site repairs it."
        ],
    ),
    "just not too full": ([redis(used_memory=900, max_memory=1000)], []),
    "too full": (
        [redis(used_memory=180 * 2**20)],
        [
            f"{TOLD} uses 180.0 of the 192 MiB after which it refuses messages: raise redis_container_memory_mb, and"
            f" look for a"
            " consumer that does not read its messages."
        ],
    ),
    "without a limit": ([redis(max_memory=0)], []),
    "connections refused": (
        [redis(rejected_connections=1)],
        [
            f"{TOLD} refused 1 connection since its start 1 d 1 h ago, because its limit of 10000 clients was"
            f" reached: look for"
            " who holds that many (CLIENT LIST), and restart Redis, which resets the count."
        ],
    ),
    "writes refused": (
        [redis(oom_errors=12)],
        [
            f"{TOLD} refused 12 writes since its start 1 d 1 h ago, because its memory was full, and the messages are"
            f" lost: raise"
            " redis_container_memory_mb; Redis's next start resets the count."
        ],
    ),
    "keys evicted": (
        [redis(evicted_keys=3)],
        [
            f"{TOLD} evicted 3 keys since its start 1 d 1 h ago, and messages or groups with them: set its"
            f" maxmemory-policy to"
            " noeviction, and restart it, which resets the count."
        ],
    ),
    "CHANNEL_LAYERS changed by hand": (
        [
            put("site.portal_config.changed", True),
            row(0, outdated=True),
            probed(
                (
                    "settings-differ",
                    "home",
                    f"CHANNEL_LAYERS as Django reads it in {CONFIG} is not what was written there; look for another"
                    f" value.",
                ),
                ("layer-not-writable", "CHANNEL_LAYERS", LOST),
            ),
        ],
        [
            "asgi:tethys_asgi0 runs with settings or packages older than those on disk: run tethys.channels.site.",
            f"CHANNEL_LAYERS in {CONFIG} is not what tethys.channels.site would write: run it, with --check --diff"
            f" first to see"
            " the difference.",
            LOST,
        ],
    ),
    "another class to come": (
        [
            put("site.portal_config.changed", True),
            put("plan.backend", "channels_redis.pubsub.RedisPubSubChannelLayer"),
        ],
        [
            f"CHANNEL_LAYERS in {CONFIG} is not what tethys.channels.site would write (the class changes from"
            " channels_redis.core.RedisChannelLayer to channels_redis.pubsub.RedisPubSubChannelLayer): run it, with"
            " --check --diff first to see the difference.",
        ],
    ),
    "CHANNEL_LAYERS changed elsewhere": (
        [probed(("settings-differ", "home", "CHANNEL_LAYERS as Django reads it in X is not what was written there."))],
        ["CHANNEL_LAYERS as Django reads it in X is not what was written there."],
    ),
    "the program changed by hand": (
        [put("health.differs", [{"path": PROGRAM, "why": "has another text"}])],
        [
            f"tethys.channels.site would change {PROGRAM} (it has another text): run it, with --check --diff first to"
            f" see the"
            " difference."
        ],
    ),
    "reached otherwise": (
        [put("plan.redis_way", "published 127.0.0.1:6379")],
        [
            "tethys.channels.site would change how Redis is reached, host 127.0.0.1:6379 -> published 127.0.0.1:6379:"
            " run it, with --check --diff first to see the difference."
        ],
    ),
    "made before there was a label": (
        [put("plan.server.container.labels", {})],
        [
            "tethys.channels.site would change how Redis is reached, a port -> host 127.0.0.1:6379: run it, with"
            " --check --diff first to see the difference."
        ],
    ),
    "much changed": (
        [
            put(
                "site.packages.moves",
                [{"name": "redis", "from": "8.1.0", "to": "7.4.1"}, {"name": "x", "from": None, "to": "1"}],
            ),
            put("site.redis_settings.changed", True),
            put("site.container.changed", True),
            put("plan.server.container.image", "redis:7.4"),
            put("site.nginx_upstream", {"changed": True}),
        ],
        [
            "tethys.channels.site would change the package redis 8.1.0 -> 7.4.1; the package x (not installed) -> 1;"
            " the configuration, the credentials or the socket's folder of Redis; the container's image redis:7.4 ->"
            " docker.io/library/redis:8.2;"
            " nginx's upstream block: run it, with --check --diff first to see the difference."
        ],
    ),
    "a container of another making": (
        [put("site.container.changed", True)],
        [
            "tethys.channels.site would change the container tethys-channels-redis, which is not as the roles'"
            " variables say: run"
            " it, with --check --diff first to see the difference."
        ],
    ),
    "a step that cannot be asked": (
        [put("site.container", {"failed": True, "msg": "no such image."})],
        ["tethys.channels.site would fail (container): no such image."],
    ),
    "packages that cannot be had": (
        [put("site.packages", {"msg": "pip install failed: no index.", "changed": False})],
        ["pip install failed: no index."],
    ),
    "never run": (
        [untouched, probed(("port-closed", "8000", "Nothing listens on 127.0.0.1:8000."))],
        ["tethys.channels.site has not been run on this server yet: run it."],
    ),
    "never run, on a portal set up by hand": (
        [untouched, put("health.supervisor.running", True), probed(("message-not-received", "102", "Nobody hears."))],
        ["tethys.channels.site has not been run on this server yet: run it.", "Nobody hears."],
    ),
    "the program gone from a server that was provisioned": (
        [put("plan.managed", False), put("health.differs", [{"path": PROGRAM, "why": "does not exist"}])],
        [
            f"tethys.channels.site would change {PROGRAM} (it does not exist): run it, with --check --diff first to see"
            f" the"
            " difference."
        ],
    ),
    "one message lost": (
        [
            probed(
                (
                    "message-not-received",
                    "102",
                    "The ASGI process 102 (asgi:tethys_asgi1) on port 8000 got the message on 0 of its 3 WebSockets.",
                )
            )
        ],
        ["The ASGI process 102 (asgi:tethys_asgi1) on port 8000 got the message on 0 of its 3 WebSockets."],
    ),
    "one port of several": (
        [
            apart,
            stopped(1),
            probed(
                ("port-closed", "8001", "Nothing listens on 127.0.0.1:8001."),
                ("port-closed", "8002", "Nothing listens on 127.0.0.1:8002."),
            ),
        ],
        [
            "tethys_asgi1 is STOPPED: run tethys.channels.restart, which starts it.",
            "Nothing listens on 127.0.0.1:8002.",
        ],
    ),
    "several things": (
        [UNREACHABLE, stopped(1), row(2, outdated=True)],
        [
            f"{TOLD} cannot be reached ([Errno 111] Connection refused): read `docker logs tethys-channels-redis`;"
            f" tethys.channels.site repairs it.",
            "asgi:tethys_asgi1 is STOPPED: run tethys.channels.restart, which starts it.",
            "asgi:tethys_asgi2 runs with settings or packages older than those on disk: run tethys.channels.restart.",
        ],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_state_has_its_verdict(name: str) -> None:
    changes, problems = TABLE[name]
    assert page(*changes)["problems"] == problems


def test_the_lines_of_a_healthy_server() -> None:
    assert page()["lines"] == [
        "Versions: Tethys 4.6.1, channels 4.3.2, channels_redis 4.3.0, redis-py 7.4.1, daphne 4.2.3, Redis 8.2.1, image"
        " docker.io/library/redis:8.2, Supervisor 4.2.5",
        "Layout: shared_socket, 3 processes configured, port 8000",
        *(
            f"Process {name}: RUNNING, pid {101 + number}, for 1 h 2 min, as www-data, with the settings and packages"
            f" on disk"
            for number, name in enumerate(NAMES)
        ),
        "Redis 127.0.0.1:6379: for 1 d 1 h, memory 2.0 of 192 MiB, 7 clients, connections refused 0, keys evicted 0,"
        " writes"
        " refused because memory was full 0, backlog 2 messages in 1 channel",
        "Delivery: A message reached 9 of 9 WebSockets in 3 processes (101, 102, 103) in 0.012 s. Another process sent"
        " it, using the portal's own settings.",
        "Delivery: Delivery through a web server in front of the portal was not checked.",
        "A run of tethys.channels.site would change nothing",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ([stopped(1)], "Process asgi:tethys_asgi1: STOPPED"),
        (
            [stopped(1)],
            "A run of tethys.channels.site would change the process asgi:tethys_asgi1 (restart)",
        ),
        (
            [row(0, frozen=True)],
            "Process asgi:tethys_asgi0: stopped by a signal, pid 101, for 1 h 2 min, as www-data, with the settings and"
            " packages on disk",
        ),
        (
            [row(0, frozen=True), row(2, before_redis=True)],
            "A run of tethys.channels.site would change the processes asgi:tethys_asgi0, asgi:tethys_asgi2 (restart)",
        ),
        (
            [row(0, outdated=True, before_redis=True)],
            "Process asgi:tethys_asgi0: RUNNING, pid 101, for 1 h 2 min, as www-data, with settings or packages older"
            " than"
            " those on disk, older than Redis's last start",
        ),
        (
            [given_redis],
            "Redis redis.example.org:6379: its figures are unknown, since the portal's user may not read them",
        ),
        ([UNREACHABLE], "Redis 127.0.0.1:6379: cannot be reached ([Errno 111] Connection refused)"),
        (
            [watched(PRIMARY, OTHER, SILENT)],
            "Sentinel 192.0.2.1:26379 (redis1): the primary is 192.0.2.5:6379, with 2 replicas",
        ),
        (
            [watched(PRIMARY, OTHER, SILENT)],
            "Sentinel 192.0.2.2:26379 (redis2): the primary is 192.0.2.7:6379, with 2 replicas",
        ),
        (
            [watched(PRIMARY, PRIMARY, PRIMARY, copies=(0, 1, 2))],
            "Sentinel 192.0.2.1:26379 (redis1): the primary is 192.0.2.5:6379, with 0 replicas",
        ),
        (
            [watched(PRIMARY, PRIMARY, PRIMARY, copies=(0, 1, 2))],
            "Sentinel 192.0.2.2:26379 (redis2): the primary is 192.0.2.5:6379, with 1 replica",
        ),
        ([watched(PRIMARY, OTHER, SILENT)], f"Sentinel 192.0.2.3:26379 (redis3): {SILENT}"),
        ([put("plan.redis", "none"), put("health.redis", [])], "Redis: none, since the layer is in memory"),
        ([apart], "Layout: socket_per_process, 3 processes configured, ports 8000 to 8002"),
        (
            [put("site.portal_config.changed", True)],
            f"A run of tethys.channels.site would change CHANNEL_LAYERS in {CONFIG}",
        ),
        (
            [put("probe.processes.1.sockets", 0)],
            "Delivery: A message reached 9 of 9 WebSockets in 2 processes (101, 103) in 0.012 s. Another process sent"
            " it, using the portal's own settings.",
        ),
        (
            [put("probe.sent", 0), put("probe.received", 0)],
            "Delivery: The check's WebSockets reached none of 3 processes, so delivery was not verified.",
        ),
        (
            [UNREACHABLE, put("plan.server.container", None)],
            "A run of tethys.channels.site would change the container tethys-channels-redis (create)",
        ),
        (
            [UNREACHABLE, put("plan.server.container", None), put("plan.server.docker.running", False)],
            "A run of tethys.channels.site would change the container tethys-channels-redis (start)",
        ),
        ([put("probe.warnings", ["It took 2 messages."])], "Delivery: It took 2 messages."),
    ],
)
def test_a_line(changes: list[Change], line: str) -> None:
    assert line in page(*changes)["lines"]


def test_sentinels_have_no_figures_and_no_version() -> None:
    lines = page(watched(PRIMARY, SILENT, "watches no primary"))["lines"]
    assert [line for line in lines if line.startswith(("Redis ", "Sentinel "))] == [
        "Sentinel 192.0.2.1:26379 (redis1): the primary is 192.0.2.5:6379, with 2 replicas",
        f"Sentinel 192.0.2.2:26379 (redis2): {SILENT}",
        "Sentinel 192.0.2.3:26379 (redis3): watches no primary",
    ]
    assert "Redis " not in lines[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([redis(backlog=None)], "backlog not known"),
        ([redis(backlog={"messages": 1, "channels": 1, "complete": False})], "backlog at least 1 message in 1 channel"),
        ([redis(oom_errors=None)], "writes refused because memory was full not known"),
        ([redis(max_memory=0)], "memory 2.0 of unlimited MiB"),
        ([redis(clients=1)], ", 1 client, "),
    ],
)
def test_a_figure_of_redis(changes: list[Change], words: str) -> None:
    (line,) = [line for line in page(*changes)["lines"] if line.startswith("Redis ")]
    assert words in line


def test_a_layer_that_keeps_no_messages_has_no_backlog() -> None:
    lines = page(put("asked.backend", "channels_redis.pubsub.RedisPubSubChannelLayer"), redis(backlog=None))["lines"]
    assert not any("backlog" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (86400 + 7200, "1 d 2 h"),
    ],
)
def test_a_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.floats(min_value=0, max_value=10**9))
def test_any_span_has_one_or_two_units(seconds: float) -> None:
    assert re.fullmatch(r"\d+ (d|h|min|s)( [1-9]\d* (h|min|s))?", span(seconds))
