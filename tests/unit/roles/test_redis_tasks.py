# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the role's tasks nobody sees who reads one of them alone: who decides on check mode, and the order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TASKS = Path(__file__).parents[3] / "roles" / "redis_container" / "tasks"


def tasks(name: str) -> list[dict[str, Any]]:
    """The tasks of a file."""
    found: list[dict[str, Any]] = yaml.safe_load((TASKS / f"{name}.yml").read_text(encoding="utf-8"))
    return found


def included(task: dict[str, Any]) -> dict[str, Any]:
    """The file that a task includes, and what it applies there."""
    words = task.get("ansible.builtin.include_tasks", {})
    return {"file": words} if isinstance(words, str) else words


def test_whether_the_container_is_only_asked_is_said_where_that_file_is_included() -> None:
    # A keyword of the task itself would win over what is applied to it, and the primary would be replaced.
    [run] = tasks("docker")
    assert "check_mode" not in run
    # On the include itself it would mean nothing to the tasks of the file.
    [ask] = [task for task in tasks("primary") if included(task).get("file") == "docker.yml"]
    assert "check_mode" not in ask
    assert included(ask)["apply"] == {"check_mode": True}


def test_the_primary_is_asked_for_and_handed_over_before_it_is_replaced() -> None:
    order = [
        "docker.yml"
        if included(task).get("file") == "docker.yml"
        else "hand over"
        if (task.get("tethys.channels.redis_sentinel") or {}).get("hand_over")
        else task.get("ansible.builtin.import_tasks") or included(task).get("file")
        for task in tasks("primary")
    ]
    assert order == ["docker.yml", "hand over", "service.yml", "watched.yml"]
    [hand_over] = [task for task in tasks("primary") if "tethys.channels.redis_sentinel" in task]
    # That dry question's answer, which service.yml would write over.
    assert "__redis_container_result is changed" in str(hand_over["when"])
    assert "not ansible_check_mode" in hand_over["when"]


def test_sentinel_forgets_the_old_password_before_the_task_that_remembers_it() -> None:
    # redis_settings throws `previous` away when it retires; a run that is stopped in between would leave Sentinel open.
    order = [included(task).get("file") for task in tasks("retire")]
    peers = "{{ 'peers' if __redis_container_sentinel is truthy else 'credentials' }}.yml"
    assert [name for name in order if name] == ["sentinel.yml", peers]
    for task in tasks("retire"):
        if included(task):
            assert task["vars"] == {"__redis_container_retire": True}
            assert "not ansible_check_mode" in task["when"]


def test_everybody_has_a_sentinel_before_anybody_waits_for_all() -> None:
    shared = tasks("shared")
    order = [included(task).get("file") for task in shared]
    waits = [name for name in order if name in ("sentinel.yml", "watched.yml", "primary.yml")]
    assert waits == ["sentinel.yml", "watched.yml", "primary.yml"]
    [sentinel] = [task for task in shared if included(task).get("file") == "sentinel.yml"]
    # On the primary too, or the others would wait for one that never comes.
    assert sentinel["when"] == "__redis_container_sentinel is truthy"
    assert not [task for task in tasks("sentinel") if "tethys.channels.sentinel_info" in task]
