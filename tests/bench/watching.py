# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the watch finds ASGI processes that hang, and leaves processes alone that are only busy."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from server import CACHE, PREFIX, Server, play, say, servers

NAME = "tethys-channels-bench-watch"
PROCESSES = 3
LAYOUTS = ("shared_socket", "socket_per_process")
CLIENTS = 48
LOAD_MINUTES = 30
# Requests that an app's view holds for so long, so many at a time.
VIEW_SECONDS = 60
VIEWS = 6
# The watch leaves a process alone that started a shorter time ago, and others after a kill.
GRACE_SECONDS = 95
GIVEN_UP_SECONDS = 240

STATE = "/etc/tethys_channels"
APP = f"{PREFIX}/lib/python3*/site-packages/tethysapp/channelchat"
# The test's app holds a view for 10 s at most. A lock taken twice in a consumer stops the event loop for good.
HOLD = "if self.scope['query_string'] == b'hang': lock = __import__('threading').Lock(); lock.acquire(); lock.acquire()"
CHANGED_APP = f"""
set -e
sed -i 's/, 10))$/, {VIEW_SECONDS}))/' {APP}/controllers.py
grep -q ', {VIEW_SECONDS}))' {APP}/controllers.py
sed -i "/async def authorized_connect/a\\        {HOLD}" {APP}/consumers.py
grep -q lock.acquire {APP}/consumers.py
"""
HEADERS = " ".join(
    shlex.join(["-H", header])
    for header in (
        "Host: portal.example.org",
        "Origin: http://portal.example.org",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGV0aHlzLmNoYW5uZWxzIQ==",
        "Sec-WebSocket-Version: 13",
    )
)
HANG = f"curl -s -m 3 {HEADERS} --unix-socket %s 'http://portal.example.org/apps/channelchat/chat/ws/?hang' || true"
ANSWERS = "curl -s -m 2 -o /dev/null -H 'Host: portal.example.org' --unix-socket %s http://portal.example.org/"
# A loop of requests to the slow view, until its file is gone.
VIEW_LOOP = f"""
touch /run/bench.views
for each in $(seq {VIEWS}); do
  ( while [ -e /run/bench.views ]; do
      curl -s -o /dev/null -w '%{{http_code}}\\n' -H 'Host: portal.example.org' \\
        'http://127.0.0.1:8000/apps/channelchat/echo/?sleep={VIEW_SECONDS}' >> /run/bench.codes
    done ) >/dev/null 2>&1 </dev/null &
done
"""


def sockets(server: Server) -> list[str]:
    """The unix socket of each process, which the watch queries."""
    found: dict[str, str] = json.loads(server.inside(f"cat {STATE}/watch.json"))["processes"]
    return [found[name] for name in sorted(found)]


def owner(server: Server, path: str) -> int:
    """The process that listens at a unix socket, 0 for none."""
    script = f"ss -Hlxp 'src {path}' | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p' | tail -1"
    return int(server.inside(script).strip() or 0)


def acts(server: Server) -> list[dict[str, Any]]:
    """What the watch has killed."""
    found: list[dict[str, Any]] = json.loads(server.inside(f"cat {STATE}/watch_acts.json 2>/dev/null || echo '[]'"))
    return found


def is_back(server: Server, path: str, pid: int) -> bool:
    """Whether another process answers at this socket."""
    answers = subprocess.run(
        ["docker", "exec", server.name, "sh", "-c", ANSWERS % path], capture_output=True, check=False
    )
    return answers.returncode == 0 and owner(server, path) not in (0, pid)


def until_back(server: Server, path: str, stop: Callable[[int], None]) -> float | None:
    """The seconds from the moment when a process hangs until another one answers instead; None for never."""
    pid = owner(server, path)
    stop(pid)
    start = time.monotonic()
    while time.monotonic() - start < GIVEN_UP_SECONDS:
        if is_back(server, path, pid):
            return time.monotonic() - start
        time.sleep(0.5)
    return None


def hangs(server: Server, layout: str) -> Iterator[dict[str, Any]]:
    """A stopped process, and one whose event loop waits for a lock that nobody gives back."""
    play("site", [server], PROCESSES, variables={"asgi_service_watch": True, "tethys_asgi_layout": layout})
    paths = sockets(server)
    for number, kind in enumerate(("SIGSTOP", "deadlock")):
        time.sleep(GRACE_SECONDS)
        path = paths[number]

        def stop(pid: int, kind: str = kind, path: str = path) -> None:
            server.inside(f"kill -STOP {pid}" if kind == "SIGSTOP" else HANG % path)

        before = len(acts(server))
        seconds = until_back(server, path, stop)
        killed = len(acts(server)) - before
        said = "never" if seconds is None else f"after {seconds:.0f} s"
        say(f"watch: {layout}, {kind}: another process answers {said}, {killed} killed")
        yield {"layout": layout, "kind": kind, "seconds": seconds, "killed": killed}


@contextmanager
def slow_views(server: Server) -> Iterator[None]:
    """Requests that a view holds, always so many."""
    server.inside(VIEW_LOOP)
    try:
        yield
    finally:
        server.inside("rm -f /run/bench.views")


def busy(server: Server, minutes: int) -> dict[str, Any]:
    """All that the processes can deliver, for so long, beside views that take a minute."""
    play("site", [server], PROCESSES, variables={"asgi_service_watch": True})
    # What was killed before is no figure of the load.
    server.inside(f"rm -f {STATE}/watch_acts.json /run/bench.codes")
    time.sleep(GRACE_SECONDS)
    start, cpu = time.monotonic(), server.cpu_seconds()
    with slow_views(server):
        load = server.measure(
            "socket_load", f"--clients={CLIENTS}", f"--full-seconds={minutes * 60}", "--seconds=1.5", user="root"
        )
    seconds = time.monotonic() - start
    codes = server.inside("cat /run/bench.codes").split()
    killed = acts(server)
    say(f"watch: {minutes} minutes of load: {len(killed)} killed, {load['deliveries']:.0f} deliveries a second")
    return {
        "minutes": minutes,
        "killed": len(killed),
        "closed": load["closed"],
        "lost": load["lost"],
        "deliveries": load["deliveries"],
        "p99_ms": load["p99_ms"],
        "cores_own": (server.cpu_seconds() - cpu) / seconds,
        "views": len(codes),
        "views_ok": codes.count("200"),
    }


def watch(_rounds: int, minutes: int = LOAD_MINUTES) -> dict[str, Any]:
    """Hangs in both layouts, then the load."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with servers(NAME) as [server]:
        server.inside(CHANGED_APP)
        found = [row for layout in reversed(LAYOUTS) for row in hangs(server, layout)]
        return {"hangs": found, "load": busy(server, minutes)}
