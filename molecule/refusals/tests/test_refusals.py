# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal: one message with the variable, the value and the fix, and a server that is as it was.

One run tests all of them: each is a host of the inventory with different variables, and all are the same server.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bed
import pytest
from bed import during, refused

MEMORY = "channels.layers.InMemoryChannelLayer"
# Ports, containers and homes that only the case which is about them uses.
HELD, REDIS_HELD, REDIS_OF_OTHERS, WANTS_PASSWORD = 8011, 6391, 6392, 7778
LOOPBACK = "/usr/bin/python3 -m http.server --bind 127.0.0.1"
REDIS = "--entrypoint redis-server tethys-channels-test/redis:7.0"


class Case(NamedTuple):
    """The variables of a run, the words of its refusal, and the state of the server that it needs."""

    words: list[str]
    variables: dict[str, Any]
    before: str = "true"
    after: str = "true"


def variable(name: str, value: Any, *words: str) -> Case:
    """A value that a variable does not take."""
    return Case([name, *words], {name: value})


def portal_config(name: str, content: bytes, *words: str) -> Case:
    """Return the case of a portal_config.yml in a separate home."""
    encoded = base64.b64encode(content).decode()
    return Case(
        ["portal_config.yml", *words],
        {"tethys_home": f"{bed.HOME}-{name}"},
        bed.home(name, f"echo {encoded} | base64 -d > portal_config.yml"),
        f"rm -r {bed.HOME}-{name}",
    )


CASES = {
    **{
        f"a number of processes that is none: {value!r}": variable(
            "tethys_asgi_processes", value, repr(value), "whole number of at least 1"
        )
        for value in (0, -1, 2.5, "three", True, "", "4 ")
    },
    **{
        f"a value that {case.words[0]} does not take": case
        for case in (
            variable("tethys_bokeh_policy", "maybe", "'maybe'", "single, pin"),
            variable("tethys_bokeh", "sometimes", "'sometimes'", "auto, in_use, not_in_use"),
            variable("tethys_asgi_layout", "shared", "'shared'", "shared_socket"),
            variable(
                "tethys_layer_backend", "channels_redis.RedisChannelLayer", "channels_redis.core.RedisChannelLayer"
            ),
            variable("tethys_port", 70000, "70000", "1 to 65535"),
            variable("tethys_home", "relative/path", "'relative/path'", "absolute"),
            variable("tethys_user", "no body", "'no body'", "name of a user"),
            variable("tethys_layer_hosts", [["127.0.0.1", "banana"]], "banana"),
            variable("redis_container_port", "banana", "'banana'", "int"),
            variable("asgi_service_run_dir", "/run", "'/run'", "/run/tethys"),
            variable("asgi_service_processes", 5, "differs from tethys_asgi_processes"),
        )
    },
    **{
        f"a misspelt variable: {wrong}": variable(wrong, "1", f"did you mean '{right}'")
        for wrong, right in (
            ("tethys_asgi_proceses", "tethys_asgi_processes"),
            ("tethys_layer_host", "tethys_layer_hosts"),
            ("redis_container_imgae", "redis_container_image"),
        )
    },
    "several processes on the in-memory layer": Case(
        ["tethys_asgi_processes is 3", MEMORY, "set tethys_asgi_processes to 1"], {"tethys_layer_backend": MEMORY}
    ),
    "every reason is told at once": Case(
        ["tethys_asgi_processes", "tethys_bokeh_policy", "tethys_port", "tethys_hme"],
        {"tethys_asgi_processes": "three", "tethys_bokeh_policy": "maybe", "tethys_port": 0, "tethys_hme": "/x"},
    ),
    "a prefix without Python": variable("tethys_conda_prefix", "/opt/conda/envs/other", "/opt/conda/envs/other"),
    "a home that is not there": variable("tethys_home", "/var/lib/nowhere", "/var/lib/nowhere"),
    "portal_config.yml is not YAML": portal_config("not-yaml", b"settings:\n  A: [1, 2\nversion: 2\n", "line"),
    "portal_config.yml is a list": portal_config("list", b"- settings\n- version\n", "mapping"),
    "portal_config.yml has tabs": portal_config("tabs", b"settings:\n\tA: 1\n", "line 2"),
    "portal_config.yml is not UTF-8": portal_config("latin", b"settings:\n  A: \xff\xfe\n", "UTF-8"),
    "portal_config.yml has settings twice": portal_config(
        "twice", b"settings:\n  A: 1\nsettings:\n  B: 2\n", "settings", "line 3"
    ),
    "a port held by something else": Case(
        [f"tethys_port {HELD}", "http.server", "stop it"],
        {"tethys_port": HELD},
        f"systemd-run --unit squatter {LOOPBACK} {HELD} && sleep 1",
        "systemctl stop squatter",
    ),
    "a Redis port held by something else": Case(
        [str(REDIS_HELD), "redis_container_port", "tethys_layer_hosts"],
        {"redis_container_transport": "host", "redis_container_port": REDIS_HELD},
        f"systemd-run --unit redis-squatter {LOOPBACK} {REDIS_HELD} && sleep 1",
        "systemctl stop redis-squatter",
    ),
    "a container of somebody else on the Redis port": Case(
        ["cache", "session:1", "docker stop", "redis_container_port"],
        {"redis_container_transport": "published", "redis_container_port": REDIS_OF_OTHERS},
        f"docker run -d --name cache -p {REDIS_OF_OTHERS}:6379 {REDIS} --protected-mode no && sleep 1"
        " && docker exec cache redis-cli set session:1 x",
        "docker rm -f cache",
    ),
    "a container of somebody else with our name": Case(
        ["redis_container_name is somebodys-redis", "to another name"],
        {"redis_container_name": "somebodys-redis"},
        f"docker create --name somebodys-redis {REDIS}",
        "docker rm somebodys-redis",
    ),
    "a Redis that is not there": variable("tethys_layer_hosts", [["127.0.0.1", 7777]], "127.0.0.1:7777", "reached"),
    "a Redis that wants another password": Case(
        ["tethys_layer_hosts", f"127.0.0.1:{WANTS_PASSWORD}"],
        {"tethys_layer_hosts": [{"host": "127.0.0.1", "port": WANTS_PASSWORD, "password": "wr0ng-secret"}]},
        f"docker run -d --name theirs -p 127.0.0.1:{WANTS_PASSWORD}:6379 {REDIS} --requirepass right && sleep 1",
        "docker rm -f theirs",
    ),
    "a user that does not exist": variable("tethys_user", "nobody2", "'nobody2'"),
    "a user that cannot write the database": variable(
        "tethys_user", "games", "games", "tethys_platform.sqlite", "setfacl"
    ),
    "packages that are not the layer's would move": Case(
        ["channels", "channels_redis_allow_moves"],
        {"channels_redis_requirements": ["channels_redis>=4.2,<5", "redis>=4.6,<8", "channels<4.3"]},
    ),
}


@pytest.fixture(scope="module")
def runs(host: Any) -> Iterator[dict[str, subprocess.CompletedProcess[str]]]:
    """The run of each case; the server is as it was before."""
    for case in CASES.values():
        host.check_output(case.before)
    before = bed.snapshot(host)
    found = bed.judge(host, {name: case.variables for name, case in CASES.items()})
    assert bed.snapshot(host) == before
    yield found
    for case in CASES.values():
        host.check_output(case.after)


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused(runs: dict[str, subprocess.CompletedProcess[str]], name: str) -> None:
    text = bed.refusal(runs[name])
    for word in CASES[name].words:
        assert word in text, text
    assert "wr0ng-secret" not in text


def test_digits_in_a_string_are_a_number(host: Any) -> None:
    run = bed.playbook("site", "--check", tethys_asgi_processes="3")
    assert run.returncode == 0, run.stdout
    assert "to 3 process(es)" in run.stdout


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


def test_docker_stopped(host: Any) -> None:
    with during(host, "systemctl stop docker.socket docker.service", "systemctl start docker.socket docker.service"):
        refused(host, "Docker", "systemctl start docker", "tethys_layer_hosts")


def test_a_restart_of_processes_that_are_not_ours(host: Any) -> None:
    before = bed.snapshot(host)
    text = bed.refusal(bed.playbook("restart"))
    assert "run tethys.channels.site first" in text
    assert bed.snapshot(host) == before


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
