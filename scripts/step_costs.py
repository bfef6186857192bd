# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what each step of `make test` costs, and compare it with tests/budget.yml."""

from __future__ import annotations

import contextlib
import math
import os
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml

LABEL = "tethys.channels.test-server"
# Seconds between two samples of the servers: what a server uses after its last one is not counted.
EVERY = 10
# Below this a step's minutes or CPU seconds over the budget are noise.
TOLERANCE = 1.15
CGROUPS = Path("/sys/fs/cgroup")


class Budget(NamedTuple):
    """What a step is allowed."""

    minutes: float
    cpu: int
    runs: int


@dataclass
class Result:
    """How a step went and what it cost: wall seconds, CPU seconds, playbook runs."""

    name: str
    ok: bool = True
    seconds: float = 0.0
    cpu: float = 0.0
    runs: int = 0
    note: str = ""
    failures: list[str] = field(default_factory=list)


def read_budget(path: Path) -> dict[str, Budget]:
    """Return the budget of each step."""
    return {step: Budget(*row) for step, row in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def write_budget(path: Path, results: Iterable[Result]) -> None:
    """Replace the budget of the steps that ran by what they cost, each rounded up; a step that failed keeps its own."""
    text = path.read_text(encoding="utf-8")
    for result in filter(lambda result: result.ok, results):
        minutes, cpu = math.ceil(result.seconds / 6) / 10, math.ceil(result.cpu / 10) * 10
        row = f"{result.name}: [{minutes}, {cpu}, {result.runs}]"
        text = re.sub(rf"^{re.escape(result.name)}: .*$", row, text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


def allowed(step: str, budget: dict[str, Budget]) -> Budget:
    """Return a step's budget; one that is not in the table has none."""
    return budget.get(step, Budget(0, 0, 0))


def cpu_of_group(group: Path) -> float | None:
    """Return the CPU seconds of a control group's processes, or None if there is no such group."""
    usage, stat = group / "cpuacct.usage", group / "cpu.stat"
    if usage.exists():
        return int(usage.read_text()) / 1e9
    if stat.exists():
        found = dict(line.split() for line in stat.read_text().splitlines())
        return int(found["usage_usec"]) / 1e6 if "usage_usec" in found else None
    return None


def cpu_of_container(container: str, root: Path = CGROUPS) -> float | None:
    """Return the CPU seconds of a container's processes, or None if its cgroup is not found."""
    for group in (f"docker/{container}", f"system.slice/docker-{container}.scope"):
        for tree in (root / "cpuacct", root):
            used = cpu_of_group(tree / group)
            if used is not None:
                return used
    return None


class Group:
    """A control group for the commands of a step, which separates their CPU time from that of the servers.

    A command that enters a server joins the server's groups, and is still the child of a command here.
    """

    def __init__(self, name: str, root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> None:
        self.path: Path | None = None
        self.before = 0.0
        for line in own.read_text().splitlines():
            _number, controllers, path = line.split(":", 2)
            tree = root / "cpuacct" if "cpuacct" in controllers.split(",") else root
            parent = tree / path.lstrip("/")
            if (controllers and tree == root) or cpu_of_group(parent) is None:
                continue
            with contextlib.suppress(OSError):
                place = parent / f"tethys-test-{os.getpid()}-{name}"
                place.mkdir(exist_ok=True)
                self.path, self.before = place, cpu_of_group(place) or 0.0
                return

    def inside(self, command: list[str]) -> list[str]:
        """Return the command that runs another one in this group, or that one where there is no group."""
        if self.path is None:
            return command
        return ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(self.path / "cgroup.procs"), *command]

    def used(self, by_children: float) -> float:
        """Return the CPU seconds of the group's processes, or what the children used where there is no group."""
        used = cpu_of_group(self.path) if self.path else None
        # What a step leaves behind for a while, such as an ssh connection, keeps the group.
        with contextlib.suppress(OSError):
            if self.path:
                self.path.rmdir()
        return by_children if used is None else used - self.before


def cpu_of_machine() -> float:
    """Return the CPU seconds that this machine has used since it started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / 100


class Servers(threading.Thread):
    """Sum the CPU time of each scenario's test servers, which are gone when the scenario ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, dict[str, float]] = defaultdict(dict)

    def run(self) -> None:
        """Sample until the program ends."""
        command = ["docker", "ps", "--no-trunc", f"--filter=label={LABEL}"]
        command.append('--format={{.ID}} {{.Label "' + LABEL + '"}}')
        while True:
            for row in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
                container, _blank, scenario = row.partition(" ")
                used = cpu_of_container(container)
                if used is not None:
                    self.seen[scenario][container] = used
            time.sleep(EVERY)

    def cpu(self, scenario: str) -> float:
        """Return the CPU seconds of a scenario's servers, without the containers of the engines inside them."""
        return sum(dict(self.seen[scenario]).values())


def table(results: Iterable[Result], budget: dict[str, Budget]) -> list[str]:
    """Return the lines that show what each step cost beside what it is allowed."""
    lines = ["  minutes  of     CPU s  of     waits s  playbooks  of"]
    for result in results:
        most = allowed(result.name, budget)
        minutes = result.seconds / 60
        spent = (minutes / TOLERANCE, result.cpu / TOLERANCE, result.runs)
        over = result.name in budget and any(much > limit for much, limit in zip(spent, most))
        lines.append(
            f"  {minutes:7.1f}  {most.minutes:5.1f}  {result.cpu:5.0f}  {most.cpu:5d}"
            f"  {max(0.0, result.seconds - result.cpu):7.0f}  {result.runs:9d}  {most.runs:3d}"
            f"  {'passed' if result.ok else 'FAILED'}  {result.name}{'  OVER BUDGET' if over else ''}  {result.note}"
        )
    return lines
