# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rendering of our containers is the recorded one: a changed one recreates the container on every server.

`redis_containers.json` was recorded from the tasks and templates that had the options before there was one module.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.action import container_options
from ansible_collections.tethys.channels.plugins.plugin_utils import compose_file
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_inputs import DockerInputs
from ansible_collections.tethys.channels.plugins.plugin_utils.step_types import RedisStep
from ansible_collections.tethys.channels.tests.unit.plugins.action.run_action import run_action
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import test_tethys_docker

ROLES = Path(__file__).parents[4] / "roles"
CONTAINER = "community.docker.docker_container"
RECORDED = json.loads(Path(__file__).with_name("redis_containers.json").read_text(encoding="utf-8"))
STEP = {
    **{field.name: None for field in fields(RedisStep)},
    "transport": "unix",
    "state_dir": "/etc/tethys_channels",
    "portal_name": "",
    "endpoint": {"path": "/var/lib/tethys_channels/redis.sock"},
    "place": "/var/lib/tethys_channels/redis.sock",
    "way": "unix /var/lib/tethys_channels/redis.sock (group www-data)",
    "selinux": False,
    "answers": False,
}
SETTINGS = {
    "config_dir": "/etc/tethys_channels/redis",
    "config_file": "redis-unix.conf",
    "start_file": None,
    "config_sum": "0123456789abcdef0123456789abcdef",
    "run_as": "16379:33",
}
SENTINEL = {
    "config_dir": "/etc/tethys_channels/sentinel",
    "config_file": "sentinel.conf",
    "config_sum": "fedcba9876543210fedcba9876543210",
}


def options_of(engine: str, case: dict[str, Any], **args: Any) -> dict[str, Any]:
    """What the role's task returns, with the role's defaults."""
    known = yaml.safe_load((ROLES / "redis_container/defaults/main.yml").read_text(encoding="utf-8"))
    known.update({"redis_container_name": "tethys-channels-redis", **case["variables"]})
    start_wait = int(known["redis_container_sentinel_down_seconds"]) + 30
    given = {"step": {**STEP, **case["step"]}, "settings": {**SETTINGS, **case["settings"]}, "start_wait": start_wait}
    known["redis_container_engine"] = engine
    result, calls = run_action(container_options, args={**given, **args}, **known)
    assert calls == {}
    return dict(result)


@pytest.mark.parametrize("name", RECORDED["redis"])
def test_redis_is_the_recorded_one(name: str) -> None:
    case = RECORDED["redis"][name]
    found = options_of("docker", case)
    assert (found["docker"], found["digest"]) == (case["docker"], case["docker_digest"])
    if "sentinel" in case:
        assert options_of("docker", case, sentinel=SENTINEL)["docker"] == case["sentinel"]
    if "podman" in case:
        found = options_of("podman", case)
        assert (found["podman"], found["digest"]) == (case["podman"], case["podman_digest"])
        assert found["command"] == case["docker"]["command"]


@pytest.mark.parametrize("name", RECORDED["tethys_docker"])
def test_redis_of_tethys_docker_is_the_recorded_one(name: str) -> None:
    case = RECORDED["tethys_docker"][name]
    asked = DockerInputs.given(test_tethys_docker.asked(**case["changes"]))
    redis: Any = {**test_tethys_docker.REDIS, "run_as": f"{asked.redis_uid}:{asked.redis_uid}"}
    look: Any = test_tethys_docker.look()
    files = compose_file.files(asked, look, redis, None)
    assert files["container"] == case["docker"]
    assert files["override"] == case["compose"]


@pytest.mark.parametrize(
    ("file", "more"),
    [
        ("redis_container/tasks/docker.yml", {"restart", "comparisons"}),
        ("redis_container/tasks/sentinel.yml", set()),
        (
            "tethys_docker/tasks/redis.yml",
            {"healthy_wait_timeout", "networks", "networks_cli_compatible", "comparisons"},
        ),
    ],
)
def test_a_task_adds_nothing_to_the_options(file: str, more: set[str]) -> None:
    tasks = yaml.safe_load((ROLES / file).read_text(encoding="utf-8"))
    tasks += [inner for task in tasks for inner in task.get("block", [])]
    [task] = [task for task in tasks if CONTAINER in task]
    assert set(task[CONTAINER]) == {"name", "image", "state", *more}
    assert set(task["module_defaults"]) == {CONTAINER}
