# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each class of the layer loses while something breaks, always under the same load."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fault_hosts import HOSTS, MASTER, NETWORK, PRIMARY, REPLICA, SENTINEL, SHARED
from figures import with_row
from server import CACHE, IMAGE, PREFIX, Program, Server, play, say, servers

NAME = "tethys-channels-bench-faults"
KEPT = CACHE / "faults.json"
PROCESSES = 3
# Sockets of each group; messages go to them in turn.
GROUPS = (5, 15, 30, 50, 100)
MESSAGES_A_SECOND = 20
# What every fault waits for, and how long its end is waited for.
BEFORE_SECONDS = 3
AFTER_SECONDS = 12
FROZEN_SECONDS = 20
CUT_SECONDS = 10
# Longer than the read timeout of 15 s, the core class's read of 5 s, the health check of 10 s, daphne's ping of 20 s.
SILENT_SECONDS = 30
BESIDE_SECONDS = 15

OWN = "tethys-channels-redis"
# The portal's own Redis is the only one that runs while it is killed or frozen.
PID = "$(pgrep -x redis-server)"


def run_redis(name: str, address: str, *words: str) -> str:
    """The command that starts a Redis without a password on the bridge."""
    options = " ".join(["--protected-mode no", "--save ''", *words])
    return f"docker run -d --name {name} --network faults --ip {address} {IMAGE} redis-server {options} >/dev/null"


CLEAN = """
docker ps -aq --filter name=^faults- | xargs -r docker rm -fv >/dev/null
iptables -S | grep 10.213.0. | sed s/^-A/-D/ | while read -r rule; do iptables $rule; done
"""
# The Redis of each place, new for every class.
PLACES = {
    "local": "",
    "shared": run_redis("faults-shared", SHARED),
    "sentinel": "\n".join(
        [
            run_redis("faults-primary", PRIMARY),
            run_redis("faults-replica", REPLICA, f"--replicaof {PRIMARY} 6379"),
            "sleep 2",
            f"docker run -d --name faults-sentinel --network faults --ip {SENTINEL} {IMAGE} sh -c "
            f"\"printf 'port 26379\\nprotected-mode no\\nsentinel monitor {MASTER} {PRIMARY} 6379 1\\n"
            f"sentinel down-after-milliseconds {MASTER} 5000\\nsentinel failover-timeout {MASTER} 10000\\n'"
            ' > /tmp/s.conf; exec redis-server /tmp/s.conf --sentinel" >/dev/null',
            # It finds the replica within 10 s.
            "sleep 12",
        ]
    ),
}
CUT = f"iptables -I OUTPUT -d {SHARED} -j DROP; iptables -I INPUT -s {SHARED} -j DROP"
JOIN = f"iptables -D OUTPUT -d {SHARED} -j DROP; iptables -D INPUT -s {SHARED} -j DROP"
KILL_PRIMARY = "docker kill faults-primary >/dev/null"
CUT_FOR_A_WHILE = f"{CUT}; sleep {CUT_SECONDS}; {JOIN}"
RECREATE = f"""
set -e
made=$(docker inspect {OWN} | python3 -c '
import json, sys
[found] = json.load(sys.stdin)
print(json.dumps({{**found["Config"], "HostConfig": found["HostConfig"]}}))')
docker rm -f {OWN} >/dev/null
curl -fsS --unix-socket /var/run/docker.sock -H 'Content-Type: application/json' -d "$made" \
  'http://docker/containers/create?name={OWN}' >/dev/null
docker start {OWN} >/dev/null
"""
# New processes for each row: what one row left in them is no figure of the next.
FRESH = f"""
supervisorctl restart $(supervisorctl status | awk '/tethys_asgi/ {{print $1}}') >/dev/null
for try in $(seq 600); do
  [ "$(ss -Hlx | grep -c 'tethys_asgi[0-9]*\\.sock')" = {PROCESSES} ] && exit 0
  sleep 0.1
done
echo "The portal did not start." >&2
exit 1
"""


class Row(NamedTuple):
    """One fault: what a shell on the server does, or what happens beside the messages."""

    name: str
    # For the chart.
    short: str
    label: str
    place: str = "local"
    script: str = ""
    extra: str = ""
    silent: int = 0
    after: float = AFTER_SECONDS

    def names(self) -> dict[str, str]:
        """What the figures carry of it."""
        return {"name": self.name, "short": self.short, "label": self.label}


ROWS = (
    Row("steady", "no fault", "no fault", after=BESIDE_SECONDS),
    Row(
        "churn",
        "WebSockets open and close",
        "20 WebSockets a second open and close",
        extra="churn",
        after=BESIDE_SECONDS,
    ),
    Row("many", "many messages", "200 messages a second more, to 5 WebSockets", extra="many", after=20),
    Row("silence", "no messages", f"no message for {SILENT_SECONDS} s", silent=SILENT_SECONDS, after=8),
    Row("slow_clients", "slow clients", "5 slow clients read nothing under a flood", extra="slow_clients", after=25),
    Row("raise", "consumer raises", "a consumer raises an exception on every message", extra="raise", after=20),
    Row(
        "restart",
        "a process restarts",
        "one process is restarted",
        script="supervisorctl restart $(supervisorctl status | awk '/tethys_asgi1/ {print $1}') >/dev/null",
    ),
    Row("killed", "Redis is killed", "Redis is killed", script=f"kill -9 {PID}", after=15),
    Row("recreated", "container recreated", "the container of Redis is recreated", script=RECREATE, after=15),
    Row(
        "frozen",
        "Redis frozen",
        f"Redis is frozen for {FROZEN_SECONDS} s",
        script=f"pid={PID}; kill -STOP $pid; sleep {FROZEN_SECONDS}; kill -CONT $pid",
    ),
    Row(
        "cut",
        "network cut",
        f"network to a shared Redis cut for {CUT_SECONDS} s",
        "shared",
        CUT_FOR_A_WHILE,
    ),
    Row(
        "vanished",
        "shared Redis vanishes",
        "a shared Redis vanishes, another has its address",
        "shared",
        f"{CUT}; docker restart -t 0 faults-shared >/dev/null; sleep 5; {JOIN}",
        after=30,
    ),
    Row(
        "failover",
        "failover",
        "the primary is killed under Sentinel",
        "sentinel",
        "docker kill faults-primary >/dev/null",
        after=20,
    ),
)


def load_command(server: Server, row: Row) -> list[str]:
    """The command of the program that holds the sockets."""
    options = [f"--every={1 / MESSAGES_A_SECOND}", "--groups", *map(str, GROUPS)]
    return server.command("fault_load", *options, *([f"--extra={row.extra}"] if row.extra else []), user="root")


def measured(server: Server, row: Row) -> dict[str, Any]:
    """One row, with one class."""
    server.inside(FRESH)
    loads = os.getloadavg()[0]
    program = Program(load_command(server, row), row.label)
    try:
        program.line()
        start, cpu = time.monotonic(), server.cpu_seconds()
        time.sleep(BEFORE_SECONDS)
        if row.silent:
            program.tell("pause")
            time.sleep(row.silent)
            program.tell("fault")
            program.tell("resume")
        elif row.script:
            program.tell("fault")
            server.inside(row.script)
        time.sleep(row.after)
        own = (server.cpu_seconds() - cpu) / (time.monotonic() - start)
        program.tell("end")
        found: dict[str, Any] = json.loads(program.line())
    finally:
        program.end()
    return {"at": time.strftime("%H:%M"), "load_before": round(loads, 1), "cores_own": round(own, 2), **found}


def provision(server: Server, place: str, backend: str) -> None:
    """Give the portal this class, and a Redis at that place."""
    server.inside(f"{CLEAN}\ndocker network create --subnet {NETWORK} faults >/dev/null 2>&1 || true\n{PLACES[place]}")
    variables: dict[str, Any] = {"tethys_layer_backend": backend}
    if HOSTS[place]:
        variables["tethys_layer_hosts"] = HOSTS[place]
    play("site", [server], PROCESSES, variables=variables)


def versions(server: Server) -> dict[str, str]:
    """The versions of what was measured."""
    names = ("tethys-platform", "channels", "channels_redis", "redis", "daphne")
    script = f"import importlib.metadata as m, json\nprint(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    found: dict[str, str] = json.loads(server.inside(f"{PREFIX}/bin/python - <<'END'\n{script}\nEND\n"))
    return found


def faults(backends: Mapping[str, str], only: Sequence[str] = ()) -> dict[str, Any]:
    """Every row with every class, or some rows, beside which the others stay as they were measured last."""
    rows = [row for row in ROWS if not only or row.name in only]
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if only and KEPT.exists() else {"rows": []}
    found.update(groups=GROUPS, messages_a_second=MESSAGES_A_SECOND, processes=PROCESSES)
    with servers(NAME) as [server]:
        for place in PLACES:
            for backend, path in backends.items():
                here = [row for row in rows if row.place == place]
                if here:
                    provision(server, place, path)
                    found["versions"] = versions(server)
                for row in here:
                    figures = {**row.names(), "backend": backend, **measured(server, row)}
                    found["rows"] = with_row(found["rows"], figures)
                    # What was measured is not lost if a later row fails.
                    KEPT.write_text(json.dumps(found, indent=1), encoding="utf-8")
                    say(
                        f"faults: {backend}, {row.label}: {figures['due'] - figures['received']} of {figures['due']}"
                        f" lost, {figures['closed']} closed, until {figures['until_seconds']},"
                        f" cores {figures['cores_own']} of {figures['cores_busy']} busy"
                    )
    found["rows"].sort(key=lambda row: [each.name for each in ROWS].index(row["name"]))
    return found
