# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of a run on many hosts: where its answer is known without it, and what never is otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ansible_collections.tethys.channels.tests.bench.converge import Clock, Task, converge, costs, foretell
from hypothesis import given
from hypothesis import strategies as st

SECONDS = st.integers(0, 200).map(lambda value: value / 100)


def a_task(everywhere: bool | None = None, play: str | None = None) -> st.SearchStrategy[Task]:
    """A task of any cost."""
    return st.builds(
        Task,
        play=st.just("p") if play is None else st.just(play),
        name=st.just("t"),
        pack=SECONDS,
        once=SECONDS,
        each=SECONDS,
        worker=SECONDS,
        host=SECONDS,
        host_cpu=SECONDS,
        everywhere=st.booleans() if everywhere is None else st.just(everywhere),
    )


TASKS = st.lists(a_task(), min_size=1, max_size=4)
EVERYWHERE = st.lists(a_task(everywhere=True), min_size=1, max_size=4)
HOSTS = st.integers(1, 30)
FORKS = st.integers(1, 40)
CORES = st.sampled_from([1, 1.5, 2, 4, 16])


def alone(task: Task) -> float:
    """One host, where nothing waits."""
    return task.pack + task.once + task.each + task.worker + task.host


@given(TASKS, FORKS, CORES)
def test_one_host_takes_the_sum(tasks: list[Task], forks: int, cores: float) -> None:
    assert converge(tasks, 1, forks, cores) == pytest.approx(sum(map(alone, tasks)))


@given(EVERYWHERE, HOSTS, CORES)
def test_with_one_fork_the_hosts_follow_each_other(tasks: list[Task], hosts: int, cores: float) -> None:
    once = [task.pack + task.once for task in tasks]
    expected = sum(first + hosts * (alone(task) - first) for first, task in zip(once, tasks, strict=True))
    # While a host works the main process begins nothing: there is no worker for it.
    assert converge(tasks, hosts, 1, cores) == pytest.approx(expected)


@given(EVERYWHERE, HOSTS)
def test_without_any_limit_only_the_main_process_goes_from_host_to_host(tasks: list[Task], hosts: int) -> None:
    expected = sum(alone(task) + (hosts - 1) * task.each for task in tasks)
    assert converge(tasks, hosts, hosts, math.inf) == pytest.approx(expected)


@given(TASKS, st.integers(1, 20), FORKS, CORES, st.booleans())
def test_one_more_host_is_never_faster(tasks: list[Task], hosts: int, forks: int, cores: float, shared: bool) -> None:
    fewer, more = (converge(tasks, number, forks, cores, shared=shared) for number in (hosts, hosts + 1))
    assert more >= fewer - 1e-6


@given(TASKS, HOSTS, FORKS, CORES, st.booleans())
def test_no_core_does_more_than_it_can(tasks: list[Task], hosts: int, forks: int, cores: float, shared: bool) -> None:
    took = converge(tasks, hosts, forks, cores, shared=shared)
    work = sum(
        task.pack
        + task.once
        + (hosts if task.everywhere else 1) * (task.each + task.worker + (task.host_cpu if shared and task.host else 0))
        for task in tasks
    )
    assert took * cores >= work - 1e-6
    # Nor is there ever nothing to do.
    serially = sum(
        task.pack
        + task.once
        + (hosts if task.everywhere else 1) * (task.each + task.worker + task.host + task.host_cpu)
        for task in tasks
    )
    assert took <= serially + 1e-6


@given(EVERYWHERE, HOSTS, FORKS, CORES)
def test_a_batch_of_all_is_no_batch(tasks: list[Task], hosts: int, forks: int, cores: float) -> None:
    assert converge(tasks, hosts, forks, cores, serial=hosts) == pytest.approx(converge(tasks, hosts, forks, cores))
    # What was packed for the first is there for the others.
    one_by_one = hosts * converge(tasks, 1, forks, cores) - (hosts - 1) * sum(task.pack for task in tasks)
    assert converge(tasks, hosts, forks, cores, serial=1) == pytest.approx(one_by_one)


def test_the_controllers_own_plays_have_no_batches() -> None:
    own = Task("before", "t", 0, 1, 0, 0, 0, 0, everywhere=False)
    each = Task("portals", "t", 0, 0, 0, 0, 2, 0, everywhere=True)
    assert converge([own, each], 5, 16, 2, serial=2) == pytest.approx(1 + 3 * 2)


def test_workers_share_the_cores_and_wait_for_a_free_one() -> None:
    task = Task("p", "t", 0, 0, 0, 1, 3, 0, everywhere=True)
    # Two cores: 4 x 1 s of CPU on them, then 3 s on each host, all at once; with 2 forks in two waves.
    assert converge([task], 4, 4, 2) == pytest.approx(2 + 3)
    assert converge([task], 4, 2, 2) == pytest.approx(2 * (1 + 3))


def test_hosts_that_share_the_controllers_cores_slow_each_other() -> None:
    task = Task("p", "t", 0, 0, 0, 0, 3, 2, everywhere=True)
    assert converge([task], 4, 4, 2) == pytest.approx(3)
    # A second of waiting, then 4 x 2 s on two cores.
    assert converge([task], 4, 4, 2, shared=True) == pytest.approx(1 + 4)


def test_a_host_that_uses_two_cores_is_as_fast_alone_as_it_was() -> None:
    task = Task("p", "t", 0, 0, 0, 0, 3, 4, everywhere=True)
    assert converge([task], 1, 1, 2, shared=True) == pytest.approx(3)
    assert converge([task], 2, 2, 2, shared=True) == pytest.approx(1 + 4)


def test_who_comes_later_shares_only_what_is_left() -> None:
    clock, ends = Clock(1), []
    clock.work(2, lambda: ends.append(clock.now))
    clock.wait(1, lambda: clock.work(0.5, lambda: ends.append(clock.now)))
    clock.run()
    assert ends == pytest.approx([2.0, 2.5])


def noted(
    seconds: float, main: float, workers: float, on_hosts: float, hosts: int = 1, task: str = "t"
) -> dict[str, Any]:
    """What the callback plugin writes of a task."""
    found = {"seconds": seconds, "main": main, "workers": workers, "on_hosts": on_hosts}
    return {"play": "p", "task": task, "hosts": hosts, **found}


def test_costs_are_the_least_that_was_measured_and_each_host_is_what_a_second_one_adds() -> None:
    one = [[noted(4.0, 0.5, 1.0, 2.0)], [noted(3.0, 0.6, 1.2, 1.8)]]
    two = [[noted(5.0, 0.7, 1.4, 4.0, hosts=2)], [noted(9.0, 0.9, 1.5, 5.0, hosts=2)]]
    [task] = costs(one, two)
    # Of 0.5 + 1.0 a second host adds 0.2 + 0.4; on its own host a task took 3.0 less 1.5.
    assert task == Task("p", "t", *map(pytest.approx, (0.6, 0.3, 0.2, 0.4, 1.5, 1.8)), True)
    # One host alone takes what it took.
    assert converge([task], 1, 1, 2) == pytest.approx(3.0)


def test_a_task_that_two_hosts_do_not_do_twice_is_one_hosts() -> None:
    [task] = costs([[noted(1.0, 0.4, 0.1, 0.0)]], [[noted(2.0, 0.9, 0.3, 0.0)]])
    assert task == Task("p", "t", 0.1, 0.4, 0.0, 0.0, 0.5, 0.0, False)


def test_runs_of_different_tasks_are_not_compared() -> None:
    with pytest.raises(ValueError, match="did not go through the same tasks"):
        costs([[noted(1, 0, 0, 0, task="a")]], [[noted(1, 0, 0, 0, task="b")]])


def test_a_whole_run_begins_with_ansible_itself() -> None:
    task = Task("p", "t", 0.0, 0.1, 0.1, 0.1, 0.1, 0.1, everywhere=True)
    assert foretell({"start": 2.0, "tasks": [task._asdict()]}, 1, 5, 2) == pytest.approx(2.4)
