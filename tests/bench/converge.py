# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run takes on many hosts, from what it was measured to cost on one. Nothing here measures.

The model is Ansible's strategy `linear`. A task is begun when all hosts have ended the one before it. Ansible's main
process goes through the hosts in order, and each takes some of its time; then a separate worker prepares the task,
the host does it, and the worker is free for the next host. There are `forks` workers. Main process and workers share
the controller's cores evenly; a host has separate cores or, as on a test bed, uses the same ones.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple


class Task(NamedTuple):
    """What one task costs, in seconds."""

    play: str
    name: str
    # CPU of the controller to pack the task's module for the first host that needs it, while all others wait.
    pack: float
    # CPU of Ansible's main process, for the task and for each host.
    once: float
    each: float
    # CPU of a worker on the controller.
    worker: float
    # How long the host takes, and how much of its CPU it uses in that time.
    host: float
    host_cpu: float
    # Whether every host does it, or one alone, such as the controller itself.
    everywhere: bool


class Clock:
    """Time in which jobs share so many cores evenly, a core being the most that one of them gets."""

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self.now = 0.0
        # What each job got since the beginning, were it there from the beginning.
        self.served = 0.0
        self.number = 0
        self.working: list[tuple[float, int, Callable[[], None]]] = []
        self.waiting: list[tuple[float, int, Callable[[], None]]] = []

    def work(self, seconds: float, then: Callable[[], None]) -> None:
        """Do something when this much CPU was got."""
        self.number += 1
        heapq.heappush(self.working, (self.served + seconds, self.number, then))

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Do something after a while that needs no core."""
        self.number += 1
        heapq.heappush(self.waiting, (self.now + seconds, self.number, then))

    def run(self) -> None:
        """Until nothing is left."""
        while self.working or self.waiting:
            share = min(1.0, self.cores / len(self.working)) if self.working else 1.0
            until_worked = (self.working[0][0] - self.served) / share if self.working else math.inf
            until_waited = self.waiting[0][0] - self.now if self.waiting else math.inf
            passed = max(0.0, min(until_worked, until_waited))
            self.now += passed
            self.served += passed * share
            heap = self.working if until_worked <= until_waited else self.waiting
            heapq.heappop(heap)[2]()


def one_task(clock: Clock, task: Task, hosts: int, forks: int, shared: bool) -> None:
    """Let all hosts do one task."""
    left = hosts
    free = forks
    main_is_busy = True

    def begin() -> None:
        """The main process hands the task to the next host, as soon as a worker is free."""
        nonlocal left, free, main_is_busy
        if left and free and not main_is_busy:
            free -= 1
            main_is_busy = True
            left -= 1
            clock.work(task.each, handed)

    def main_is_free() -> None:
        nonlocal main_is_busy
        main_is_busy = False
        begin()

    def handed() -> None:
        clock.work(task.worker, on_host)
        main_is_free()

    def on_host() -> None:
        if not shared:
            clock.wait(task.host, ended)
            return
        # More CPU than time: it used several cores.
        at_once = max(1, math.ceil(task.host_cpu / task.host)) if task.host else 1
        clock.wait(max(0.0, task.host - task.host_cpu / at_once), lambda: host_works(at_once))

    def host_works(at_once: int) -> None:
        missing = at_once

        def part() -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                ended()

        for _each in range(at_once):
            clock.work(task.host_cpu / at_once, part)

    def ended() -> None:
        nonlocal free
        free += 1
        begin()

    clock.work(task.once + task.pack, main_is_free)
    clock.run()


def converge(
    tasks: Iterable[Task], hosts: int, forks: int, cores: float, serial: int = 0, *, shared: bool = False
) -> float:
    """The seconds that the tasks take on so many hosts; with `serial` so many of them at a time."""
    clock = Clock(cores)
    for _play, part in groupby(tasks, key=lambda task: task.play):
        of_play = list(part)
        size = serial or hosts
        # A play of the controller alone has no batches.
        batches = [size] * (hosts // size) + ([hosts % size] if hosts % size else [])
        for number, batch in enumerate(batches if any(task.everywhere for task in of_play) else [1]):
            for task in of_play:
                # What was packed for one batch is there for the next.
                again = task._replace(pack=0.0) if number else task
                one_task(clock, again, batch if task.everywhere else 1, forks, shared)
    return clock.now


def costs(one: Sequence[Sequence[Any]], two: Sequence[Sequence[Any]]) -> list[Task]:
    """What a host costs, from runs on one host and runs on two: lists of what callback/task_costs.py noted.

    What the controller does for a second host is what it does for each; what it does for a first one besides is done
    once. All else is of the runs on one host, where little waits for a core. The least of several runs counts, since
    other work only ever adds.
    """

    def least(runs: Sequence[Sequence[Any]], number: int, key: str) -> float:
        return float(min(run[number][key] for run in runs))

    names = [[(each["play"], each["task"]) for each in run] for run in (*one, *two)]
    if any(other != names[0] for other in names):
        raise ValueError("The runs did not go through the same tasks: measure again, with nothing to change.")
    found = []
    for number, (play, name) in enumerate(names[0]):
        everywhere = two[0][number]["hosts"] > one[0][number]["hosts"]
        main, workers, on_host = (least(one, number, key) for key in ("main", "workers", "on_hosts"))

        def more(key: str, first: float, number: int = number, everywhere: bool = everywhere) -> float:
            """What a second host adds."""
            return max(0.0, min(first, least(two, number, key) - first)) if everywhere else 0.0

        each, worker = more("main", main), more("workers", workers)
        host = max(0.0, least(one, number, "seconds") - main - workers)
        found.append(Task(play, name, workers - worker, main - each, each, worker, host, on_host, everywhere))
    return found


def foretell(
    costs_found: Mapping[str, Any], hosts: int, forks: int, cores: float, serial: int = 0, *, shared: bool = False
) -> float:
    """The seconds of a whole run, from what the benchmark kept: the start of Ansible, and the tasks."""
    tasks = [Task(**each) for each in costs_found["tasks"]]
    return float(costs_found["start"]) + converge(tasks, hosts, forks, cores, serial, shared=shared)


def foretell_measured(costs_found: Mapping[str, Any], runs: Iterable[dict[str, Any]]) -> None:
    """Put what the model says beside each run that was measured, which had only what cores were left."""
    for row in runs:
        where = (row["hosts"], row["forks"], row["cores_left"], row["serial"])
        row["foretold"] = foretell(costs_found, *where, shared=True)


def foretold_rows(
    costs_found: Mapping[str, Any],
    hosts: Sequence[int] = (50, 200),
    cores: Sequence[int] = (2, 4, 8),
    forks: Sequence[int] = (5, 10, 25, 50),
    serial: int = 0,
) -> list[dict[str, Any]]:
    """The seconds of runs on real servers, whose cores are their own, a row for each fleet and its controller."""
    return [
        {
            "hosts": number,
            "cores": of_controller,
            "serial": serial,
            "seconds": {each: foretell(costs_found, number, each, of_controller, serial) for each in forks},
        }
        for number in hosts
        for of_controller in cores
    ]


def guide_rows(costs_found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of the guide: all at once, and on one controller also some at a time."""
    return [*foretold_rows(costs_found), *foretold_rows(costs_found, cores=(4,), serial=10)]
