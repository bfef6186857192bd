# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal: one message with the variable, the value and the way out, and a server that is as it was."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import bed
import pytest
from bed import config, during, refused

MEMORY = "channels.layers.InMemoryChannelLayer"


@pytest.mark.parametrize("value", [0, -1, 2.5, "three", True, "", "4 "], ids=repr)
def test_a_number_of_processes_that_is_none(host: Any, value: Any) -> None:
    refused(host, "tethys_asgi_processes", repr(value), "whole number of at least 1", tethys_asgi_processes=value)


def test_digits_in_a_string_are_a_number(host: Any) -> None:
    run = bed.playbook("site", "--check", tethys_asgi_processes="3")
    assert run.returncode == 0, run.stdout
    assert "through 3 process(es)" in run.stdout


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("tethys_bokeh_policy", "maybe", ["'maybe'", "single, pin"]),
        ("tethys_bokeh", "sometimes", ["'sometimes'", "auto, in_use, not_in_use"]),
        ("tethys_asgi_layout", "shared", ["'shared'", "shared_socket"]),
        ("tethys_layer_backend", "channels_redis.RedisChannelLayer", ["channels_redis.core.RedisChannelLayer"]),
        ("tethys_port", 70000, ["70000", "1 to 65535"]),
        ("tethys_home", "relative/path", ["'relative/path'", "absolute"]),
        ("tethys_user", "no body", ["'no body'", "name of a user"]),
        ("tethys_layer_hosts", [["127.0.0.1", "banana"]], ["banana"]),
        ("redis_container_port", "banana", ["'banana'", "int"]),
        ("asgi_service_run_dir", "/run", ["'/run'", "/run/tethys"]),
        ("asgi_service_processes", 5, ["differs from tethys_asgi_processes"]),
    ],
)
def test_a_value_that_no_variable_takes(host: Any, variable: str, value: Any, words: list[str]) -> None:
    refused(host, variable, *words, **{variable: value})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("tethys_asgi_proceses", "tethys_asgi_processes"),
        ("tethys_layer_host", "tethys_layer_hosts"),
        ("redis_container_imgae", "redis_container_image"),
    ],
)
def test_a_misspelt_variable(host: Any, wrong: str, right: str) -> None:
    refused(host, wrong, f"did you mean '{right}'", **{wrong: "1"})


def test_several_processes_on_the_in_memory_layer(host: Any) -> None:
    refused(host, "tethys_asgi_processes is 3", MEMORY, "set tethys_asgi_processes to 1", tethys_layer_backend=MEMORY)


def test_every_reason_is_told_at_once(host: Any) -> None:
    refused(
        host, "tethys_asgi_processes", "tethys_bokeh_policy", "tethys_port", "tethys_hme",
        tethys_asgi_processes="three", tethys_bokeh_policy="maybe", tethys_port=0, tethys_hme="/x",
    )  # fmt: skip


def test_a_prefix_without_python(host: Any) -> None:
    refused(host, "tethys_conda_prefix", "/opt/conda/envs/other", tethys_conda_prefix="/opt/conda/envs/other")


def test_a_home_that_is_not_there(host: Any) -> None:
    refused(host, "tethys_home", "/var/lib/nowhere", tethys_home="/var/lib/nowhere")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"settings:\n  A: [1, 2\nversion: 2\n", ["line"]),
        (b"- settings\n- version\n", ["mapping"]),
        (b"settings:\n\tA: 1\n", ["line 2"]),
        (b"settings:\n  A: \xff\xfe\n", ["UTF-8"]),
        (b"settings:\n  A: 1\nsettings:\n  B: 2\n", ["settings", "line 3"]),
    ],
    ids=["not YAML", "a list", "tabs", "not UTF-8", "duplicate settings"],
)
def test_a_portal_config_that_cannot_be_edited_safely(host: Any, content: bytes, words: list[str]) -> None:
    with config(host, content):
        refused(host, "portal_config.yml", *words)


def test_a_port_held_by_something_else(host: Any) -> None:
    with during(
        host,
        "systemd-run --unit squatter /usr/bin/python3 -m http.server 8000 --bind 127.0.0.1 && sleep 1",
        "systemctl stop squatter",
    ):
        refused(host, "tethys_port 8000", "http.server", "stop it")


def test_docker_stopped(host: Any) -> None:
    with during(host, "systemctl stop docker.socket docker.service", "systemctl start docker.socket docker.service"):
        refused(host, "Docker", "systemctl start docker", "tethys_layer_hosts")


def test_a_redis_port_held_by_something_else(host: Any) -> None:
    with during(
        host,
        "systemd-run --unit squatter /usr/bin/python3 -m http.server 6379 --bind 127.0.0.1 && sleep 1",
        "systemctl stop squatter",
    ):
        refused(host, "6379", "redis_container_port", "tethys_layer_hosts", redis_container_transport="host")


def test_a_container_of_somebody_else_on_the_redis_port(host: Any) -> None:
    with during(
        host,
        "docker run -d --name cache -p 6379:6379 --entrypoint redis-server tethys-channels-test/redis:7.0"
        " --protected-mode no && sleep 1 && docker exec cache redis-cli set session:1 x",
        "docker rm -f cache",
    ):
        refused(
            host, "cache", "session:1", "docker stop", "redis_container_port", redis_container_transport="published"
        )


def test_a_container_of_somebody_else_with_our_name(host: Any) -> None:
    with during(
        host,
        "docker create --name tethys-channels-redis --entrypoint redis-server tethys-channels-test/redis:7.0",
        "docker rm tethys-channels-redis",
    ):
        refused(host, "redis_container_name is tethys-channels-redis", "a name of its own")


def test_a_restart_of_processes_that_are_not_ours(host: Any) -> None:
    before = bed.snapshot(host)
    text = bed.refusal(bed.playbook("restart"))
    assert "run tethys.channels.site first" in text
    assert bed.snapshot(host) == before


def test_a_redis_that_is_not_there(host: Any) -> None:
    refused(host, "tethys_layer_hosts", "127.0.0.1:7777", "reached", tethys_layer_hosts=[["127.0.0.1", 7777]])


def test_a_redis_that_wants_another_password(host: Any) -> None:
    with during(
        host,
        "docker run -d --name theirs -p 127.0.0.1:7777:6379 --entrypoint redis-server tethys-channels-test/redis:7.0"
        " --requirepass right && sleep 1",
        "docker rm -f theirs",
    ):
        text = refused(
            host, "tethys_layer_hosts", "127.0.0.1:7777",
            tethys_layer_hosts=[{"host": "127.0.0.1", "port": 7777, "password": "wr0ng-secret"}],
        )  # fmt: skip
        assert "wr0ng-secret" not in text


def test_a_user_that_does_not_exist(host: Any) -> None:
    refused(host, "tethys_user", "'nobody2'", tethys_user="nobody2")


def test_a_user_that_cannot_write_the_database(host: Any) -> None:
    refused(host, "tethys_user", "games", "tethys_platform.sqlite", "setfacl", tethys_user="games")


PLANT = """
useradd alice
mkdir -p '/srv/alice; touch pwned #' && chown alice '/srv/alice; touch pwned #'
touch '/srv/alice; touch pwned #/job.conf'
ln -s '/srv/alice; touch pwned #/job.conf' /etc/supervisor/conf.d/job.conf
chmod 0777 /etc/supervisor/conf.d
usermod -a -G games alice && chgrp games /etc/nginx/nginx.conf && chmod g+w /etc/nginx/nginx.conf
mkdir /etc/tethys_channels /srv/portal && chown alice /etc/tethys_channels /srv/portal
"""
CLEAR = """
rm -rf /etc/tethys_channels /srv/portal /etc/supervisor/conf.d/job.conf '/srv/alice; touch pwned #' && userdel alice
chmod 0755 /etc/supervisor/conf.d && chown root:root /etc/nginx/nginx.conf && chmod 0644 /etc/nginx/nginx.conf
"""


def test_files_that_root_obeys_and_others_can_change(host: Any) -> None:
    with during(host, f"set -e{PLANT}", f"set -e{CLEAR}"):
        text = refused(
            host,
            "Supervisor runs as root and reads /etc/supervisor/conf.d",
            "every user can change /etc/supervisor/conf.d",
            "nginx starts as root and reads /etc/nginx/nginx.conf, and its group games (alice, games) can change it",
            "The collection keeps its state in /etc/tethys_channels, and its owner alice can change it",
            "and its owner alice can change /srv/alice; touch pwned #, to which the link",
            "Root makes the folders of the portal's logs and sockets in /srv/portal, and its owner alice can change it",
            asgi_service_log_dir="/srv/portal/logs",
        )
        bed.seen.clear()
        # The commands are what a person pastes, and they fix it.
        for command in dict.fromkeys(re.findall("`(.*?)`", text)):
            host.check_output(f"cd /tmp && {command}")
        assert not host.file("/tmp/pwned").exists
        run = bed.playbook("site", "--check")
        assert run.returncode == 0, run.stdout
        assert "Trust: only root can change the" in bed.words(run)


def test_packages_that_are_not_the_layers_would_move(host: Any) -> None:
    refused(
        host, "channels", "channels_redis_allow_moves",
        channels_redis_requirements=["channels_redis>=4.2,<5", "redis>=4.6,<8", "channels<4.3"],
    )  # fmt: skip


def test_an_inventory_without_portals(host: Any, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {"somewhere": {}}}}), encoding="utf-8")
    run = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), "tethys.channels.site"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "No host matches 'portals'" in " ".join(run.stdout.split())
