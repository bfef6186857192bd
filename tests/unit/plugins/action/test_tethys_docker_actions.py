# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of Tethys Docker take the role's variables, and return or refuse what their library decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.tethys.channels.plugins.action import tethys_docker_files, tethys_docker_plan
from ansible_collections.tethys.channels.tests.unit.plugins.action.run_action import run_action
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_tethys_docker import (
    container,
    inside,
    look,
)

ROLE = Path(__file__).parents[4] / "roles/tethys_docker"


def run(plugin: Any, args: Any = None, **changes: Any) -> dict[str, Any]:
    """Run an action with the role's defaults."""
    values = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    values.update(tethys_docker_project_dir="/srv/tethys", tethys_docker_asgi_processes=2)
    values.update({f"tethys_docker_{name}": value for name, value in changes.items()})
    result, calls = run_action(plugin, args=args, **{name: value for name, value in values.items() if value != "unset"})
    assert calls == {}
    return dict(result)


def test_the_variables_alone_are_judged_without_a_look() -> None:
    assert run(tethys_docker_plan) == {"refusals": [], "codes": [], "cautions": [], "announce": []}
    refused = run(tethys_docker_plan, carrier="podman")
    assert refused["failed"]
    assert refused["msg"][0] == "Refused; nothing was changed."
    assert refused["msg"][1].startswith("tethys_docker_carrier is 'podman'")


def test_a_required_variable_and_a_misspelt_one_are_refused() -> None:
    refused = run(tethys_docker_plan, project_dir="unset", projct_name="x")
    assert [text.split()[0] for text in refused["msg"][1:]] == [
        "tethys_docker_projct_name",
        "tethys_docker_project_dir",
    ]


def test_what_a_server_makes_impossible_is_refused_with_its_code() -> None:
    """Each refusal, and again what only a started portal shows."""
    args = {"docker": look(container=container(), inside=inside(cannot_serve=["no-fd"]), unset=["SITE"])}
    refused = run(tethys_docker_plan, {**args, "portal": {}}, asgi_processes=1)
    assert [reason.rpartition(" ")[2] for reason in refused["msg"][1:]] == [
        "[shell-variable-unset]",
        "[program-without-fd]",
    ]
    # A fatal result is printed, so it has nothing else.
    assert set(refused) == {"failed", "msg"}


def test_the_projects_facts_alone_refuse_nothing_yet() -> None:
    args = {"docker": look(container=container(), inside=inside(cannot_serve=["no-fd"]))}
    plan = run(tethys_docker_plan, args, asgi_processes=1)
    assert not plan.get("failed")
    assert len(plan["after_start"]) == 1
    # Ansible would print them in its own way.
    assert "warnings" not in plan


def test_without_a_compose_file_there_is_only_the_block() -> None:
    credentials = {"username": "tethys", "password": "geheim", "admin_password": "adm"}
    redis = {"config_dir": "/etc/x/redis", "config_sum": "abc", "credentials": credentials}
    found = run(tethys_docker_files, {"docker": {"project": None}, "redis": redis})
    assert found["override"] == ""
    assert "ENV ASGI_PROCESSES=2" in found["dockerfile"]
    assert found["layers"]["default"]["CONFIG"]["hosts"][0]["password"] == "geheim"
    assert "geheim" not in repr([found["dockerfile"], found["container"]])
    assert run(tethys_docker_files, {"docker": {"project": None}, "redis": {}})["container"] == {}


def test_the_portals_further_layers_get_the_login() -> None:
    host = {"host": "redis", "port": 6379, "socket_timeout": 15}
    config = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
    portal = {"settings": {"channel_layers": {"default": config, "app": config}}}
    credentials = {"username": "tethys", "password": "geheim", "admin_password": "adm"}
    redis = {"config_sum": "abc", "credentials": credentials}
    found = run(tethys_docker_files, {"docker": {"project": None}, "redis": redis, "portal": portal})
    assert found["further"]["app"]["CONFIG"]["hosts"][0]["password"] == "geheim"
    assert found["bare"]["app"]["CONFIG"]["hosts"] == [host]
    assert found["is_ours"]


def test_a_compose_file_is_not_rendered_where_it_is_removed() -> None:
    args = {"docker": look(container=container(), inside=inside())}
    assert run(tethys_docker_files, args)["override"].startswith("# Managed by tethys.channels")
    assert run(tethys_docker_files, args, state="absent")["override"] == ""
