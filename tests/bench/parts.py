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
from typing import Any, NamedTuple

import converge
from clients import clients
from faults import faults
from server import COLLECTIONS, HIREDIS, Play, Server, built, play, say, servers
from watching import watch

NAME = "tethys-channels-bench"
BACKENDS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
TRANSPORTS = ("published", "host", "unix")
DEFAULT = "unix"
CLIENTS = 48
# Sockets in one group, and the processes that hold them.
GROUPS = ((40, 4), (400, 1), (400, 4), (400, 8), (4000, 4))
CORES = len(os.sched_getaffinity(0))
FORKS = 16
# Other work only ever adds to what a task costs, and the least of these rounds counts.
COSTS_ROUNDS = 5


class Fleet(NamedTuple):
    """A run on so many hosts; with `serial` so many of them at a time (tethys_serial)."""

    hosts: int
    forks: int
    serial: int

    def __str__(self) -> str:
        return f"{self.hosts} hosts, forks={self.forks}" + (f", {self.serial} at a time" if self.serial else "")


FLEETS = (Fleet(4, FORKS, 0), Fleet(8, FORKS, 0), Fleet(16, FORKS, 0), Fleet(4, 1, 0), Fleet(4, FORKS, 1))


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
    """Each transport and class beside the documented setup, which is measured again each time."""
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


def redis(rounds: int) -> dict[str, Any]:
    """What a message to a group takes of Redis, which is what limits how many of them one carries."""
    found: dict[str, Any] = {"runs": []}
    with servers(NAME) as [ours]:
        for backend in BACKENDS:
            provision(ours, DEFAULT, backend)
            for sockets, processes in GROUPS:
                load = ("redis_load", f"--sockets={sockets}", f"--processes={processes}")
                each = [ours.measure(*load, user="root") for _each in range(rounds)]
                found["runs"].append({"sockets": sockets, "processes": processes, "backend": backend, "rounds": each})
                middle = median(one["redis_ms"] for one in each)
                say(f"redis: {backend}, {sockets} sockets in {processes} processes: {middle:.3f} ms of Redis a message")
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


def unchanged(rounds: int, commit: str) -> dict[str, Any]:
    """A run of site with nothing to change, by the collection of a commit and by this tree, in turn."""
    processes = 3
    sides = {"before": built(commit), "after": COLLECTIONS}
    runs: dict[str, list[Play]] = {side: [] for side in sides}
    with servers(NAME, f"{NAME}-before") as [ours, other]:
        for number in range(2 + rounds):
            for side, host in (("before", other), ("after", ours)):
                run = play("site", [host], processes, collections=sides[side])
                # The first provisions, and the second records that nothing is left to do.
                if number >= 2:
                    runs[side].append(run)
                    say(f"unchanged: {side} {run.seconds:.1f} s, {run.modules} remote modules")
    return {
        "commit": commit,
        "changed": any(run.changed for each in runs.values() for run in each),
        "rounds": [
            {side: {"seconds": run.seconds, "modules": run.modules} for side, run in zip(runs, pair, strict=True)}
            for pair in zip(*runs.values(), strict=True)
        ],
    }


def fleet_run(hosts: Sequence[Server], fleet: Fleet, rounds: int) -> tuple[dict[str, Any], list[Play]]:
    """Runs on so many hosts with nothing to change, and beside each a play that only gathers facts."""
    books: dict[str, list[Play]] = {"site": [], "facts": []}
    loads: list[float] = []
    for _each in range(rounds):
        loads.append(os.getloadavg()[0])
        variables = {"tethys_serial": str(fleet.serial)} if fleet.serial else None
        run = play("site", hosts[: fleet.hosts], forks=fleet.forks, variables=variables, note_tasks=True)
        say(f"{fleet}: {run.seconds:.1f} s, load before {loads[-1]:.1f}")
        books["site"].append(run)
        if not fleet.serial and fleet.forks >= fleet.hosts:
            books["facts"].append(play("facts", hosts[: fleet.hosts], forks=fleet.forks))
    row: dict[str, Any] = {**fleet._asdict()}
    for book, runs in books.items():
        if runs:
            row[book] = median(each.seconds for each in runs)
            row[f"{book}_controller"] = median(each.controller_seconds for each in runs)
            row[f"{book}_modules"] = runs[0].modules / fleet.hosts
    site = books["site"]
    row["all"] = [each.seconds for each in site]
    row["load_before"] = loads
    row["changed"] = any(each.changed for each in site)
    # Of those that Ansible and these servers had.
    row["cores_left"] = median(CORES - each.other_seconds / each.seconds for each in site)
    return row, site


def cost(rounds: int) -> dict[str, Any]:
    """What each task of a run costs on a host, for converge.py."""
    found: dict[str, Any] = {"rounds": max(rounds, COSTS_ROUNDS), "cores": CORES, "runs": []}
    with servers(*(f"{NAME}-{number}" for number in range(2))) as hosts:
        play("site", hosts)
        noted = []
        for number in (1, 2):
            row, runs = fleet_run(hosts, Fleet(number, FORKS, 0), found["rounds"])
            found["runs"].append(row)
            noted.append(runs)
    found["start"] = min(each.seconds - sum(task["seconds"] for task in each.tasks) for each in noted[0])
    one, two = ([each.tasks for each in runs] for runs in noted)
    found["tasks"] = [each._asdict() for each in converge.costs(one, two)]
    return found


def fleet(rounds: int, most: int = 16) -> dict[str, Any]:
    """Some hosts and many."""
    fleets = [each for each in FLEETS if each.hosts <= most]
    found: dict[str, Any] = {"rounds": rounds, "cores": CORES, "runs": []}
    with servers(*(f"{NAME}-{number}" for number in range(max(each.hosts for each in fleets)))) as hosts:
        took = play("site", hosts, forks=4).seconds
        say(f"fleet: {len(hosts)} servers provisioned in {took:.0f} s")
        found["runs"] = [fleet_run(hosts, each, rounds)[0] for each in fleets]
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


def fault_rows(_rounds: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """What each class loses while something breaks."""
    return faults(BACKENDS, only)


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "layer": layer,
    "redis": redis,
    "daphne": daphne,
    "run": run,
    "unchanged": unchanged,
    "memory": memory,
    "cost": cost,
    "fleet": fleet,
    "clients": clients,
    "faults": fault_rows,
    "watch": watch,
}
