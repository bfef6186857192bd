# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An earlier release, then this state: nothing restarts that need not, what has to is announced, and loses no request.

The tests stand in the order of the story: provisioned by the release, the new default class of the layer under load,
then the new defaults of the way to Redis and of the layout, in which the class changes back. The last test of the
scenario sees that what came before the release comes back.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any
from unittest import mock

import bed
import pytest

EARLIER = os.environ["TETHYS_TEST_UPGRADE_FROM"]
ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
N = 2
CORE, PUBSUB = "channels_redis.core.RedisChannelLayer", "channels_redis.pubsub.RedisPubSubChannelLayer"
# What the administrator of the release has in the inventory: the layout that loses no request, and a port for Redis.
INVENTORY = {"tethys_asgi_layout": "socket_per_process", "redis_container_transport": "published"}
# With one socket for all: requests in flight in a process while it ends, four at a time, for each, and each once again.
IN_FLIGHT = 16
# What of a WebSocket's messages is judged after the last process has restarted.
AFTER_SECONDS = 10
THROUGH_NGINX = ("--url", bed.CHAT.replace(":8000", ""), "--host-header", "portal.example.org")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of collections that holds the earlier state."""
    archived = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=False)
    if archived.returncode:
        # A shallow clone, or a tree without its history: said, and not taken for a failure.
        pytest.skip(f"commit {EARLIER} is not in this clone ({archived.stderr.decode().strip()}): fetch its history.")
    base = tmp_path_factory.mktemp("earlier")
    target = base / "ansible_collections" / "tethys" / "channels"
    target.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(target)], input=archived.stdout, check=True)
    return base


@pytest.fixture(scope="module")
def provisioned(host: Any, earlier: Path) -> dict[str, Any]:
    """The server as the release leaves it."""
    with mock.patch.dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(earlier)):
        run = bed.playbook("site", **INVENTORY)
    assert run.returncode == 0, run.stdout
    assert bed.django_layers(host)["default"]["BACKEND"] == CORE
    return running(host)


def running(host: Any) -> dict[str, Any]:
    """What must not restart without need."""
    [container] = json.loads(host.check_output("docker inspect tethys-channels-redis"))
    return {
        "processes": sorted(row["pid"] for row in bed.daphnes(host)),
        "container": container["Id"],
        "started": container["State"]["StartedAt"],
        "supervisor": host.check_output("supervisorctl pid"),
        "nginx": host.check_output("cat /run/nginx.pid"),
    }


def delivered(run: subprocess.CompletedProcess[str]) -> bool:
    """Whether a run ended with a message that reached every process."""
    return f"WebSockets in {N} processes" in bed.words(run)


def rights(host: Any) -> set[str]:
    """The commands that Redis lets the portal send."""
    rows = bed.redis(host, "ACL", "LIST", user="tethys_admin", password=bed.secrets(host)[1]).splitlines()
    [row] = [row for row in rows if row.startswith("user tethys ")]
    return {word for word in row.split() if word[0] == "+"}


def newest_start(host: Any) -> float:
    """When the last ASGI process started, in seconds since 1970."""
    ages = [int(host.check_output(f"ps -o etimes= -p {row['pid']}")) for row in bed.daphnes(host)]
    # Whole seconds, the younger the better: what was sent in the second of the start is not judged.
    return time.time() - min(ages) + 1


@pytest.fixture(scope="module")
def foreseen(host: Any, provisioned: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A dry run on the server under two names: with what the release had, and with the new defaults."""
    server = {"ansible_host": host.backend.get_hostname(), **INVENTORY}
    pinned = {**server, "tethys_layer_backend": CORE, "asgi_service_watch": False}
    given = bed.names(tmp_path_factory.mktemp("names"), as_it_was=pinned, by_default=server)
    run = bed.playbook("site", "--check", "--diff", *given, tethys_hosts="as_it_was:by_default")
    assert run.returncode == 0, run.stdout
    return run


def test_a_dry_run_foresees_no_change_where_all_is_asked_for_as_it_was(
    host: Any, provisioned: dict[str, Any], foreseen: Any
) -> None:
    assert bed.changed_on(foreseen, "as_it_was") == 0, foreseen.stdout
    assert "CHANNEL_LAYERS changes" not in bed.said(foreseen, "as_it_was")
    watch = "The service tethys_channels_watch is added (asgi_service_watch)."
    assert [watch in bed.said(foreseen, name) for name in ("as_it_was", "by_default")] == [False, True]
    assert bed.changed_on(foreseen, "by_default") > 0, foreseen.stdout
    assert running(host) == provisioned


def test_the_new_class_is_announced_and_loses_no_request(host: Any, provisioned: dict[str, Any], foreseen: Any) -> None:
    """60 WebSockets, which come back when their process restarts, and requests meanwhile."""
    asked = (*THROUGH_NGINX, "--clients", "60", "--every", "0.1")
    with bed.load(host) as requests, bed.alongside(host, "ws_stream", *asked) as messages:
        time.sleep(5)
        run = bed.playbook("site", **INVENTORY)
        time.sleep(AFTER_SECONDS)
    print(f"requests: {json.dumps(requests)}\nmessages: {json.dumps(messages)}")
    assert run.returncode == 0, run.stdout
    for said in (bed.said(foreseen, "by_default"), bed.words(run)):
        assert f"tethys_layer_backend is auto: CHANNEL_LAYERS changes from {CORE} to {PUBSUB}. Every process" in said
        assert f"To keep the class, set tethys_layer_backend to {CORE}." in said
        assert "is reached by" not in said
    assert delivered(run), run.stdout
    now = running(host)
    assert not set(now["processes"]) & set(provisioned["processes"])
    unchanged = ("container", "started", "supervisor", "nginx")
    assert {name: now[name] for name in unchanged} == {name: provisioned[name] for name in unchanged}
    assert requests["requests"] > 200
    assert requests["failed"] == 0, requests
    assert messages["refused"] == 0, messages
    assert messages["reopened"] >= 60, messages
    # Nobody misses a message once no process has the former class any more.
    whole_from = newest_start(host)
    assert messages["last_sent_at"] > whole_from + AFTER_SECONDS / 2, messages
    assert (messages["last_lost_at"] or 0) < whole_from, messages
    # Redis lets the former class in until then, and no longer.
    granted = rights(host)
    assert "+publish" in granted
    assert "+bzpopmin" not in granted


def test_the_default_way_and_layout_are_announced_and_roll(host: Any, provisioned: dict[str, Any]) -> None:
    before = running(host)
    with bed.load(host) as figures:
        run = bed.playbook("site")
    print(f"requests while the way to Redis and the layout changed: {json.dumps(figures)}")
    assert run.returncode == 0, run.stdout
    said = bed.words(run).replace("''", "'")
    assert f"The layer's Redis is reached by published 127.0.0.1:6379, and will be by unix {bed.SOCKET}" in said
    assert "it is replaced, and WebSockets fail from then until their process has restarted, one after the" in said
    assert "tethys_asgi_layout changes from socket_per_process to shared_socket" in said
    assert delivered(run), run.stdout
    now = running(host)
    assert now["container"] != before["container"]
    assert not set(now["processes"]) & set(before["processes"])
    assert len(now["processes"]) == N
    assert now["supervisor"] == before["supervisor"]
    assert figures["requests"] > 200
    assert figures["failed"] == 0, figures
    assert host.run("ss -Hltn sport = :6379").stdout == ""


def test_the_class_changes_back_in_the_layout_with_one_socket(host: Any) -> None:
    """Redis keeps running, and one process serves while the other restarts."""
    before = running(host)
    with bed.load(host) as figures:
        run = bed.playbook("site", tethys_layer_backend=CORE)
    print(f"requests while the class changed, with one socket for all processes: {json.dumps(figures)}")
    assert run.returncode == 0, run.stdout
    said = bed.words(run)
    assert f"tethys_layer_backend is {CORE}: CHANNEL_LAYERS changes from {PUBSUB} to {CORE}. Every process" in said
    assert "To keep the class" not in said
    assert delivered(run), run.stdout
    now = running(host)
    assert not set(now.pop("processes")) & set(before.pop("processes"))
    assert now == before
    assert figures["requests"] > 200
    assert figures["failed"] <= IN_FLIGHT, figures
    granted = rights(host)
    assert "+bzpopmin" in granted
    assert "+publish" not in granted


def test_a_second_run_changes_nothing(host: Any) -> None:
    """After another way to Redis and another class, of which nothing is left."""
    before = running(host)
    run = bed.playbook("site", tethys_layer_backend=CORE)
    assert run.returncode == 0, run.stdout
    assert "CHANNEL_LAYERS changes" not in run.stdout
    assert bed.changed(run) == 0, run.stdout
    assert running(host) == before
    assert host.run("ls /etc/tethys_channels/redis").stdout.split() == ["redis-unix.conf"]
