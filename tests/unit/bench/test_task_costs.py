# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark notes of each task."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tethys.channels.tests.bench import server
from ansible_collections.tethys.channels.tests.bench.callback import task_costs

OLD = "12:cpuset:/docker/ab\n3:cpu,cpuacct:/docker/ab/init.scope\n1:name=systemd:/docker/ab/init.scope\n0::/docker/ab\n"
NEW = "0::/system.slice/docker-ab.scope/init.scope\n"


@pytest.mark.parametrize(
    ("cgroups", "counter"),
    [
        (OLD, "/sys/fs/cgroup/cpuacct/docker/ab/cpuacct.usage"),
        (NEW, "/sys/fs/cgroup/system.slice/docker-ab.scope/cpu.stat"),
    ],
)
def test_the_counter_is_that_of_the_whole_container(cgroups: str, counter: str) -> None:
    assert server.counter_file(cgroups) == counter


@pytest.mark.parametrize("text", ["2500000000\n", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"])
def test_counters_of_both_kinds_are_read(text: str) -> None:
    assert task_costs.counted(text) == 2.5


def burn(seconds: float) -> None:
    """What a worker does."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def named(name: str, action: str = "debug") -> Any:
    """A play or a task."""
    return SimpleNamespace(get_name=lambda: name, action=action)


def test_a_task_is_what_was_between_its_beginning_and_the_next(tmp_path: Path, monkeypatch: Any) -> None:
    counter, written = tmp_path / "counter", tmp_path / "costs.json"
    counter.write_text("1000000000\n")
    monkeypatch.setenv("TASK_COSTS_COUNTERS", str(counter))
    monkeypatch.setenv("TASK_COSTS", str(written))
    plugin = task_costs.CallbackModule()
    plugin.v2_playbook_on_play_start(named("portals"))
    plugin.v2_playbook_on_task_start(named("look"), False)
    for host in ("a", "b"):
        plugin.v2_runner_on_start(host, None)
    # The worker ends when its result was sent, and a moment after the next task has begun.
    worker = multiprocessing.get_context("fork").Process(target=burn, args=(0.05,))
    worker.start()
    counter.write_text("1700000000\n")
    plugin.v2_playbook_on_task_start(named("change"), False)
    plugin.v2_playbook_on_stats(None)
    look, change = json.loads(written.read_text())
    assert (look["play"], look["task"], look["hosts"]) == ("portals", "look", 2)
    assert look["on_hosts"] == pytest.approx(0.7)
    assert look["workers"] >= 0.05
    assert look["seconds"] >= 0.05
    assert (change["task"], change["hosts"], change["workers"], change["on_hosts"]) == ("change", 0, 0.0, 0.0)


def test_what_ansible_does_by_itself_is_begun_for_each_host(tmp_path: Path, monkeypatch: Any) -> None:
    written = tmp_path / "costs.json"
    monkeypatch.setenv("TASK_COSTS_COUNTERS", "")
    monkeypatch.setenv("TASK_COSTS", str(written))
    plugin = task_costs.CallbackModule()
    plugin.v2_playbook_on_play_start(named("portals"))
    for name in ("leave", "leave", "leave also"):
        plugin.v2_playbook_on_task_start(named(name, "ansible.builtin.meta"), False)
    plugin.v2_playbook_on_task_start(named("leave also"), False)
    plugin.v2_playbook_on_stats(None)
    found = [(row["task"], row["hosts"]) for row in json.loads(written.read_text())]
    assert found == [("leave", 2), ("leave also", 1), ("leave also", 0)]
