# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 13 without a network, Redis 8, the pub/sub layer; then a Redis that exists already, and a portal without a
portal_config.yml."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import bed
import yaml

THEIRS = [{"host": "127.0.0.1", "port": 7777, "password": "theirs: 100% $ecret"}]


def delivered(host: Any, processes: int) -> bool:
    """Return whether all clients, over so many processes, receive a message."""
    found = bed.client(host, "ws_fanout", "--url", bed.CHAT, "--clients", "8", "--processes", str(processes))
    return bool(found["delivered"] == found["clients"] and len(found["pids"]) == processes)


def test_the_server_was_provisioned_from_the_bundle_without_a_network(host: Any) -> None:
    assert host.run("ip -4 route get 192.0.2.1").stderr.strip() == "RTNETLINK answers: Network is unreachable"
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "bundle", "tethys-channels-bundle")
    given = yaml.safe_load((folder / "offline.yml").read_text(encoding="utf-8"))
    used = host.ansible.get_variables()
    assert {name: used[name] for name in given} == given
    packages = host.check_output(f"{bed.PREFIX}/bin/pip list --format=freeze")
    assert "channels_redis==" in packages.replace("-", "_")
    # Nobody but root can change what pip and the engine read as root.
    assert host.check_output(f"find /opt/{folder.name} -not -user root -o -perm /022") == ""


def test_the_collections_of_the_bundle_install_without_galaxy(tmp_path: Path) -> None:
    tarballs = sorted(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "bundle").glob("*/collections/*.tar.gz"))
    command = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(tmp_path), *map(str, tarballs)]
    alone = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "home")}
    installed = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    found = {f"{path.parents[1].name}.{path.parent.name}" for path in tmp_path.rglob("MANIFEST.json")}
    assert {"tethys.channels", "community.crypto", "community.docker"} < found


def test_messages_reach_every_process_through_the_pubsub_layer(host: Any) -> None:
    assert bed.django_layers(host)["default"]["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert delivered(host, 2)
    assert bed.client(host, "ws_idle", "--url", bed.CHAT)["alive"] == 6


def test_redis_is_on_the_machines_loopback_alone(host: Any) -> None:
    [listening] = host.check_output("ss -Hltnp sport = :6390").splitlines()
    assert listening.split()[3] == "127.0.0.1:6390"
    assert '"redis-server"' in listening
    assert host.check_output("docker inspect -f '{{.HostConfig.NetworkMode}}' tethys-channels-redis") == "host"
    [server] = bed.django_layers(host)["default"]["CONFIG"]["hosts"]
    assert (server["host"], server["port"]) == ("127.0.0.1", 6390)


def test_the_user_has_the_rights_of_that_layer_and_no_others(host: Any) -> None:
    password = bed.secrets(host)[0]
    assert "8.0" in host.check_output("docker exec tethys-channels-redis redis-server --version")
    assert bed.redis(host, "PUBLISH", "asgi__x", "1", user="tethys", password=password) == "0"
    assert bed.redis(host, "PUBLISH", "other", "1", user="tethys", password=password).startswith("NOPERM")
    assert bed.redis(host, "ZADD", "asgi_x", "1", "1", user="tethys", password=password).startswith("NOPERM")


def test_valkey_in_the_place_of_redis_and_a_socket_in_the_place_of_a_port(host: Any) -> None:
    there = {"redis_container_image": "tethys-channels-test/valkey:8.1", "redis_container_transport": "unix"}
    text = bed.refusal(bed.playbook("site", **there))
    assert "redis_container_port is 6390, and redis_container_transport is unix, which has no port" in text
    run = bed.playbook("site", **there, redis_container_port=6379)
    assert run.returncode == 0, run.stdout
    told = " ".join(run.stdout.split())
    assert f"is reached by host 127.0.0.1:6390, and will be by unix {bed.SOCKET}" in told
    assert "Valkey" in host.check_output("docker exec tethys-channels-redis redis-server --version")
    assert host.check_output("ss -Hltn sport = :6390") == ""
    assert delivered(host, 2)


def test_a_redis_that_exists_already_is_used_as_it_is(host: Any) -> None:
    host.check_output(
        "docker run -d --name theirs -p 127.0.0.1:7777:6379 --entrypoint redis-server tethys-channels-test/redis:8.0"
        f" --requirepass '{THEIRS[0]['password']}'"
    )
    variables = {
        "tethys_layer_hosts": THEIRS,
        "tethys_layer_backend": "channels_redis.core.RedisChannelLayer",
        "tethys_asgi_processes": 3,
    }
    before = host.check_output("docker ps -aq | sort")
    run = bed.playbook("site", "--diff", "-vvv", **variables)
    assert run.returncode == 0, run.stdout
    # What ansible-playbook was called with is the caller's own output.
    own = ("ansible-playbook", "extra_vars")
    shown = "\n".join(line for line in run.stdout.splitlines() if not line.startswith(own))
    assert THEIRS[0]["password"] not in shown + bed.decoded(shown)
    assert delivered(host, 3)
    assert host.check_output("docker ps -aq | sort") == before
    again = bed.playbook("site", **variables)
    assert (again.returncode, bed.changed(again)) == (0, 0), again.stdout


def test_a_portal_without_a_portal_config_gets_one(host: Any) -> None:
    host.check_output(f"mv {bed.CONFIG} /root/away")
    run = bed.playbook("site")
    # A new one has no name that nginx passes on, which the delivery check finds.
    assert "Add the name to ALLOWED_HOSTS in portal_config.yml" in bed.words(run)
    file = host.file(bed.CONFIG)
    assert (file.user, file.mode) == ("www-data", 0o600)
    assert "SECRET_KEY" in file.content_string
    assert bed.django_layers(host)["default"]["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
