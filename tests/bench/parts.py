# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the measurement. Each has the servers that it needs, and returns its figures."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from server import HIREDIS, Play, Server, play, say, servers

NAME = "tethys-channels-bench"
BACKENDS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
TRANSPORTS = ("published", "host", "unix")
DEFAULT = "unix"
CLIENTS = 48
CORES = len(os.sched_getaffinity(0))


def provision(server: Server, transport: str, backend: str, processes: int = 1) -> Play:
    """Run the playbook with this transport and class."""
    variables = {"redis_container_transport": transport, "tethys_layer_backend": BACKENDS[backend]}
    return play("site", [server], processes, variables=variables)


def middle_run(rounds: int, one: Callable[[], Play]) -> dict[str, Any]:
    """The run in the middle of several."""
    runs = sorted(one() for _each in range(rounds))
    found = runs[len(runs) // 2]
    return {"seconds": found.seconds, "modules": found.modules, "changed": any(each.changed for each in runs)}


def layer(rounds: int) -> dict[str, Any]:
    """Each transport and class beside the manual's setup, which is measured anew each time."""
    found: dict[str, Any] = {"setups": []}
    with servers(NAME, f"{NAME}-by-hand") as [ours, manual]:
        manual.by_hand(1)
        for transport in TRANSPORTS:
            for backend in BACKENDS:
                took = provision(ours, transport, backend).seconds
                pairs = []
                # One takes seconds only, and the ratios are what all this is for.
                for _each in range(rounds + 2):
                    pair = {"manual": manual.measure("layer_load"), "ours": ours.measure("layer_load")}
                    if transport == DEFAULT:
                        pair["hiredis"] = ours.measure("layer_load", "--hiredis", HIREDIS)
                    if (transport, backend) == (DEFAULT, "pubsub"):
                        pair["process"] = ours.measure("layer_load", "--without-redis")
                    pairs.append(pair)
                found["setups"].append({"transport": transport, "backend": backend, "rounds": pairs})
                told = ", ".join(
                    f"{name} x {median(each['ours'][key] / each['manual'][key] for each in pairs):.1f}"
                    for key, name in (("trips", "round trips"), ("deliveries", "fan-out"))
                )
                say(f"layer: {transport}, {backend} (provisioned in {took:.0f} s): {told}")
    return found


def daphne(rounds: int) -> dict[str, Any]:
    """End to end, with several numbers of processes."""
    load = ("socket_load", f"--clients={CLIENTS}")
    found: dict[str, Any] = {"cores": CORES, "runs": []}
    with servers(NAME, f"{NAME}-by-hand") as [ours, manual]:
        manual.by_hand(1)
        found["generator"] = ours.measure(*load, "--bare", "--port=8900", user="root")
        say(f"daphne: the load generator alone, {found['generator']['deliveries']:.0f} deliveries a second")
        for processes in (1, 2, 4):
            if processes > 1:
                manual.processes_by_hand(processes)
            for backend in BACKENDS:
                provision(ours, DEFAULT, backend, processes)
                pairs = []
                for _each in range(rounds):
                    pairs.append(
                        {
                            side: server.measure(*load, user="root")
                            for side, server in (("manual", manual), ("ours", ours))
                        }
                    )
                found["runs"].append(
                    {"processes": processes, "transport": DEFAULT, "backend": backend, "rounds": pairs}
                )
                ratio = median(p["ours"]["deliveries"] / p["manual"]["deliveries"] for p in pairs)
                say(f"daphne: {processes} processes, {DEFAULT}, {backend}: deliveries x {ratio:.2f}")
    return found


def run(rounds: int) -> dict[str, Any]:
    """Runs of the playbooks, beside the steps typed by hand and a play that only gathers facts."""
    processes = 3
    firsts: list[Play] = []
    by_hand: list[float] = []
    besides: list[float] = []
    found: dict[str, Any] = {"rounds": rounds, "processes": processes, "silence_seconds": 7}
    for number in range(rounds):
        with servers(f"{NAME}-by-hand") as [manual]:
            by_hand.append(manual.by_hand(processes))
            besides.append(manual.look_and_proof_by_hand(processes))
        with servers(NAME) as [ours]:
            firsts.append(play("site", [ours], processes))
            say(f"run: first run {firsts[-1].seconds:.1f} s, by hand {by_hand[-1]:.1f} s and {besides[-1]:.1f} s")
            if number < rounds - 1:
                continue
            for key, book in (("second", "site"), ("check", "check"), ("facts", "facts"), ("ping", "ping")):
                found[key] = middle_run(rounds, lambda book=book: play(book, [ours], processes))  # type: ignore[misc]
                say(f"run: {key} {found[key]['seconds']:.1f} s, {found[key]['modules']} remote modules")
            start = []
            for _each in range(rounds):
                began = time.monotonic()
                subprocess.run(ours.command("portal_start"), check=True, capture_output=True)
                start.append(time.monotonic() - began)
            found["start"] = {"seconds": median(start)}
    first = sorted(firsts)[len(firsts) // 2]
    found["first"] = {"seconds": first.seconds, "modules": first.modules}
    found["by_hand"] = {"seconds": median(by_hand), "besides_seconds": median(besides)}
    return found


def fleet(rounds: int, sizes: Sequence[int] = (1, 4, 16)) -> dict[str, Any]:
    """One host, some and many, with nothing to change."""
    found: dict[str, Any] = {"rounds": rounds, "cores": CORES, "runs": []}
    with servers(*(f"{NAME}-{number}" for number in range(max(sizes)))) as hosts:
        took = play("site", hosts, forks=4).seconds
        say(f"fleet: {len(hosts)} servers provisioned in {took:.0f} s")
        for size in sizes:
            books: dict[str, list[Play]] = {"site": [], "facts": []}
            for _each in range(rounds):
                for book, runs in books.items():
                    runs.append(play(book, hosts[:size]))
            row: dict[str, Any] = {"hosts": size}
            for book, runs in books.items():
                row[book] = median(each.seconds for each in runs)
                row[f"{book}_controller"] = median(each.controller_seconds for each in runs)
                row[f"{book}_modules"] = runs[0].modules / size
            row["changed"] = any(each.changed for each in books["site"])
            found["runs"].append(row)
            say(f"fleet: {size} hosts, site {row['site']:.1f} s, gather_facts {row['facts']:.1f} s")
    return found


def container_mb(server: Server) -> float:
    """What Docker says that Redis's container takes."""
    said = server.inside("docker stats --no-stream --format '{{.MemUsage}}' tethys-channels-redis")
    amount, unit = re.match(r"([\d.]+)([KMG])iB", said.strip()).groups()  # type: ignore[union-attr]
    return float(amount) * {"K": 1 / 1024, "M": 1, "G": 1024}[unit]


def peak_mb(server: Server, book: str, processes: int) -> float:
    """The most that a run takes on the server at one moment."""
    stop = "/run/bench.stop"
    server.inside(f"rm -f {stop}")
    command = server.command("memory_watch", f"--stop={stop}", user="root")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout
        watch.stdout.readline()
        play(book, [server], processes)
        server.inside(f"touch {stop}")
        said = watch.stdout.read()
    return float(re.findall(r"[\d.]+", said)[-1])


def memory(_rounds: int) -> dict[str, Any]:
    """What Redis, the processes and a run take."""
    processes = 4
    with servers(NAME) as [ours]:
        provision(ours, DEFAULT, "core", processes)
        idle = container_mb(ours)
        command = ours.command("socket_load", f"--clients={CLIENTS}", "--seconds=6", user="root")
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True):
            time.sleep(9)
            under_load = container_mb(ours)
        found = ours.measure("socket_load", f"--clients={CLIENTS}", user="root")
        backlog = ours.measure("backlog", "--messages=5000")
        backlog["container_mb"] = container_mb(ours)
        say("memory: the peak of a run")
        return {
            "processes": processes,
            "idle": found["memory_idle_mb"],
            "load": found["memory_load_mb"],
            "container_idle_mb": idle,
            "container_load_mb": under_load,
            "backlog": backlog,
            "run_peak_mb": peak_mb(ours, "site", processes),
            "facts_peak_mb": peak_mb(ours, "facts", processes),
        }


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "layer": layer,
    "daphne": daphne,
    "run": run,
    "memory": memory,
    "fleet": fleet,
}
