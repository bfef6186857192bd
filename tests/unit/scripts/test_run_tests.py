# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the test steps, what they cost, and what they are allowed."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/run-tests, which has no suffix."""
    sys.dont_write_bytecode = True  # a cache beside it would be one more file in scripts/
    sys.path.insert(0, str(ROOT / "scripts"))
    spec = spec_from_loader("run_tests", SourceFileLoader("run_tests", str(ROOT / "scripts" / "run-tests")))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "scripts"))
    return module


@pytest.fixture
def costs(script: ModuleType) -> ModuleType:
    return sys.modules["step_costs"]


def test_every_step_has_a_budget(script: ModuleType) -> None:
    steps = {*script.CHECKS, *(f"scenario:{name}" for name in script.scenarios())}
    assert steps <= set(script.read_budget(ROOT / "tests" / "budget.yml"))


def test_lint_goes_first_and_then_the_longest(script: ModuleType, costs: ModuleType) -> None:
    budget = {name: costs.Budget(minutes, 0, 0) for name, minutes in (("unit", 2), ("scenario:a", 9), ("lint", 1))}
    assert script.in_order(["unit", "scenario:a", "lint"], budget) == ["lint", "scenario:a", "unit"]


def test_a_step_that_costs_more_than_its_budget_is_marked(costs: ModuleType) -> None:
    budget = {"unit": costs.Budget(1.0, 60, 0), "scenario:a": costs.Budget(1.0, 60, 2)}
    right = costs.Result("unit", seconds=66, cpu=40)
    many = costs.Result("scenario:a", seconds=30, cpu=12, runs=3)
    slow = costs.Result("scenario:a", seconds=90, cpu=12, runs=2)
    busy = costs.Result("scenario:a", ok=False, seconds=60, cpu=80, runs=2)
    lines = costs.table([right, many, slow, busy], budget)[1:]
    assert ["OVER BUDGET" in line for line in lines] == [False, True, True, True]
    assert lines[0].split()[:8] == ["1.1", "1.0", "40", "60", "26", "0", "0", "passed"]
    assert lines[3].split()[7] == "FAILED"


def test_a_run_that_is_told_to_writes_what_its_steps_cost_as_their_budget(costs: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "budget.yml"
    file.write_text("---\n# Kept.\nunit: [9.0, 900, 0]\nscenario:a: [1.0, 10, 1]\nscenario:ab: [2.0, 20, 2]\n")
    good = costs.Result("unit", seconds=61, cpu=141.2)
    failed = costs.Result("scenario:a", ok=False, seconds=600, cpu=600, runs=60)
    costs.write_budget(file, [good, failed, costs.Result("scenario:ab", seconds=120, cpu=200, runs=7)])
    assert file.read_text().splitlines() == [
        "---",
        "# Kept.",
        "unit: [1.1, 150, 0]",
        "scenario:a: [1.0, 10, 1]",
        "scenario:ab: [2.0, 200, 7]",
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("cpuacct/docker/abc/cpuacct.usage", "2500000000\n"),
        ("cpuacct/system.slice/docker-abc.scope/cpuacct.usage", "2500000000\n"),
        ("docker/abc/cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
        ("system.slice/docker-abc.scope/cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
    ],
)
def test_the_cpu_time_of_a_container_is_read_from_either_kind_of_cgroups(
    costs: ModuleType, tmp_path: Path, path: str, text: str
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert costs.cpu_of_container("abc", tmp_path) == 2.5
    assert costs.cpu_of_container("other", tmp_path) is None


@pytest.mark.parametrize(
    ("own", "place", "file", "text"),
    [
        ("9:name=systemd:/a\n4:cpu,cpuacct:/a\n0::/a\n", "cpuacct/a", "cpuacct.usage", "{}000000000\n"),
        ("0::/system.slice/x.service\n", "system.slice/x.service", "cpu.stat", "usage_usec {}000000\n"),
    ],
)
def test_the_commands_of_a_step_have_a_group(
    costs: ModuleType, tmp_path: Path, own: str, place: str, file: str, text: str
) -> None:
    """What has left it for a server's group is not counted with them."""
    (tmp_path / "own").write_text(own)
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / file).write_text(text.format(70))
    group = costs.Group("step", tmp_path, tmp_path / "own")
    assert group.path.parent == tmp_path / place
    (group.path / "cgroup.procs").touch()
    for used in (4, 9):
        (group.path / file).write_text(text.format(used))
        # What an earlier command of that name used is not this one's: its group is still there.
        again = costs.Group("step", tmp_path, tmp_path / "own")
        (again.path / file).write_text(text.format(used + 3))
        assert again.used(50.0) == 3
    command = again.inside(["sh", "-c", 'printf %s "$1"', "", "a  b"])
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"a  b"
    assert int((group.path / "cgroup.procs").read_text()) > 1


def test_without_control_groups(costs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/\n")
    group = costs.Group("step", tmp_path, tmp_path / "own")
    assert group.inside(["true"]) == ["true"]
    assert group.used(50.0) == 50.0


def test_a_command_costs_what_its_children_use(script: ModuleType, tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {busy!r}]) + 3)"
    with (tmp_path / "log").open("w") as stream:
        code, used = script.call([sys.executable, "-c", parent], tmp_path, {}, stream)
    assert code == 3
    assert used >= 0.3


def test_every_step_runs_once(script: ModuleType, costs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def run(step: str, *_rest: object) -> object:
        started.append(step)
        return costs.Result(step)

    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr(script, "images_of", lambda names: [])
    steps = ["lint", "scenario:a", "unit", "scenario:b"]
    assert [result.name for result in script.run_all(steps, costs.Servers())] == steps
    assert sorted(started) == sorted(steps)
