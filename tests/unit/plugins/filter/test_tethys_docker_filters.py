# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of Tethys Docker hand over what their library decides, and say in a sentence what they cannot take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter import tethys_docker_files, tethys_docker_plan
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_tethys_docker import (
    container,
    inside,
    look,
)

ROLE = Path(__file__).parents[4] / "roles/tethys_docker"
FILES = tethys_docker_files.FilterModule().filters()["tethys_docker_files"]
PLAN = tethys_docker_plan.FilterModule().filters()["tethys_docker_plan"]


def asked(**changes: Any) -> dict[str, Any]:
    values = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    values.update(
        tethys_docker_project_dir="/srv/tethys",
        tethys_docker_asgi_processes=2,
        tethys_docker_layer_backend="channels_redis.core.RedisChannelLayer",
        tethys_docker_layer_hosts=[],
        tethys_docker_bokeh="auto",
    )
    return {**values, **{f"tethys_docker_{name}": value for name, value in changes.items()}}


def test_the_variables_alone_are_judged_without_a_look() -> None:
    assert PLAN(asked(), {"names": [], "values": {}}) == {"refusals": [], "codes": [], "warnings": [], "announce": []}
    (reason,) = PLAN(asked(carrier="podman"), {})["refusals"]
    assert reason.startswith("tethys_docker_carrier is 'podman'")


def test_what_a_server_makes_impossible_is_printed_with_its_code() -> None:
    """Each refusal, and again what only a started portal shows."""
    found = {"docker": look(container=container(), inside=inside(cannot_serve="no-fd"), unset=["SITE"])}
    plan = PLAN(asked(asgi_processes=1), found)
    assert [reason.rpartition(" ")[2] for reason in plan["refusals"]] == [
        "[shell-variable-unset]",
        "[program-without-fd]",
    ]
    assert len(plan["after_start"]) == 1


def test_without_a_compose_file_there_is_only_the_block() -> None:
    credentials = {"username": "tethys", "password": "geheim", "admin_password": "adm"}
    redis = {"config_dir": "/etc/x/redis", "config_sum": "abc", "credentials": credentials}
    found = FILES(asked(), {"project": None}, redis)
    assert found["override"] == ""
    assert "ENV ASGI_PROCESSES=2" in found["dockerfile"]
    assert found["layers"]["default"]["CONFIG"]["hosts"][0]["password"] == "geheim"
    assert "geheim" not in repr([found["dockerfile"], found["carried"], found["config_sum"]])
    assert FILES(asked(), {"project": None})["config_sum"] == ""


def test_what_cannot_be_written_is_said_in_a_sentence() -> None:
    with pytest.raises(AnsibleFilterError, match=r"^tethys_docker_files: The channel layer's option capacity is 0"):
        FILES(asked(layer_options={"capacity": 0}), {"project": None})
