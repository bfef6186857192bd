# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An earlier state of the collection, then this one: nothing restarts that need not, what has to is announced.

The tests stand in the order of the story: provisioned by the earlier state, this one with that state's way to Redis,
then the new default under load. The last test of the scenario sees that what came before the earlier state comes back.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from unittest import mock

import bed
import pytest

EARLIER = os.environ["TETHYS_TEST_UPGRADE_FROM"]
ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
N = 2
# What the earlier state did without a word: a port of the loopback.
AS_IT_WAS = {"redis_container_transport": "published"}
# Requests in flight in a process while it ends: four at a time, for each process, and each once again.
IN_FLIGHT = 16


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
    """The server as the earlier state leaves it."""
    with mock.patch.dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(earlier)):
        run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    assert "redis_container_transport" not in (earlier / "ansible_collections/tethys/channels/README.md").read_text()
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


def test_the_earlier_state_delivers(host: Any, provisioned: dict[str, Any]) -> None:
    assert len(provisioned["processes"]) == N
    found = bed.client(host, "ws_fanout", "--clients", "12", "--processes", str(N))
    # More open until each process has one.
    assert (found["delivered"], len(found["pids"])) == (found["clients"], N)


def test_the_new_program_is_announced_and_starts_once(host: Any, provisioned: dict[str, Any]) -> None:
    """Its logs are in a folder of root's now. Nothing else changes, and what was logged before stays where it is."""
    before = host.check_output("ls /var/log/tethys; stat -c '%U %a' /var/log/tethys")
    foreseen = bed.playbook("site", "--check", "--diff", **AS_IT_WAS)
    assert foreseen.returncode == 0, foreseen.stdout
    assert running(host) == provisioned
    run = bed.playbook("site", **AS_IT_WAS)
    assert run.returncode == 0, run.stdout
    assert delivered(run), run.stdout
    for each in (foreseen, run):
        said = bed.words(each)
        assert "logs go to /var/log/tethys_channels (asgi_service_log_dir), and those in /var/log/tethys stay" in said
        assert "CHANNEL_LAYERS changes: its hosts get socket_timeout 15, which redis-py 8 needs." in said
        assert "is reached by" not in said
    now = running(host)
    assert not set(now["processes"]) & set(provisioned["processes"])
    unchanged = ("container", "started", "supervisor", "nginx")
    assert {name: now[name] for name in unchanged} == {name: provisioned[name] for name in unchanged}
    assert host.check_output("ls /var/log/tethys; stat -c '%U %a' /var/log/tethys") == before
    provisioned.update(now)


@pytest.fixture(scope="module")
def foreseen(host: Any, provisioned: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A dry run on the server under two names: with that state's way to Redis, and with the new default."""
    server = {"ansible_host": host.backend.get_hostname()}
    given = bed.names(tmp_path_factory.mktemp("names"), as_it_was={**server, **AS_IT_WAS}, by_default=server)
    run = bed.playbook("site", "--check", "--diff", *given, tethys_hosts="as_it_was:by_default")
    assert run.returncode == 0, run.stdout
    return run


def test_a_dry_run_foresees_no_change(host: Any, provisioned: dict[str, Any], foreseen: Any) -> None:
    assert bed.changed_on(foreseen, "as_it_was") == 0, foreseen.stdout
    assert bed.changed_on(foreseen, "by_default") > 0, foreseen.stdout
    assert running(host) == provisioned


def test_nothing_restarts_where_all_is_asked_for_as_it_was(host: Any, provisioned: dict[str, Any]) -> None:
    run = bed.playbook("site", **AS_IT_WAS)
    assert run.returncode == 0, run.stdout
    assert delivered(run), run.stdout
    assert "is reached by" not in run.stdout
    assert bed.changed(run) == 0, run.stdout
    assert running(host) == provisioned


def test_the_new_default_is_announced_and_rolls(host: Any, provisioned: dict[str, Any], foreseen: Any) -> None:
    with bed.load(host) as figures:
        run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    for each in (foreseen, run):
        said = bed.words(each).replace("''", "'")
        assert f"The layer's Redis is reached by published 127.0.0.1:6379, and will be by unix {bed.SOCKET}" in said
        assert "it is replaced, and WebSockets fail from then until their process has restarted, one after the" in said
    assert delivered(run), run.stdout
    now = running(host)
    assert now["container"] != provisioned["container"]
    assert not set(now["processes"]) & set(provisioned["processes"])
    assert len(now["processes"]) == N
    # Nothing else was touched, and one process served while the other restarted.
    assert {name: now[name] for name in ("supervisor", "nginx")} == {
        name: provisioned[name] for name in ("supervisor", "nginx")
    }
    print(f"requests while the way to Redis changed: {json.dumps(figures)}")
    assert figures["requests"] > 500
    assert figures["failed"] <= IN_FLIGHT, figures
    assert host.run("ss -Hltn sport = :6379").stdout == ""


def test_a_second_run_changes_nothing(host: Any, provisioned: dict[str, Any]) -> None:
    before = running(host)
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0, run.stdout
    assert running(host) == before
    assert host.run("ls /etc/tethys_channels/redis").stdout.split() == ["redis-unix.conf"]
