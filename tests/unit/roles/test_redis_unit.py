# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit that runs Redis in Podman: how systemd reads it, and that it requests no less than Docker's task."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[3] / "roles" / "redis_container"
CONTAINER = "community.docker.docker_container"
SETTINGS = {
    "config_dir": "/etc/tethys_channels/redis",
    "config_file": "redis-unix.conf",
    "config_sum": "0123",
    "run_as": "16379:33",
    "stale": False,
}


def trusted(value: Any) -> Any:
    """The role's own texts, which Ansible templates."""
    if isinstance(value, dict):
        return {key: trusted(held) for key, held in value.items()}
    if isinstance(value, list):
        return [trusted(held) for held in value]
    return trust_as_template(value) if isinstance(value, str) else value


def unit(transport: str = "unix", group: str = "www-data", selinux: bool = False, **variables: Any) -> str:
    """The unit's text for these variables."""
    loader = DataLoader()
    known: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        known.update(trusted(yaml.safe_load((ROLE / part / "main.yml").read_text(encoding="utf-8"))))
    place = {"path": "/var/lib/tethys_channels/redis.sock"} if transport == "unix" else {"host": "127.0.0.1"}
    known.update(
        ansible_managed="Ansible managed",
        redis_container_transport=transport,
        __redis_container_settings=SETTINGS,
        __preflight_plan={
            "redis_container": {
                "transport": transport,
                "state_dir": "/etc/tethys_channels",
                "portal_name": "",
                "image": "docker.io/library/redis:8.2",
                "endpoint": place,
                "place": "127.0.0.1",
                "way": f"{transport} here (group {group})",
                "selinux": selinux,
                "sentinel": None,
            },
        },
        **variables,
    )
    text = (ROLE / "templates" / "redis.service.j2").read_text(encoding="utf-8")
    # As the lookup that the role uses does.
    return str(Templar(loader=loader, variables=known).template(trust_as_template(text), escape_backslashes=False))


def command(text: str) -> list[str]:
    """The words of ExecStart, as systemd reads them."""
    line = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert line
    words = shlex.split(line.group(1).replace("\\\n", " "))
    assert not [word for word in words if re.search(r"(?<!\$)\$(?!\$)", word.replace("$$", ""))]
    return [word.replace("$$", "$").replace("%%", "%") for word in words]


def options(text: str) -> list[str]:
    """Return the options of `podman run` before the image."""
    words = command(text)
    assert words[:2] == ["/usr/bin/podman", "run"]
    return words[2 : words.index("docker.io/library/redis:8.2")]


def test_it_ends_with_the_image_and_the_configuration() -> None:
    assert command(unit())[-2:] == ["docker.io/library/redis:8.2", "/etc/tethys-channels/redis-unix.conf"]


@pytest.mark.parametrize(
    ("transport", "there"),
    [
        ("unix", ["--network=none", "--volume=/var/lib/tethys_channels:/run/tethys-channels"]),
        ("host", ["--network=host"]),
        ("published", ["--publish=127.0.0.1:6379:6379"]),
    ],
)
def test_each_way_to_it(transport: str, there: list[str]) -> None:
    told = options(unit(transport))
    ways = [word for word in told if word.startswith(("--network", "--publish", "--volume=/var"))]
    assert ways == there
    assert "--volume=/etc/tethys_channels/redis:/etc/tethys-channels:ro" in told


def test_under_selinux_it_may_read_its_folders() -> None:
    told = options(unit(selinux=True))
    assert "--volume=/etc/tethys_channels/redis:/etc/tethys-channels:ro,Z" in told
    assert "--volume=/var/lib/tethys_channels:/run/tethys-channels:Z" in told


def test_a_sentinel_is_hardened_as_redis_is() -> None:
    def container(file: str) -> dict[str, Any]:
        tasks = yaml.safe_load((ROLE / "tasks" / file).read_text(encoding="utf-8"))
        (found,) = [task[CONTAINER] for task in tasks if CONTAINER in task]
        return dict(found)

    redis, sentinel = container("docker.yml"), container("sentinel.yml")
    hardening = ("user", "read_only", "cap_drop", "security_opts", "pids_limit", "keep_volumes", "restart_policy")
    for name in (*hardening, "log_driver", "log_options"):
        assert sentinel[name] == redis[name]
    assert sentinel["memory"] == sentinel["memory_swap"]


def test_it_asks_for_no_less_than_dockers_task() -> None:
    [task] = yaml.safe_load((ROLE / "tasks" / "docker.yml").read_text(encoding="utf-8"))
    docker = task["community.docker.docker_container"]
    told = options(unit(redis_container_memory_mb=99, redis_container_name="ours"))
    assert docker["read_only"] is True
    # Podman would put folders that can be written into one that is read-only.
    assert {"--read-only", "--read-only-tmpfs=false"} <= set(told)
    assert [f"--cap-drop={name}" for name in docker["cap_drop"]] == ["--cap-drop=all"]
    assert "--cap-drop=all" in told
    assert docker["security_opts"] == ["no-new-privileges:true"]
    assert "--security-opt=no-new-privileges" in told
    assert (docker["memory"], docker["memory_swap"]) == ("{{ redis_container_memory_mb }}m",) * 2
    assert {"--memory=99m", "--memory-swap=99m", f"--pids-limit={docker['pids_limit']}"} <= set(told)
    # A script starts a Redis that Sentinel watches, which Podman does not run.
    assert docker["entrypoint"] == ["{{ __redis_container_entrypoint }}"]
    assert {"--entrypoint=redis-server", "--user=16379:33", "--name=ours"} <= set(told)
    health = docker["healthcheck"]["test"][1].replace(
        "{{ __redis_container_way.cli }}", "redis-cli -s /run/tethys-channels/redis.sock"
    )
    assert f"--health-cmd={health}" in told
    labels = {word.split("=", 2)[1] for word in told if word.startswith("--label=")}
    assert labels == {"tethys.channels.config", "tethys.channels.transport"}


@pytest.mark.parametrize("group", ["100% $HOME", 'a "b" c', "dom\\users", "o'neil"])
def test_what_systemd_would_read_is_told_as_it_is(group: str) -> None:
    assert f"--label=tethys.channels.transport=unix here (group {group})" in options(unit(group=group))


@pytest.mark.parametrize(
    "change",
    [
        {"redis_container_memory_mb": 99},
        {"redis_container_name": "other"},
        {"transport": "host"},
        {"group": "other"},
        {"__redis_container_settings": {**SETTINGS, "config_sum": "4567"}},
    ],
    ids=json.dumps,
)
def test_whatever_changes_makes_another_container(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def label(text: str) -> str:
        [found] = [word for word in options(text) if word.startswith("--label=tethys.channels.config=")]
        assert re.fullmatch(r"[0-9a-f]{32}", found.rpartition("=")[2])
        return found

    assert label(unit()) == label(unit())
    if "__redis_container_settings" in change:
        before = label(unit())
        monkeypatch.setitem(SETTINGS, "config_sum", "4567")
        assert label(unit()) != before
    else:
        assert label(unit(**change)) != label(unit())


def test_it_starts_by_itself_and_before_the_processes() -> None:
    lines = unit().splitlines()
    for line in (
        "Type=notify",
        "Restart=always",
        "Delegate=yes",
        "StartLimitIntervalSec=0",
        "WantedBy=multi-user.target",
        "Before=supervisor.service supervisord.service",
    ):
        assert line in lines
