# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan: each role has one, and what a role does is in its own."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.model import MEMORY_BACKEND
from ansible_collections.tethys.channels.plugins.plugin_utils.step_types import (
    DeliveryStep,
    FleetStep,
    NginxStep,
    PackagesStep,
    ProcessesStep,
    RedisStep,
    SettingsStep,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.steps import STEPS, steps
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

ROLES = Path(__file__).parents[4] / "roles"
TYPES = {
    "redis_container": RedisStep,
    "channels_redis": PackagesStep,
    "portal_config": SettingsStep,
    "asgi_service": ProcessesStep,
    "nginx_upstream": NginxStep,
    "layer_check": DeliveryStep,
    "fleet_check": FleetStep,
}
MORE = {
    "requirements": ["channels_redis"],
    "upstream": "channels-backend",
    "container_name": "ours",
    "run_dir": "/run/tethys",
    "log_dir": "/var/log/tethys_channels",
    "recorded": True,
    "prefix": "asgi",
    "backend": samples.CORE_BACKEND,
    "backend_now": samples.CORE_BACKEND,
    "redis_started_at": 7,
    "home": samples.HOME,
    "conda_prefix": samples.PREFIX,
    "redis_acl": True,
}


def of(asked: dict[str, Any] | None = None, server: Any = None, **more: Any) -> dict[str, Any]:
    """The steps of a portal."""
    found = {"portal": samples.portal(), "server": samples.server(**(server or {}))}
    return steps({**samples.planned(samples.asked(**(asked or {})), samples.options(), **found), **MORE, **more})


def test_each_role_has_a_step_of_its_own() -> None:
    assert list(of()) == list(STEPS) == list(TYPES)


@pytest.mark.parametrize("role", TYPES)
def test_a_role_reads_what_its_step_has_and_nothing_of_another_step(role: str) -> None:
    has = {field.name for field in fields(TYPES[role])} | ({"page"} if role == "layer_check" else set())
    read = set()
    for path in (ROLES / role).rglob("*"):
        if path.suffix in (".yml", ".j2"):
            text = path.read_text(encoding="utf-8")
            read |= set(re.findall(rf"__{role}_step\.(\w+)", text))
            assert set(re.findall(r"__(\w+?)_step\b", text)) <= {role}, path
            # The plan is read where the role takes its step.
            assert set(re.findall(r"__preflight_plan\.(\w+)", text)) <= {role}, path
    if role == "redis_container":
        # The role passes its step on for the options of its container.
        options = ROLES.parent / "plugins/plugin_utils/redis_container.py"
        read |= set(re.findall(r"\bstep\.(\w+)", options.read_text(encoding="utf-8")))
    assert read <= has
    # Nothing is decided that no role reads.
    assert has - read == set()


def test_a_server_with_nothing_of_ours() -> None:
    found = of()
    redis, processes = found["redis_container"], found["asgi_service"]
    assert (redis["runs"], redis["missing"], redis["answers"], redis["askable"]) == (True, [], False, True)
    assert (processes["adopts"], processes["has_original"], processes["has_state"]) == (False, False, False)
    assert (processes["redis_container"], processes["redis_started_at"]) == ("ours", None)
    assert (processes["upstream"], processes["kept_upstream"]) == ("", "")
    assert found["nginx_upstream"]["manages"] is False


@pytest.mark.parametrize(
    ("server", "missing", "starts"),
    [
        ({"docker": samples.MISSING}, ["docker.io"], True),
        ({"docker_library": False}, ["python3-requests"], False),
        ({"docker": samples.MISSING, "docker_library": False}, ["docker.io", "python3-requests"], True),
    ],
)
def test_what_runs_the_container_is_installed(server: dict[str, Any], missing: list[str], starts: bool) -> None:
    step = of(server=server)["redis_container"]
    assert (step["missing"], step["starts_docker"], step["askable"]) == (missing, starts, False)


@pytest.mark.parametrize(("way", "answers"), [("published", True), ("unix", False)])
def test_a_password_goes_only_to_our_own_redis(way: str, answers: bool) -> None:
    found = of(server={"container": samples.container(way)})
    assert found["redis_container"]["answers"] is found["portal_config"]["answers"] is answers
    assert found["layer_check"]["redis_answers"] is answers
    assert found["layer_check"]["redis_moves"] is not answers
    stopped = of(server={"container": samples.container(way, running=False)})
    assert stopped["redis_container"]["answers"] is False


def test_a_layer_in_memory_has_no_redis() -> None:
    found = of({"tethys_layer_backend": MEMORY_BACKEND, "tethys_asgi_processes": 1})
    assert found["redis_container"]["runs"] is found["channels_redis"]["due"] is False
    assert found["asgi_service"]["redis_container"] == found["layer_check"]["redis_container"] == ""


def test_an_upstream_of_an_earlier_layout_is_kept() -> None:
    state = {"state": ["nginx_upstream.original", "program.original"]}
    found = of(server=state)["asgi_service"]
    assert (found["upstream"], found["kept_upstream"]) == ("channels-backend", "channels-backend")
    assert (found["has_original"], found["has_state"]) == (True, True)


def test_a_host_of_a_shared_redis_has_one_step() -> None:
    plan = {**samples.planned(samples.asked(), samples.options(), portal=samples.portal(), server=samples.server())}
    one = {key: value for key, value in {**plan, **MORE, "sentinel": {"port": 1}}.items() if key != "ports"}
    assert list(steps(one)) == ["redis_container"]
    assert steps(one)["redis_container"]["tasks"] == "shared"
    assert steps(one)["redis_container"]["sentinel"] == {"port": 1}


@pytest.mark.parametrize(
    ("server", "tasks"),
    [({}, "single"), ({"state": ["sentinel"]}, "shared"), ({"sentinel_container": {"id": "1"}}, "shared")],
)
def test_sentinel_is_removed_where_it_was_left(server: dict[str, Any], tasks: str) -> None:
    assert of(server=server)["redis_container"]["tasks"] == tasks


@pytest.mark.parametrize("goal", ["site", "check", "restart", "remove"])
@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_system_that_is_not_known_has_steps_too(goal: str, engine: str) -> None:
    # Only `site` is refused there.
    found = {"portal": samples.portal(), "server": samples.server()}
    plan = samples.planned(samples.asked(), samples.options(goal=goal), **found)
    more = {"platform": None, "engine": engine, "install_engine": True, "install_docker_library": True}
    step = steps({**plan, **MORE, **more})["redis_container"]
    assert step["missing"] == []
